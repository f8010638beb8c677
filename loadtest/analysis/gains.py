"""The interval for a difference of scores, from what each unit gains and what each loses.

A unit (an item, or all translations of one) gains at most 1 and loses at most 1. Gains and losses are sums
over units most of which add nothing, so that a bootstrap or a normal interval, which know only what they have
seen, are far too sure where units are few. Here each sum is taken as one of a Poisson number of events of
unequal sizes (Fay and Feuer's limits, which know that an event of size 1 may come next), and the two are put
together so that the difference is as far from its ends as both are from theirs (Donner and Zou). Nothing is
drawn.

It holds the truth at least as often as it says from one unit on, whatever share of units gains or loses
(tests/loadtest/test_analysis_gains.py adds the probabilities of all outcomes up), and more often with few.

Source: Garwood, "Fiducial limits for the Poisson distribution" (1936); Fay and Feuer, "Confidence intervals
for directly standardized rates" (1997); Donner and Zou, "Closed-form confidence intervals for functions of
the normal mean and standard deviation" (2012), on the method of variance estimates recovery.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from loadtest.analysis.interval import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

# What one unit more could add to a sum: a score lies in 0..1.
_LARGEST = 1.0
# Relative to the sums: where a central difference of a ratio of sums is right to nine digits.
_STEP = 1e-5


def difference_interval(differences: ArrayLike, level: float) -> Interval:
    """Return the two-sided interval for the mean of units' differences ``[n]``, each in about -1..1.

    Raises:
        ValueError: there is no unit.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not values.size:
        raise ValueError("A difference of no units has no interval.")
    gained, lost = np.maximum(values, 0.0), np.maximum(-values, 0.0)
    gain, loss = float(gained.sum()), float(lost.sum())
    least_gain, most_gain = sum_limits(gain, float(np.sum(gained**2)), level)
    least_loss, most_loss = sum_limits(loss, float(np.sum(lost**2)), level)
    down = math.hypot(gain - least_gain, most_loss - loss)
    up = math.hypot(most_gain - gain, loss - least_loss)
    n = values.size
    return Interval(
        low=max(-1.0, (gain - loss - down) / n), high=min(1.0, (gain - loss + up) / n), level=level
    )


def sum_limits(total: float, squares: float, level: float) -> tuple[float, float]:
    """Return the limits of a sum of events' sizes, from the sum itself and from that of their squares."""
    tail = (1 - level) / 2
    low = 0.0
    if squares > 0:
        low = squares / total * float(special.gammaincinv(total**2 / squares, tail))
    most, most_squares = total + _LARGEST, squares + _LARGEST**2
    high = most_squares / most * float(special.gammaincinv(most**2 / most_squares, 1 - tail))
    return low, high


def unit_differences(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return what each unit adds to a difference of scores, ``[n]``; their mean is the difference.

    ``ours``, ``theirs`` ``[n, k]``: what units add to the sums that ``score`` is made of. The score is taken
    as straight between the two arms' sums, which is wrong by a third power of their distance; the units that
    differ share that little.
    """
    totals, reference_totals = ours.sum(axis=0), theirs.sum(axis=0)
    middle = (totals + reference_totals) / 2
    steps = _STEP * np.maximum(middle, 1.0)
    slopes = (score(middle + np.diag(steps)) - score(middle - np.diag(steps))) / (2 * steps)
    values = len(ours) * ((ours - theirs) @ slopes)
    differs = values != 0.0
    if differs.any():
        left = float(score(totals) - score(reference_totals)) - float(values.mean())
        values = values + differs * (left * values.size / np.count_nonzero(differs))
    return np.asarray(values, dtype=np.float64)
