"""Small cells pulled towards their mean, so that noise does not top the ranking.

Each cell's estimate has its own standard error. A random-effects model says how much
the cells truly differ; a cell keeps the share of its distance from the mean that its
precision earns. Ranking raw cells would rank their sample sizes.

Source: DerSimonian and Laird, "Meta-analysis in clinical trials" (1986); Efron and
Morris, "Data analysis using Stein's estimator" (1975).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shrunk:
    """Cells ``[n]`` after shrinking. ``between_sd``: how much cells truly differ, as estimated."""

    mean: float
    between_sd: float
    estimates: NDArray[np.float64]
    kept_ratio: NDArray[np.float64]


def shrink(estimates: ArrayLike, standard_errors: ArrayLike) -> Shrunk:
    """Shrink cells ``[n]`` towards their mean, each by its own standard error.

    Raises:
        ValueError: there is no cell, or an error is not above 0.
    """
    values = np.asarray(estimates, dtype=np.float64)
    variances = np.asarray(standard_errors, dtype=np.float64) ** 2
    if not values.size or not (variances > 0).all():
        raise ValueError("Shrinking needs at least one cell, each with a standard error above 0.")
    between = _between(values, variances)
    weights = 1 / (variances + between)
    mean = float(np.average(values, weights=weights))
    kept = between / (variances + between)
    return Shrunk(
        mean=mean,
        between_sd=float(np.sqrt(between)),
        estimates=mean + kept * (values - mean),
        kept_ratio=kept,
    )


def _between(values: NDArray[np.float64], variances: NDArray[np.float64]) -> float:
    """Return the variance between cells by the method of moments, at least 0."""
    weights = 1 / variances
    mean = np.average(values, weights=weights)
    excess = float(np.sum(weights * (values - mean) ** 2)) - (values.size - 1)
    scale = float(weights.sum() - np.sum(weights**2) / weights.sum())
    return max(0.0, excess / scale) if scale > 0 else 0.0
