"""Do the arrivals that were sent follow the law that was asked for?

Input are the law's own probabilities of each gap (``Law.uniforms``): independent and
uniform on (0, 1) if, and only if, the law was kept. Three questions: is their
distribution uniform (Kolmogorov-Smirnov, and Anderson-Darling, which looks harder at
the ends), and is each free of the one before (serial correlation of their normal
scores). A generator that repeats its gaps in each worker fails the first or the last.

Source: Marsaglia and Marsaglia, "Evaluating the Anderson-Darling distribution" (2004).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Coefficients of the limit law of A squared, below and above 2; error under 2e-6 (Marsaglia and Marsaglia).
_BELOW = (2.00012, 0.247105, -0.0649821, 0.0347962, -0.0116720, 0.00168691)
_ABOVE = (1.0776, -2.30695, 0.43424, -0.082433, 0.008056, -0.0003146)
_BRANCH = 2.0
MIN_GAPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How well ``n`` gaps follow their law; p-values are small where they do not.

    ``distance``: the largest gap between the two distribution functions (Kolmogorov-Smirnov),
    in 0..1. ``correlation``: of neighbouring gaps' normal scores, in -1..1.
    """

    n: int
    distance: float
    distance_p: float
    anderson_squared: float
    anderson_p: float
    correlation: float
    correlation_p: float


def fit(uniforms: ArrayLike) -> Fit | None:
    """Test values ``[n]`` for being independent and uniform on (0, 1); None below eight of them."""
    values = np.asarray(uniforms, dtype=np.float64)
    if values.size < MIN_GAPS:
        return None
    kept = np.clip(values, 1e-15, 1 - 1e-15)
    found = stats.kstest(values, "uniform")
    squared = anderson_squared(kept)
    correlation = _serial(kept)
    return Fit(
        n=values.size,
        distance=float(found.statistic),
        distance_p=float(found.pvalue),
        anderson_squared=squared,
        anderson_p=1 - anderson_cdf(squared),
        correlation=correlation,
        correlation_p=float(2 * stats.norm.sf(abs(correlation) * math.sqrt(values.size))),
    )


def anderson_squared(uniforms: NDArray[np.float64]) -> float:
    """Return Anderson and Darling's A squared of values ``[n]`` inside (0, 1) against the uniform law."""
    ordered = np.sort(uniforms)
    weights = 2 * np.arange(1, ordered.size + 1) - 1
    return float(-ordered.size - np.mean(weights * (np.log(ordered) + np.log1p(-ordered[::-1]))))


def anderson_cdf(squared: float) -> float:
    """Return the limit law of A squared where the law tested has no fitted parameter."""
    if squared <= 0:
        return 0.0
    if squared < _BRANCH:
        return math.exp(-1.2337141 / squared) / math.sqrt(squared) * _polynomial(_BELOW, squared)
    return math.exp(-math.exp(_polynomial(_ABOVE, squared)))


def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    return float(np.polynomial.polynomial.polyval(x, coefficients))


def _serial(values: NDArray[np.float64]) -> float:
    scores = special.ndtri(values)
    scores = scores - scores.mean()
    spread = float(np.dot(scores, scores))
    return float(np.dot(scores[1:], scores[:-1])) / spread if spread else 0.0
