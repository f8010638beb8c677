"""What the same arm against itself says: the noise floor, and what it takes to see past it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from loadtest.analysis.bootstrap import units
from loadtest.analysis.equivalence import Comparison, Direction, Margins, Verdict, compare
from loadtest.analysis.interval import SPREAD_UNITS, Interval
from loadtest.analysis.power import Risks, detectable_effect, units_for_equivalence, units_to_find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """A/A pairs summed up; effects are log ratios.

    ``false_alarm``: the comparison called equal arms different, which one in twenty will; then look for
    what differs before believing anything else. ``sd_interval``: of the spread of one unit, by chi-square.
    ``detectable``: the least effect that ``planned_units`` find with a power of 80 %, where those spread like
    these or less. ``units_to_find``, ``units_for_equivalence``: how many units like these it takes to find an
    effect of the upper margin, and to show equality.
    """

    comparison: Comparison
    false_alarm: bool
    sd: float
    sd_interval: Interval
    planned_units: int
    detectable: float
    units_to_find: int | None
    units_for_equivalence: int | None


def noise_floor(  # noqa: PLR0913 - what was seen, and what is planned
    groups: Sequence[ArrayLike],
    *,
    margins: Margins,
    planned_units: int,
    rng: Generator,
    planned_pairs_per_unit: float = 1.0,
    risks: Risks | None = None,
) -> NoiseFloor:
    """Sum up A/A log ratios, one array a restart, one value a pair.

    ``planned_units``: pairs where the servers start once, else restarts of ``planned_pairs_per_unit`` each. A
    planned unit of fewer pairs than these spreads more, at most by the root of their ratio; one of more pairs
    is taken to spread as much, since what differs between restarts stays.

    Raises:
        ValueError: there are fewer than two units, or ``planned_units`` is below two.
    """
    risks = risks or Risks()
    found = units(groups)
    if found.size < SPREAD_UNITS or planned_units < SPREAD_UNITS:
        raise ValueError(f"{found.size} A/A units have no spread; run at least two, and plan at least two.")
    comparison = compare(
        groups, margins=margins, direction=Direction.LARGER_IS_SLOWER, rng=rng, alpha=risks.alpha
    )
    sd = float(found.std(ddof=1))
    per_unit = sum(int(np.size(group)) for group in groups) / found.size
    planned_sd = sd * math.sqrt(max(1.0, per_unit / planned_pairs_per_unit))
    return NoiseFloor(
        comparison=comparison,
        false_alarm=comparison.verdict in (Verdict.FASTER, Verdict.SLOWER),
        sd=sd,
        sd_interval=spread_interval(found, 1 - risks.alpha),
        planned_units=planned_units,
        detectable=detectable_effect(planned_units, sd=planned_sd, risks=risks),
        units_to_find=units_to_find(sd=sd, effect=margins.high, risks=risks),
        units_for_equivalence=units_for_equivalence(sd=sd, low=margins.low, high=margins.high, risks=risks),
    )


def spread_interval(found: ArrayLike, level: float) -> Interval:
    """Return the interval for the standard deviation of normal units ``[n]``, at least two, by chi-square."""
    values = np.asarray(found, dtype=np.float64)
    df = values.size - 1
    low, high = float(values.std(ddof=1)) * np.sqrt(
        df / stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], df)
    )
    return Interval(low=float(low), high=float(high), level=level)
