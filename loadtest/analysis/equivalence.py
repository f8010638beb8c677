"""Two arms compared: faster, slower, equivalent or inconclusive, and what would settle it.

Values are log ratios ``ln(arm / reference)``, one a pair, grouped by the restart of
the server that they belong to. Rules:

- *equivalent*: the 90 % interval lies inside the margin that was declared before
  anything was measured; that is two one-sided tests at 5 %. It goes first: a difference
  that is real and too small to matter is called equivalent.
- *faster*, *slower*: the 95 % interval excludes 0.
- *inconclusive*: neither. "No significant difference" is never called equality.
- Below eight units the interval is Student's t; from eight on the studentised cluster
  bootstrap. The exact sign-flip p-value is given beside either, as a check.

Source: Schuirmann, "A comparison of the two one-sided tests procedure" (1987);
Kalibera and Jones, "Rigorous benchmarking in reasonable time" (2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from loadtest.analysis.bootstrap import MIN_UNITS, studentise, units
from loadtest.analysis.interval import SPREAD_UNITS, Interval, standard_error, student_interval
from loadtest.analysis.permutation import sign_flip_p
from loadtest.analysis.power import Risks, units_for_equivalence, units_to_find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import ArrayLike


class Verdict(StrEnum):
    """What a comparison says of an arm against the reference."""

    FASTER = "faster"
    SLOWER = "slower"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


class Direction(StrEnum):
    """Whether a larger value is slower (a latency) or faster (a throughput, a capacity)."""

    LARGER_IS_SLOWER = "larger is slower"
    LARGER_IS_FASTER = "larger is faster"


class Method(StrEnum):
    """How an interval came about."""

    STUDENT = "Student's t over units"
    BOOTSTRAP = "studentised cluster bootstrap"
    NONE = "none: fewer than two units"


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """The log ratios that were declared too small to matter; 0 lies strictly between them."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < 0 < self.high:
            raise ValueError(
                f"A margin from {self.low} to {self.high} does not hold 0; no arm could ever fit."
            )

    @classmethod
    def symmetric(cls, ratio: float) -> Margins:
        """Return the margin of a ratio either way: 0.05 is from 1 / 1.05 to 1.05."""
        return cls(low=-math.log1p(ratio), high=math.log1p(ratio))

    @classmethod
    def ratios(cls, low: float, high: float) -> Margins:
        """Return the margin between two ratios, such as 0.9 and 1.05."""
        return cls(low=math.log(low), high=math.log(high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An arm against the reference in one measure; effects are log ratios.

    ``interval`` and ``equivalence_interval`` are None with fewer than two units. ``sd``: of one unit.
    ``pairs_needed``: how many pairs in all would settle an inconclusive verdict with a power
    of 80 %, were the estimates true; None where it is settled or no number would do.
    """

    verdict: Verdict
    log_ratio: float | None
    interval: Interval | None
    equivalence_interval: Interval | None
    margins: Margins
    p_difference: float | None
    p_equivalence: float | None
    p_sign_flip: float | None
    sd: float | None
    num_units: int
    num_pairs: int
    num_restarts: int
    method: Method
    pairs_needed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inference:
    """What either method says of a mean."""

    interval: Interval
    equivalence_interval: Interval
    p_difference: float
    p_equivalence: float


def compare(
    groups: Sequence[ArrayLike],
    *,
    margins: Margins,
    direction: Direction,
    rng: Generator,
    alpha: float = 0.05,
) -> Comparison:
    """Compare over log ratios, one array a restart, one value a pair.

    ``alpha``: the chance of calling equal arms different, and of calling arms at the margin equivalent.
    """
    found = units(groups)
    num_pairs, num_restarts = sum(int(np.size(g)) for g in groups), sum(1 for g in groups if np.size(g))
    if found.size < SPREAD_UNITS:
        return _unknown(groups, margins, num_pairs=num_pairs, num_restarts=num_restarts)
    bootstrapped = found.size >= MIN_UNITS
    inference = _bootstrap(groups, margins, rng, alpha) if bootstrapped else _student(found, margins, alpha)
    mean, sd = float(found.mean()), float(found.std(ddof=1))
    verdict = verdict_of(
        inference.interval, inference.equivalence_interval, margins=margins, direction=direction
    )
    needed = None
    if verdict is Verdict.INCONCLUSIVE:
        per_unit = num_pairs / found.size
        needed = pairs_needed(
            mean, sd=sd, margins=margins, alpha=alpha, pairs_per_unit=per_unit, num_units=found.size
        )
    return Comparison(
        verdict=verdict,
        log_ratio=mean,
        interval=inference.interval,
        equivalence_interval=inference.equivalence_interval,
        margins=margins,
        p_difference=inference.p_difference,
        p_equivalence=inference.p_equivalence,
        p_sign_flip=sign_flip_p(found, rng),
        sd=sd,
        num_units=found.size,
        num_pairs=num_pairs,
        num_restarts=num_restarts,
        method=Method.BOOTSTRAP if bootstrapped else Method.STUDENT,
        pairs_needed=needed,
    )


def verdict_of(
    interval: Interval, equivalence_interval: Interval, *, margins: Margins, direction: Direction
) -> Verdict:
    """Return the verdict of two intervals of one log ratio, 95 % and 90 %, by this module's rules."""
    if equivalence_interval.within(margins.low, margins.high):
        return Verdict.EQUIVALENT
    if not interval.excludes(0.0):
        return Verdict.INCONCLUSIVE
    larger_is_slower = direction is Direction.LARGER_IS_SLOWER
    return Verdict.SLOWER if (interval.low > 0) == larger_is_slower else Verdict.FASTER


def pairs_needed(  # noqa: PLR0913 - an estimate, its spread, and what is to be shown of it
    log_ratio: float,
    *,
    sd: float,
    margins: Margins,
    alpha: float = 0.05,
    pairs_per_unit: float = 1.0,
    num_units: int = 0,
) -> int | None:
    """Return how many pairs in all would settle a comparison with a power of 80 %, were the estimates true.

    ``sd``: of one unit. The fewer of what it takes to show the difference and to show that it is within
    the margin; None where ten thousand units do neither. ``num_units``: those that have not settled it, so
    that it takes more than they are, whatever was likely of so many.
    """
    risks = Risks(alpha=alpha)
    ways = (
        units_to_find(sd=sd, effect=log_ratio, risks=risks),
        units_for_equivalence(sd=sd, low=margins.low, high=margins.high, effect=log_ratio, risks=risks),
    )
    possible = [n for n in ways if n is not None]
    return math.ceil(max(min(possible), num_units + 1) * pairs_per_unit) if possible else None


def tost_p(values: ArrayLike, margins: Margins) -> float:
    """Return the p-value of two one-sided t tests that the mean of units ``[n]`` lies inside the margin."""
    array = np.asarray(values, dtype=np.float64)
    mean, error, df = float(array.mean()), standard_error(array), array.size - 1
    if error == 0:
        return float(not margins.low < mean < margins.high)
    above = float(stats.t.sf((mean - margins.low) / error, df))
    below = float(stats.t.cdf((mean - margins.high) / error, df))
    return max(above, below)


def _student(found: np.ndarray, margins: Margins, alpha: float) -> _Inference:
    error = standard_error(found)
    mean = float(found.mean())
    p = float(2 * stats.t.sf(abs(mean) / error, found.size - 1)) if error else float(mean == 0)
    return _Inference(
        interval=student_interval(found, 1 - alpha),
        equivalence_interval=student_interval(found, 1 - 2 * alpha),
        p_difference=p,
        p_equivalence=tost_p(found, margins),
    )


def _bootstrap(groups: Sequence[ArrayLike], margins: Margins, rng: Generator, alpha: float) -> _Inference:
    drawn = studentise(groups, rng)
    return _Inference(
        interval=drawn.interval(1 - alpha),
        equivalence_interval=drawn.interval(1 - 2 * alpha),
        p_difference=drawn.p_differs(0.0),
        p_equivalence=max(drawn.p_above(margins.low), drawn.p_below(margins.high)),
    )


def _unknown(
    groups: Sequence[ArrayLike], margins: Margins, *, num_pairs: int, num_restarts: int
) -> Comparison:
    found = units(groups) if num_pairs else np.empty(0)
    return Comparison(
        verdict=Verdict.INCONCLUSIVE,
        log_ratio=float(found.mean()) if found.size else None,
        interval=None,
        equivalence_interval=None,
        margins=margins,
        p_difference=None,
        p_equivalence=None,
        p_sign_flip=None,
        sd=None,
        num_units=found.size,
        num_pairs=num_pairs,
        num_restarts=num_restarts,
        method=Method.NONE,
        pairs_needed=None,
    )
