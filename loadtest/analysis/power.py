"""How many units (pairs, or restarts with their pairs) a question takes.

``sd`` is the spread of one unit's log ratio, best taken from an A/A run; effects and
margins are log ratios (``math.log(1.05)`` for 5 %). The textbook formulas with normal
quantiles are there for plans made by hand; the others allow for the spread being
estimated (noncentral t) and ask for a unit or two more.

Source: Cohen, "Statistical Power Analysis" (1988); Julious, "Sample sizes for clinical
trials with normal data" (2004); Owen, "A special case of a bivariate non-central
t-distribution" (1965) for two one-sided tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats
from statsmodels.stats.power import TTestPower

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_UNITS = 10_000
_NODES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Risks:
    """The chance of finding what is not there (``alpha``), and of finding what is (``power``)."""

    alpha: float = 0.05
    power: float = 0.8


def units_by_formula(*, sd: float, effect: float, risks: Risks | None = None) -> int:
    """Return the units that find an effect: ``((z_(1-alpha/2) + z_power) sd / effect)**2``."""
    risks = risks or Risks()
    z = float(special.ndtri(1 - risks.alpha / 2) + special.ndtri(risks.power))
    return math.ceil((z * sd / effect) ** 2)


def equivalence_units_by_formula(*, sd: float, margin: float, risks: Risks | None = None) -> int:
    """Return the units that show equal arms to lie within ``-margin..margin``.

    ``((z_(1-alpha) + z_(1-beta/2)) sd / margin)**2``: either of two tests may fail.
    """
    risks = risks or Risks()
    z = float(special.ndtri(1 - risks.alpha) + special.ndtri((1 + risks.power) / 2))
    return math.ceil((z * sd / margin) ** 2)


def units_to_find(*, sd: float, effect: float, risks: Risks | None = None) -> int | None:
    """Return the least number of units with which a paired t finds an effect; None past ten thousand."""
    risks = risks or Risks()
    if effect == 0:
        return None
    return _least(lambda n: power_to_find(n, sd=sd, effect=effect, alpha=risks.alpha), risks.power)


def power_to_find(n: int, *, sd: float, effect: float, alpha: float = 0.05) -> float:
    """Return the chance that a two-sided paired t over ``n`` units finds an effect."""
    if sd == 0:
        return float(effect != 0)
    return float(TTestPower().power(abs(effect) / sd, nobs=n, alpha=alpha, alternative="two-sided"))


def units_for_equivalence(
    *, sd: float, low: float, high: float, effect: float = 0.0, risks: Risks | None = None
) -> int | None:
    """Return the least units with which two one-sided t tests show a true effect to lie in ``low..high``.

    None where the effect is not inside, or past ten thousand.
    """
    wanted = risks or Risks()
    if not low < effect < high:
        return None

    def chance(n: int) -> float:
        return power_for_equivalence(n, sd=sd, low=low - effect, high=high - effect, alpha=wanted.alpha)

    return _least(chance, wanted.power)


def power_for_equivalence(n: int, *, sd: float, low: float, high: float, alpha: float = 0.05) -> float:
    """Return the chance that two one-sided t tests over ``n`` units of true mean 0 both reject.

    ``low`` and ``high`` are the margin as seen from the true effect. Given the estimated
    spread ``s``, both tests reject while the mean lies within ``low + t s / sqrt(n)`` and
    ``high - t s / sqrt(n)``; that chance is averaged over ``s``.
    """
    if sd == 0:
        return float(low < 0 < high)
    # Midpoints of equal shares of the chi-square law: a quadrature that never leaves its support.
    shares = (np.arange(_NODES) + 0.5) / _NODES
    spread = np.sqrt(stats.chi2.ppf(shares, n - 1) / (n - 1))
    reach = float(stats.t.ppf(1 - alpha, n - 1)) * spread
    scale = math.sqrt(n) / sd
    inside = special.ndtr(high * scale - reach) - special.ndtr(low * scale + reach)
    return float(np.mean(np.maximum(inside, 0.0)))


def detectable_effect(n: int, *, sd: float, risks: Risks | None = None) -> float:
    """Return the least log ratio that ``n`` units find with the given power."""
    risks = risks or Risks()
    solved = TTestPower().solve_power(nobs=n, alpha=risks.alpha, power=risks.power, alternative="two-sided")
    return float(solved) * sd


def _least(chance: Callable[[int], float], wanted: float) -> int | None:
    """Return the least units, from two on, whose chance (which rises with them) reaches what is wanted."""
    low, high = 1, 2
    while chance(high) < wanted:
        low, high = high, high * 2
        if low >= MAX_UNITS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) >= wanted else (middle, high)
    return high if high <= MAX_UNITS else None
