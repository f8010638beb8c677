"""An interval, and the plainest way to one: Student's t over independent units.

A *unit* is what was repeated independently: a pair of runs, or a restart of the
server with the pairs that it saw. A request is never a unit: under queueing requests
follow each other's fate, and intervals over them are several times too narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


SPREAD_UNITS = 2  # one has no spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Two ends that hold the true value in a share ``level`` of repetitions."""

    low: float
    high: float
    level: float

    def excludes(self, value: float) -> bool:
        """Say whether a value lies outside."""
        return not self.low <= value <= self.high

    def within(self, low: float, high: float) -> bool:
        """Say whether the interval lies strictly inside two bounds."""
        return low < self.low and self.high < high

    def exp(self) -> Interval:
        """Return the interval of ratios from one of log ratios."""
        return Interval(low=math.exp(self.low), high=math.exp(self.high), level=self.level)


def student_interval(units: ArrayLike, level: float) -> Interval:
    """Return Student's two-sided interval for the mean of at least two independent units ``[n]``.

    Raises:
        ValueError: there are fewer than two units.
    """
    values = np.asarray(units, dtype=np.float64)
    if values.size < SPREAD_UNITS:
        raise ValueError(f"{values.size} units have no spread; an interval needs at least two.")
    half = standard_error(values) * float(stats.t.ppf((1 + level) / 2, values.size - 1))
    mean = float(values.mean())
    return Interval(low=mean - half, high=mean + half, level=level)


def log_student_interval(units: ArrayLike, level: float) -> tuple[float, Interval | None]:
    """Return the geometric mean of positive units ``[n]``, and Student's interval for it, made of logarithms.

    A single unit has no interval. What multiplies (a rate, a ratio) has its errors in factors: both ends are
    positive, however few units there are.

    Raises:
        ValueError: there is no unit, or one is not positive.
    """
    values = np.asarray(units, dtype=np.float64)
    if not values.size or not (values > 0).all():
        raise ValueError("A geometric mean needs positive units, and at least one.")
    logs = np.log(values)
    interval = student_interval(logs, level).exp() if logs.size >= SPREAD_UNITS else None
    return math.exp(float(logs.mean())), interval


def standard_error(units: ArrayLike) -> float:
    """Return the standard error of the mean of independent units ``[n]``."""
    values = np.asarray(units, dtype=np.float64)
    return float(values.std(ddof=1)) / math.sqrt(values.size)
