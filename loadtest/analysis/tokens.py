"""How much of the time, and of the difference between languages, the number of tokens explains.

Languages are cut into different numbers of tokens for the same content, and a token
costs what it costs in any language. One point is one cell (a language, or a task in a
language): its mean tokens and mean seconds. What is left after the line is what a
language costs beyond its tokens.

One cell far from the others in tokens can make a line look better than it is, wherever the others lie; so
the fit is told without that cell too.

The slope's interval allows cells to scatter unequally (HC3), since they hold unequally many requests, and
takes as many degrees of freedom from Student's t as there are cells that the slope hangs on (Satterthwaite's,
as Bell and McCaffrey have them): with one language far from the others that is little more than one. It holds
the truth more often than it says, from three cells on; with ``n - 2`` degrees it held it less often where one
cell lay far away. Where the slope hangs on one cell alone there is none: that cell's own scatter is not seen.

Source: MacKinnon and White, "Some heteroskedasticity-consistent covariance matrix estimators" (1985); Bell
and McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples" (2002).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import statsmodels.api as sm
from scipy import stats

from loadtest.analysis.interval import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

MIN_CELLS = 3
# Of a cell's own scatter that its residual shows; below it, rounding is all that is left.
_LEAST_FREE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCell:
    """Mean tokens and mean seconds of a cell's requests."""

    name: str
    tokens: float
    seconds: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """``r_squared`` of the fit without the cell ``name``, the one farthest from the others in tokens."""

    name: str
    r_squared: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFit:
    """``seconds = intercept_s + slope_s * tokens``, fitted over cells.

    ``r_squared``: the share of the differences between cells that tokens explain, in 0..1.
    ``residuals_s``: by cell, what it takes beyond its tokens. ``slope_interval``: 95 %, None where the slope
    hangs on one cell. ``without``: None where the others are too few for a line.
    """

    intercept_s: float
    slope_s: float
    slope_interval: Interval | None
    r_squared: float
    residuals_s: Mapping[str, float]
    cells: tuple[TokenCell, ...]
    without: Without | None = None


def cells(names: Sequence[str], tokens: ArrayLike, seconds: ArrayLike) -> tuple[TokenCell, ...]:
    """Return each cell's means, in order of name, from requests' names, tokens and seconds ``[n]``."""
    found, which = np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)
    n = np.bincount(which)
    mean_tokens = np.bincount(which, np.asarray(tokens, dtype=np.float64)) / n
    mean_seconds = np.bincount(which, np.asarray(seconds, dtype=np.float64)) / n
    rows = zip(found.tolist(), mean_tokens.tolist(), mean_seconds.tolist(), n.tolist(), strict=True)
    return tuple(TokenCell(name=name, tokens=t, seconds=s, n=k) for name, t, s, k in rows)


def fit_tokens(points: Sequence[TokenCell], *, level: float = 0.95) -> TokenFit | None:
    """Fit seconds on tokens over cells; None with fewer than three, or where all have the same tokens."""
    found = _fit(points, level)
    if found is None:
        return None
    middle = float(np.median([cell.tokens for cell in points]))
    farthest = max(points, key=lambda cell: abs(cell.tokens - middle))
    rest = _fit([cell for cell in points if cell is not farthest], level)
    without = None if rest is None else Without(name=farthest.name, r_squared=rest.r_squared)
    return replace(found, without=without)


def _fit(points: Sequence[TokenCell], level: float) -> TokenFit | None:
    tokens = np.array([cell.tokens for cell in points])
    seconds = np.array([cell.seconds for cell in points])
    if len(points) < MIN_CELLS or np.ptp(tokens) == 0:
        return None
    line = sm.OLS(seconds, sm.add_constant(tokens)).fit()
    intercept, slope = (float(value) for value in line.params)
    spread = float(np.sum((seconds - seconds.mean()) ** 2))
    residuals: NDArray[np.float64] = seconds - intercept - slope * tokens
    return TokenFit(
        intercept_s=intercept,
        slope_s=slope,
        slope_interval=_slope_interval(line, level),
        r_squared=min(1.0, max(0.0, 1 - float(np.sum(residuals**2)) / spread)) if spread else 0.0,
        residuals_s={cell.name: float(r) for cell, r in zip(points, residuals, strict=True)},
        cells=tuple(points),
    )


def _slope_interval(line: sm.regression.linear_model.RegressionResults, level: float) -> Interval | None:
    design = np.asarray(line.model.exog)
    pulls = np.asarray(line.model.pinv_wexog)[1]
    hat = design @ np.asarray(line.model.pinv_wexog)
    free = 1 - np.diag(hat)
    if free.min() < _LEAST_FREE:
        return None
    weights = (pulls / free) ** 2
    # The variance is a quadratic form of the scatter: its mean and spread, were all cells to scatter alike.
    rest = np.eye(len(design)) - hat
    form = rest * weights @ rest
    degrees = float(np.trace(form) ** 2 / np.trace(form @ form))
    error = math.sqrt(float(np.sum(weights * np.asarray(line.resid) ** 2)))
    half = float(stats.t.ppf((1 + level) / 2, degrees)) * error
    slope = float(line.params[1])
    return Interval(low=slope - half, high=slope + half, level=level)
