"""Exact percentiles from samples, with lower bounds where requests are unfinished.

Rules:

- A percentile is a sample: the smallest value that at least a share ``p`` of the
  samples do not exceed (``inverted_cdf``). Nothing is interpolated or binned.
- It is given only where at least ten samples are expected beyond it,
  ``n * (1 - p) >= 10``; else None ("n too small"). The rule is computed in decimal
  arithmetic, so that 100 samples do have a p90.
- An unfinished request is *censored*: it took at least as long as was waited. A
  percentile that its true time could raise is given as a lower bound, ``at_least``.
- A failure is not a latency. It is counted in a stream of its own and never enters
  a percentile, where quick refusals would pass for quick answers.
- Percentiles of workers or blocks are never averaged; their samples are pooled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MIN_BEYOND = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """One percentile: exact, or a lower bound where ``at_least``."""

    value: float
    at_least: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Population:
    """The requests of a group: times of those that did not fail, and how many failed.

    ``values`` float64 ``[n]`` in seconds, ``censored`` bool ``[n]``: true where the
    value is only how long was waited. ``num_failed``: the errors, a separate stream.
    """

    values: NDArray[np.float64]
    censored: NDArray[np.bool_]
    num_failed: int

    @property
    def num_scheduled(self) -> int:
        """All requests of the group: finished, unfinished and failed."""
        return self.values.size + self.num_failed

    def percentile(self, p: float) -> Percentile | None:
        """Return a percentile of the times; None where there are too few."""
        return percentile(self.values, p, censored=self.censored)


def population(values: ArrayLike, *, failed: ArrayLike, censored: ArrayLike) -> Population:
    """Part requests ``[n]`` into times, lower bounds and failures.

    A request that is both failed and censored (a timeout that the client reports as
    an error) is censored: how long it was waited for is known.

    Raises:
        ValueError: a value that would enter a percentile is not a number.
    """
    times = np.asarray(values, dtype=np.float64)
    unfinished = np.asarray(censored, dtype=np.bool_)
    lost = np.asarray(failed, dtype=np.bool_) & ~unfinished
    return Population(
        values=_checked(times[~lost]), censored=unfinished[~lost], num_failed=int(np.count_nonzero(lost))
    )


def exact(values: ArrayLike, p: float) -> float | None:
    """Return the percentile ``p`` in (0, 1) of finished samples ``[n]``; None where ``n * (1 - p) < 10``."""
    found = percentile(values, p)
    return None if found is None else found.value


def percentile(values: ArrayLike, p: float, *, censored: ArrayLike | None = None) -> Percentile | None:
    """Return the percentile ``p`` in (0, 1) of samples ``[n]``, some of them lower bounds; None if too few.

    Raises:
        ValueError: ``p`` is outside (0, 1), or a value is not a number.
    """
    times = _checked(np.asarray(values, dtype=np.float64))
    if not enough(times.size, p):
        return None
    k = rank(times.size, p)
    low = float(np.partition(times, k)[k])
    if censored is None:
        return Percentile(value=low, at_least=False)
    high = float(np.partition(np.where(np.asarray(censored, dtype=np.bool_), math.inf, times), k)[k])
    return Percentile(value=low, at_least=high > low)


def enough(n: int, p: float) -> bool:
    """Say whether ``n`` samples support a percentile ``p``: at least ten are expected beyond it."""
    return n * (1 - _exact_share(p)) >= MIN_BEYOND


def least(p: float) -> int:
    """Return how many samples a percentile ``p`` takes."""
    return math.ceil(MIN_BEYOND / (1 - _exact_share(p)))


def rank(n: int, p: float) -> int:
    """Return the index, from 0, of the percentile ``p`` among ``n`` sorted samples."""
    return math.ceil(n * _exact_share(p)) - 1


def _exact_share(p: float) -> Fraction:
    if not 0 < p < 1:
        raise ValueError(f"{p} is not a share between 0 and 1; p95 is 0.95.")
    # Through the shortest decimal that names the double: 0.9 means nine tenths.
    return Fraction(repr(float(p)))


def _checked(times: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.isnan(times).any():
        raise ValueError("A time is not a number (NaN); mark the request as failed or censored instead.")
    return times
