"""Resampling that respects how the data came about: restarts first, then pairs within them.

``groups`` holds one array of log ratios a restart of the server, one value a pair.
Each resample draws restarts with replacement and, within each draw, its pairs with
replacement; its mean is the mean of the restarts' means. The interval is studentised:
the resamples tell how far the mean strays *in its own standard errors*, which corrects
for skewness and, unlike plain percentiles, holds its coverage at ten units.

With one restart pairs are the units, and the interval speaks of that start alone.

Source: Davison and Hinkley, "Bootstrap Methods and their Application" (1997), 2.4 and 3.8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.interval import SPREAD_UNITS, Interval, standard_error, student_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import ArrayLike, NDArray

NUM_RESAMPLES = 9999
# Fewer units resample to too few different means; Student's t then rests on their being about normal.
MIN_UNITS = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Studentised:
    """A mean over units, its standard error, and how far resamples strayed, in theirs: ``[b]``, sorted."""

    mean: float
    standard_error: float
    deviations: NDArray[np.float64]

    def interval(self, level: float) -> Interval:
        """Return the two-sided interval of a level, as much left out on either side."""
        low, high = (self._deviation((1 + side * level) / 2) for side in (1, -1))
        return Interval(
            low=self.mean - low * self.standard_error,
            high=self.mean - high * self.standard_error,
            level=level,
        )

    def p_above(self, value: float) -> float:
        """Return the one-sided p-value of the claim that the true mean lies above a value."""
        return self._tail(self._distance(value))

    def p_below(self, value: float) -> float:
        """Return the one-sided p-value of the claim that the true mean lies below a value."""
        b = self.deviations.size
        at_most = int(np.searchsorted(self.deviations, self._distance(value), side="right"))
        return (1 + at_most) / (b + 1)

    def p_differs(self, value: float) -> float:
        """Return the two-sided p-value that agrees with ``interval``."""
        return min(1.0, 2 * min(self.p_above(value), self.p_below(value)))

    def _tail(self, distance: float) -> float:
        b = self.deviations.size
        below = int(np.searchsorted(self.deviations, distance, side="left"))
        return (1 + b - below) / (b + 1)

    def _distance(self, value: float) -> float:
        difference = self.mean - value
        return (
            difference / self.standard_error if self.standard_error else math.copysign(math.inf, difference)
        )

    def _deviation(self, share: float) -> float:
        # With b + 1 a multiple of the shares asked for, the order statistic is exact.
        index = min(max(round(share * (self.deviations.size + 1)) - 1, 0), self.deviations.size - 1)
        return float(self.deviations[index])


def units(groups: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Return the independent units, float64 ``[n]``: the restarts' means, or the pairs of an only restart."""
    arrays = [np.asarray(group, dtype=np.float64) for group in groups if np.size(group)]
    return arrays[0] if len(arrays) == 1 else np.array([array.mean() for array in arrays])


def studentise(
    groups: Sequence[ArrayLike], rng: Generator, *, num_resamples: int = NUM_RESAMPLES
) -> Studentised:
    """Return the studentised cluster bootstrap of the mean over restarts, then pairs.

    Raises:
        ValueError: there are fewer than two units.
    """
    found = units(groups)
    if found.size < SPREAD_UNITS:
        raise ValueError(f"{found.size} units have no spread; an interval needs at least two.")
    mean, error = float(found.mean()), standard_error(found)
    drawn = cluster_resamples(groups, rng, num_resamples=num_resamples)
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(found.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = (drawn.mean(axis=1) - mean) / errors
    # Where all units of a resample are alike, a deviation is 0 / 0, none, or beyond all bounds.
    deviations = np.sort(np.where(np.isnan(deviations), 0.0, deviations))
    return Studentised(mean=mean, standard_error=error, deviations=deviations)


def mean_interval(groups: Sequence[ArrayLike], level: float, rng: Generator) -> Interval:
    """Return the interval for a mean over restarts, then runs or pairs: Student's below eight units.

    Raises:
        ValueError: there are fewer than two units.
    """
    found = units(groups)
    return (
        student_interval(found, level) if found.size < MIN_UNITS else studentise(groups, rng).interval(level)
    )


def cluster_resamples(
    groups: Sequence[ArrayLike], rng: Generator, *, num_resamples: int
) -> NDArray[np.float64]:
    """Return resampled units ``[b, n]``: restarts drawn with replacement, then pairs within each draw."""
    arrays = [np.asarray(group, dtype=np.float64) for group in groups if np.size(group)]
    if len(arrays) == 1:
        arrays = [array[np.newaxis] for array in arrays[0]]
    sizes = np.array([array.size for array in arrays])
    padded = np.zeros((sizes.size, sizes.max()))
    for row, array in zip(padded, arrays, strict=True):
        row[: array.size] = array
    restarts = rng.integers(sizes.size, size=(num_resamples, sizes.size))
    pairs = np.floor(rng.random((*restarts.shape, sizes.max())) * sizes[restarts, np.newaxis]).astype(
        np.int64
    )
    kept = np.arange(sizes.max()) < sizes[restarts, np.newaxis]
    values = padded[restarts[..., np.newaxis], pairs]
    return np.asarray(np.sum(values, axis=2, where=kept) / sizes[restarts], dtype=np.float64)
