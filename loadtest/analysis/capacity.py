"""The highest rate at which an objective is met, with an interval; and the ratio of two arms' capacities.

A *block* is one drained run at one rate; its *attainment* is the share of its scheduled
requests that were answered in time (errors and unfinished requests were not). Capacity
is where the expected attainment of a block falls to the objective's share: 0.95 for
``p95 < 200 ms``. Rules:

- The log-odds of attainment are fitted as a straight line in the rate; for M/M/1 and
  for exponential tails in general they are one. Blocks are the units, never requests.
- The interval holds the rates at which the line may cross the target, given how far each
  block pulls it (HC3, Fieller, Student's t). In simulation it holds the truth 95 % of
  the time, where percentiles of resampled blocks do so 75 to 90 %.
- Where attainment drops at once (nearly the whole fall between two neighbouring rates), no straight line was
  seen and none is fitted: a line's interval held the truth less than half of the time there. The fall is
  located between those rates by isotonic regression and called a *bracket*, and its interval reaches to the
  next rate on either side, since runs whose limits vary may fall a rate too early or too late.
- Below twelve blocks a line has no interval: over six it held the truth 85 % of the time.
- A crossing outside the probed rates is not extrapolated.
- Use blocks whose rates were fixed beforehand (a sweep around a search's result): the
  blocks of the search itself stopped where their luck told them to.

Source: Papke and Wooldridge, "Econometric methods for fractional response variables"
(1996); Fieller, "Some problems in interval estimation" (1954); MacKinnon and White
(1985) for HC3; Satterthwaite (1946) for the ratio's degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, stats

from loadtest.analysis.attainment_line import Line, fit_line
from loadtest.analysis.interval import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MIN_BLOCKS = 4
# Two at each of a sweep's six rates. Source: calibration_cases, "capacity, 12 blocks".
MIN_INTERVAL_BLOCKS = 12
# Source: calibration_cases, "capacity ratio, 6 pairs".
MIN_INTERVAL_PAIRS = 6
# At one rate: Student's t over two runs is 12.7 times their standard error, a bar that hides a sweep's chart.
MIN_INTERVAL_RUNS = 3
# Of the whole fall, in one step between neighbouring rates: queues fall by degrees, limits that drop work at
# once. With 0.5 one sweep of M/M/1 in twelve was taken for a step, with 0.8 some of M/D/1.
_MAX_STEP_RATIO = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One drained run at one rate: how many requests were scheduled, how many answered in time."""

    rate_per_s: float
    num_requests: int
    num_in_time: int

    @property
    def attained_ratio(self) -> float:
        """The share of requests answered in time."""
        return self.num_in_time / self.num_requests


class Method(StrEnum):
    """How a capacity was found."""

    LOGISTIC = "logistic fit of attainment on rate"
    BRACKET = "bracket of an abrupt fall"
    ABOVE = "above every probed rate"
    BELOW = "below every probed rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The highest rate that meets an objective; ``rate_per_s`` is None above or below all probes.

    ``interval`` is None, too, where a line has fewer blocks than ``MIN_INTERVAL_BLOCKS`` or they scatter so
    much that it would have no end, and where a bracket's would end outside the probed rates.
    """

    method: Method
    rate_per_s: float | None
    interval: Interval | None
    num_blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityRatio:
    """``ln(capacity / reference capacity)`` of interleaved probes; None where either has no fitted crossing.

    Intervals and ``sd`` are None below ``MIN_INTERVAL_PAIRS``, too.

    ``equivalence_interval``: the 90 % one, for ``equivalence.verdict_of``. ``sd``: the spread that one pair
    of blocks would have, were the ratio a mean over them, for ``equivalence.pairs_needed``.
    """

    log_ratio: float | None
    interval: Interval | None
    equivalence_interval: Interval | None
    sd: float | None
    num_pairs: int


def capacity(blocks: Sequence[Block], *, target: float, level: float = 0.95) -> Capacity:
    """Return the rate at which attainment falls to ``target`` in (0, 1).

    Raises:
        ValueError: there are fewer than four blocks, or all at one rate.
    """
    rates, attained = _columns(blocks)
    outside = _outside(rates, attained, target)
    if outside is not None:
        return Capacity(method=outside, rate_per_s=None, interval=None, num_blocks=rates.size)
    line = _line(rates, attained, target)
    if line is None:
        return _bracket(rates, attained, target, level)
    return Capacity(
        method=Method.LOGISTIC,
        rate_per_s=line.crossing_per_s,
        interval=line.interval(level) if rates.size >= MIN_INTERVAL_BLOCKS else None,
        num_blocks=rates.size,
    )


def capacity_ratio(
    blocks: Sequence[Block], reference: Sequence[Block], *, target: float, alpha: float = 0.05
) -> CapacityRatio:
    """Compare two arms' capacities; ``blocks[i]`` and ``reference[i]`` share items and arrivals.

    Where their rates differ, they do so by one factor (each arm is probed around its own capacity), and the
    arrivals of a pair are the same ones stretched. What the two blocks of a pair have in common cancels, as
    it does in pairs of runs.

    Raises:
        ValueError: the blocks do not pair up, are too few, or all at one rate.
    """
    if len(blocks) != len(reference) or not _proportional(blocks, reference):
        raise ValueError(
            "The two arms' blocks do not pair up: probe both in turn, at rates that differ by one factor."
        )
    found = []
    for arm in (blocks, reference):
        rates, attained = _columns(arm)
        found.append(_line(rates, attained, target) if _outside(rates, attained, target) is None else None)
    ours, theirs = found
    none = CapacityRatio(
        log_ratio=None, interval=None, equivalence_interval=None, sd=None, num_pairs=len(blocks)
    )
    if ours is None or theirs is None:
        return none
    log_ratio = math.log(ours.crossing_per_s / theirs.crossing_per_s)
    influences = ours.influences - theirs.influences
    if len(blocks) < MIN_INTERVAL_PAIRS:
        return replace(none, log_ratio=log_ratio)
    interval, equivalence = (
        Interval(low=log_ratio - half, high=log_ratio + half, level=level)
        for level, half in ((level, _half(influences, level)) for level in (1 - alpha, 1 - 2 * alpha))
    )
    return CapacityRatio(
        log_ratio=log_ratio,
        interval=interval,
        equivalence_interval=equivalence,
        sd=math.sqrt(float(np.sum(influences**2)) * len(blocks)),
        num_pairs=len(blocks),
    )


def _proportional(blocks: Sequence[Block], reference: Sequence[Block]) -> bool:
    factors = [ours.rate_per_s / theirs.rate_per_s for ours, theirs in zip(blocks, reference, strict=True)]
    return bool(np.allclose(factors, factors[:1], rtol=1e-6))


def _columns(blocks: Sequence[Block]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rates = np.array([block.rate_per_s for block in blocks])
    attained = np.array([block.attained_ratio for block in blocks])
    if rates.size < MIN_BLOCKS or np.ptp(rates) == 0:
        raise ValueError(f"{rates.size} blocks are no sweep; probe at least four, at two rates or more.")
    return rates, attained


def _means(rates: NDArray[np.float64], attained: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return the probed rates, ascending, and attainment there, made to fall by isotonic regression."""
    probed, which, counts = np.unique(rates, return_inverse=True, return_counts=True)
    means = np.bincount(which, attained) / counts
    fallen = optimize.isotonic_regression(means, weights=counts, increasing=False).x
    return probed, np.asarray(fallen, dtype=np.float64)


def _outside(rates: NDArray[np.float64], attained: NDArray[np.float64], target: float) -> Method | None:
    _, fallen = _means(rates, attained)
    if fallen[0] < target:
        return Method.BELOW
    return Method.ABOVE if fallen[-1] >= target else None


def _line(rates: NDArray[np.float64], attained: NDArray[np.float64], target: float) -> Line | None:
    """Fit a line where attainment falls by degrees; None where the step over the target is most of it."""
    _, fallen = _means(rates, attained)
    last = _last_met(fallen, target)
    if fallen[last] - fallen[last + 1] > _MAX_STEP_RATIO * (fallen[0] - fallen[-1]):
        return None
    return fit_line(rates, attained, target)


def _last_met(fallen: NDArray[np.float64], target: float) -> int:
    """Return the place of the highest rate that met the target."""
    return int(np.flatnonzero(fallen >= target)[-1])


def _bracket(
    rates: NDArray[np.float64], attained: NDArray[np.float64], target: float, level: float
) -> Capacity:
    probed, fallen = _means(rates, attained)
    last = _last_met(fallen, target)
    share = (fallen[last] - target) / (fallen[last] - fallen[last + 1])
    low, high = float(probed[last]), float(probed[last + 1])
    has_ends = 0 < last < probed.size - 2
    ends = (float(probed[last - 1]), float(probed[last + 2])) if has_ends else None
    return Capacity(
        method=Method.BRACKET,
        rate_per_s=low + share * (high - low),
        interval=None if ends is None else Interval(low=ends[0], high=ends[1], level=level),
        num_blocks=rates.size,
    )


def _half(influences: NDArray[np.float64], level: float) -> float:
    """Return half the width of the interval that influences ``[n]`` of independent blocks give.

    Blocks near the crossing have most of the influence, so that fewer count than there are:
    three times the squared sum over the sum of squares is ``n`` for normal influences.
    """
    squares = influences**2
    total = float(squares.sum())
    if total == 0:
        return 0.0
    counted = 3 * total**2 / float(np.sum(squares**2))
    t = float(stats.t.ppf((1 + level) / 2, max(2.0, counted - 2)))
    return t * math.sqrt(total)
