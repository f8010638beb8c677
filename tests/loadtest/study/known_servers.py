"""Studies over servers whose true ratio is known: a design, and its blocks run through a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.design import Design, plan
from loadtest.study.comparisons import Comparer
from loadtest.study.observed import Observed
from tests.loadtest.study.made_up import group, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.analysis.design import Block
    from loadtest.report.records import Summary
    from loadtest.study.study_file import Study

DESIGN = """
[design]
pairs = 10
restarts = 1
load_ratios = [0.3, 0.6]
offline_pairs = 10
[controls]
aa_pairs = 10
"""


def observed(
    study: Study, run: Callable[[Block, np.random.Generator], Summary], seed: int = 3
) -> tuple[Observed, ...]:
    """Run every block of the study's design through a function."""
    declared = study.declared
    rng = np.random.default_rng(seed)
    controls = declared.controls
    blocks = plan(
        Design(
            reference=declared.reference,
            arms=declared.compared,
            num_pairs=declared.design.pairs,
            num_restarts=declared.design.restarts,
            load_ratios=tuple(declared.design.load_ratios),
            num_aa_pairs=controls.aa_pairs,
            control=controls.positive,
            num_control_pairs=0 if controls.positive is None else controls.positive_pairs,
            num_offline_pairs=declared.design.offline_pairs,
        ),
        np.random.default_rng(5),
    )
    return tuple(
        Observed(block=block, path=str(block.index), rate_per_s=None, summary=run(block, rng))
        for block in blocks
    )


def server(factors: dict[str, float], noise: float) -> Callable[[Block, np.random.Generator], Summary]:
    """Make runs whose times are a factor an arm, one draw a pair that both share, and noise."""

    def run(block: Block, rng: np.random.Generator) -> Summary:
        shared = np.random.default_rng([block.segment, 1]).lognormal(0, 0.3)
        factor = factors.get(block.arm, 1.0) * shared * rng.lognormal(0, noise)
        cells = {
            name: group(0.02 * factor, 0.05 * factor, inputs_per_s=50 / factor) for name in ("xnli", "xcopa")
        }
        return summary(
            group(0.02 * factor, 0.05 * factor, inputs_per_s=50 / factor, in_time=0.9),
            by_task=cells,
            by_language={"en": cells["xnli"], "sw": cells["xcopa"]},
        )

    return run


def comparer(study: Study, factors: dict[str, float], noise: float = 0.01) -> Comparer:
    return Comparer(
        runs=observed(study, server(factors, noise)), declared=study.declared, rng=np.random.default_rng(1)
    )
