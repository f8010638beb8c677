"""Whether a run was steady: did latency rise or fall from its start to its end? Pure.

A percentile of a run whose queue only grew says how long the run was, and one of a run that was still
warming up mixes two servers. So requests are cut, in the order in which they were due, into blocks of equal
number, and the blocks' medians are looked at:

- *trend*: Spearman's rank correlation of the medians with their place;
- *growth*: the median of the last quarter of blocks over that of the first;
- *warm-up*: how many blocks from the start to leave out, by MSER (where the mean of the rest is known best).

A run is not steady when its trend is past chance and its growth matters, both: at high utilisation medians of
neighbouring blocks go together, so that a trend alone is often found by chance. Nothing is cut away here; a
run is marked, and its reader decides.

Source: White, "An effective truncation heuristic for bias reduction in simulation output" (1997) for MSER;
Barrett et al., "Virtual machine warmup blows hot and cold" (2017) for testing instead of trusting.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NUM_BLOCKS = 20
MIN_PER_BLOCK = 10
MAX_P = 1e-3
MIN_GROWTH = 1.5


class Course(StrEnum):
    """How latency went over a run."""

    STEADY = "steady"
    RISING = "rising"
    FALLING = "falling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """What a run's block medians say.

    ``trend`` in -1..1, ``p_value`` of none; ``growth``: last quarter over first. ``warm_up_ratio``: the share
    of requests that MSER would leave out at the start.
    """

    course: Course
    trend: float
    p_value: float
    growth: float
    warm_up_ratio: float


def steadiness(due_s: ArrayLike, latency_s: ArrayLike, *, num_blocks: int = NUM_BLOCKS) -> Steadiness | None:
    """Judge requests ``[n]`` by when they were due and how long they took; None with too few for blocks."""
    due, latency = np.asarray(due_s, dtype=np.float64), np.asarray(latency_s, dtype=np.float64)
    if due.size < num_blocks * MIN_PER_BLOCK:
        return None
    blocks = np.array_split(latency[np.argsort(due, kind="stable")], num_blocks)
    medians = np.array([np.median(block) for block in blocks])
    quarter = max(1, num_blocks // 4)
    growth = float(np.median(medians[-quarter:]) / max(np.median(medians[:quarter]), np.finfo(float).tiny))
    trend, p_value = _trend(medians)
    return Steadiness(
        course=_course(trend, p_value, growth),
        trend=trend,
        p_value=p_value,
        growth=growth,
        warm_up_ratio=mser(medians) / num_blocks,
    )


def mser(values: ArrayLike) -> int:
    """Return how many of the first values ``[n]`` to leave out, at most half, so that the mean is known best.

    The cut ``d`` with the least squared standard error, ``sum((x - mean)^2) / (n - d)^2`` over the rest.
    """
    found = np.asarray(values, dtype=np.float64)
    if not found.size:
        return 0
    errors = [float(np.var(rest)) / rest.size for rest in (found[d:] for d in range(found.size // 2 + 1))]
    return int(np.argmin(errors))


def _trend(medians: NDArray[np.float64]) -> tuple[float, float]:
    if np.ptp(medians) == 0:
        return 0.0, 1.0  # all alike: no ranks to correlate
    found = stats.spearmanr(np.arange(medians.size), medians)
    return float(found.statistic), float(found.pvalue)


def _course(trend: float, p_value: float, growth: float) -> Course:
    if p_value >= MAX_P:
        return Course.STEADY
    if trend > 0 and growth >= MIN_GROWTH:
        return Course.RISING
    if trend < 0 and growth <= 1 / MIN_GROWTH:
        return Course.FALLING
    return Course.STEADY
