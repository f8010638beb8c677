"""The runs of a study as its record lists them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.report.study_record import Phase, StudyRun
from loadtest.study.replay import unloaded_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadtest.study.made import Made
    from loadtest.study.observed import Observed


def listed(run: Observed) -> StudyRun:
    """Return a run of the plan."""
    block = run.block
    return StudyRun(
        path=run.path,
        arm=block.arm,
        phase=Phase(block.phase.value),
        replicate=block.pair,
        pair=block.pair,
        restart=block.restart,
        rate_per_s=run.rate_per_s,
        load_ratio=block.load_ratio,
        valid=run.summary.valid,
        reasons=run.summary.reasons,
    )


def preliminary(made: Made) -> Iterable[StudyRun]:
    """Return the runs in which each arm answered one request at a time."""
    for arm, summary in made.unloaded.items():
        yield StudyRun(
            path=f"runs/{unloaded_name(arm)}",
            arm=arm,
            phase=Phase.UNLOADED,
            replicate=0,
            valid=summary.valid,
            reasons=summary.reasons,
        )
