"""The log-odds of attainment as a straight line in the rate, and where it crosses a target. Pure.

The interval of the crossing holds the rates that are not refuted, given how far each block pulls the line
(HC3, Fieller, Student's t).

Source: Papke and Wooldridge, "Econometric methods for fractional response variables" (1996); Fieller, "Some
problems in interval estimation" (1954); MacKinnon and White (1985) for HC3.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import statsmodels.api as sm
from scipy import special, stats
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

from loadtest.analysis.interval import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Past this a block's pull on its own fitted value says that the fit is that block.
_MAX_LEVERAGE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """Log-odds of attainment, less the target's: ``level + slope * (rate - centre) / scale``.

    ``pulls`` float64 ``[n, 2]``: how far each block moves level and slope.
    """

    centre: float
    scale: float
    level: float
    slope: float
    pulls: NDArray[np.float64]

    @property
    def crossing_per_s(self) -> float:
        """The rate at which the expected attainment is the target."""
        return self.centre - self.scale * self.level / self.slope

    @property
    def influences(self) -> NDArray[np.float64]:
        """How far each block moves the logarithm of the crossing, ``[n]``."""
        at = -self.level / self.slope
        moved = -(self.pulls[:, 0] + self.pulls[:, 1] * at) / self.slope
        return moved * (self.scale / self.crossing_per_s)

    def interval(self, level: float) -> Interval | None:
        """Return the rates at which a crossing is not refuted; None where that leaves no bounds."""
        t = float(stats.t.ppf((1 + level) / 2, len(self.pulls) - 2))
        covariance = self.pulls.T @ self.pulls * t**2
        square = self.slope**2 - covariance[1, 1]
        half = self.level * self.slope - covariance[0, 1]
        rest = self.level**2 - covariance[0, 0]
        inside = half**2 - square * rest
        if square <= 0 or inside < 0:
            return None
        low, high = ((-half + side * math.sqrt(inside)) / square for side in (-1, 1))
        return Interval(low=self.centre + self.scale * low, high=self.centre + self.scale * high, level=level)


def fit_line(rates: NDArray[np.float64], attained: NDArray[np.float64], target: float) -> Line | None:
    """Fit the line; None where it does not fall, or blocks are parted perfectly."""
    centre, scale = float(rates.mean()), float(rates.std())
    design = np.column_stack([np.ones(rates.size), (rates - centre) / scale])
    with warnings.catch_warnings():
        warnings.simplefilter("error", PerfectSeparationWarning)
        warnings.simplefilter("error", RuntimeWarning)
        try:
            fitted = sm.GLM(attained, design, family=sm.families.Binomial()).fit()
            leverage = np.minimum(fitted.get_hat_matrix_diag(), _MAX_LEVERAGE)
            covariance = np.asarray(fitted.cov_params())
        except (PerfectSeparationWarning, RuntimeWarning, np.linalg.LinAlgError):
            return None
    level, slope = (float(value) for value in fitted.params)
    if not fitted.converged or not slope < 0:
        return None
    residuals = (attained - fitted.fittedvalues) / (1 - leverage)
    line = Line(
        centre=centre,
        scale=scale,
        level=level - float(special.logit(target)),
        slope=slope,
        pulls=design * residuals[:, np.newaxis] @ covariance,
    )
    return line if line.crossing_per_s > 0 else None
