"""Points of the latency curves, thinned so that a page holds a million requests as easily as ten.

Rules: a curve steps through order statistics, nothing is smoothed; unfinished requests lie beyond every
finished one, so a curve ends where they begin; from where fewer than ten requests lie beyond, a curve is
*thin*: it is drawn, but no percentile is read there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.percentiles import MIN_BEYOND

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_POINTS = 220
BEYOND_THE_LAST = 0.5  # the slowest request stands half a request before 100 %, which a log tail cannot show


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """At ``seconds``, a share ``1 - 10 ** -tail`` of the requests has been answered."""

    seconds: float
    tail: float
    thin: bool


def tail_of(share: float) -> float:
    """Return -log10 of the share that lies beyond: 0 at the start, 1 at p90, 2 at p99."""
    return -math.log10(1 - share)


def latency_curve(
    seconds: NDArray[np.float64], censored: NDArray[np.bool_], max_points: int = MAX_POINTS
) -> tuple[CurvePoint, ...]:
    """Return the distribution of times ``[n]`` on a log tail, in at most about ``max_points`` steps."""
    n = seconds.size
    finished = np.sort(seconds[~censored])
    if not finished.size:
        return ()
    ranks = _ranks(finished.size, n, max_points)
    shares = np.minimum(ranks, n - BEYOND_THE_LAST) / n
    beyond = n - ranks
    return tuple(
        CurvePoint(seconds=float(finished[rank - 1]), tail=tail_of(share), thin=left < MIN_BEYOND)
        for rank, share, left in zip(ranks, shares.tolist(), beyond.tolist(), strict=True)
    )


def _ranks(num_finished: int, n: int, max_points: int) -> NDArray[np.int64]:
    """Choose ranks evenly along the tail, the first and the last finished request among them."""
    if num_finished <= max_points:
        return np.arange(1, num_finished + 1)
    last = tail_of(min(num_finished, n - BEYOND_THE_LAST) / n)
    tails = np.linspace(tail_of(1 / n), last, max_points)
    ranks = np.rint(n * (1 - 10.0**-tails)).astype(np.int64)
    return np.unique(np.clip(np.append(ranks, (1, num_finished)), 1, num_finished))
