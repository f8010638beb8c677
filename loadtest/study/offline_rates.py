"""Inputs and tokens a second of each arm, where all is sent at once. Pure.

Rule: rates are positive and their errors multiply, so that the mean is of logarithms, and so is the interval
(Student's t over runs); a linear one would reach below 0 with few runs. A run that answered nothing has no
logarithm: it stays in the mean, which is then the plain one, and there is no interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.analysis.design import Phase
from loadtest.analysis.interval import log_student_interval
from loadtest.report.study_record import Offline
from loadtest.study.comparisons import interval_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtest.analysis.interval import Interval
    from loadtest.study.observed import Observed

_LEVEL = 0.95


def offline_rates(runs: Iterable[Observed], arms: Iterable[str]) -> tuple[Offline, ...]:
    """Return the rates of each arm that has valid runs, in the arms' order."""
    usable = [run for run in runs if run.block.phase is Phase.OFFLINE and run.summary.valid]
    found = (_rates([run for run in usable if run.block.arm == arm], arm) for arm in arms)
    return tuple(one for one in found if one is not None)


def _rates(runs: Sequence[Observed], arm: str) -> Offline | None:
    if not runs:
        return None
    inputs, of_inputs = _mean([run.summary.overall.inputs_per_s or 0.0 for run in runs])
    tokens, of_tokens = _mean([run.summary.overall.tokens_per_s or 0.0 for run in runs])
    return Offline(
        arm=arm,
        num_runs=len(runs),
        inputs_per_s=inputs,
        inputs_interval=interval_of(of_inputs),
        tokens_per_s=tokens,
        tokens_interval=interval_of(of_tokens),
    )


def _mean(rates: Sequence[float]) -> tuple[float, Interval | None]:
    if min(rates) <= 0:
        return sum(rates) / len(rates), None
    return log_student_interval(rates, _LEVEL)
