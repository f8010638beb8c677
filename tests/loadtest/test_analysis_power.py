"""Plans: textbook numbers, statsmodels, and the chance itself by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from loadtest.analysis.power import (
    Risks,
    detectable_effect,
    equivalence_units_by_formula,
    power_for_equivalence,
    power_to_find,
    units_by_formula,
    units_for_equivalence,
    units_to_find,
)

FIVE_PER_CENT = math.log(1.05)
SD = 0.075


def test_the_pairs_of_the_plan_by_hand() -> None:
    # ((1.959964 + 0.841621) * 0.075 / 0.04879)^2 = 18.5; ((1.644854 + 1.281552) * ...)^2 = 20.2.
    assert units_by_formula(sd=SD, effect=FIVE_PER_CENT) == 19
    assert equivalence_units_by_formula(sd=SD, margin=FIVE_PER_CENT) == 21


def test_an_estimated_spread_asks_for_a_little_more() -> None:
    assert units_to_find(sd=SD, effect=FIVE_PER_CENT) == 21
    assert units_for_equivalence(sd=SD, low=-FIVE_PER_CENT, high=FIVE_PER_CENT) == 22


@pytest.mark.parametrize("effect", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("power", [0.8, 0.95])
def test_the_plan_is_statsmodels_(effect: float, power: float) -> None:
    theirs = TTestPower().solve_power(effect_size=effect / SD, alpha=0.05, power=power)
    assert units_to_find(sd=SD, effect=effect, risks=Risks(power=power)) == max(2, math.ceil(theirs))


def test_power_by_simulation() -> None:
    draws = np.random.default_rng(1).normal(FIVE_PER_CENT, SD, (4000, 21))
    found = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05)
    assert power_to_find(21, sd=SD, effect=FIVE_PER_CENT) == pytest.approx(
        found, abs=4 * math.sqrt(0.16 / 4000)
    )


@pytest.mark.parametrize(("n", "shift"), [(5, 0.0), (12, 0.0), (22, 0.0), (22, 0.4)])
def test_power_for_equivalence_by_simulation(n: int, shift: float) -> None:
    mean = shift * FIVE_PER_CENT
    draws = np.random.default_rng(n).normal(mean, SD, (3000, n))
    shown = np.mean([DescrStatsW(row).ttost_mean(-FIVE_PER_CENT, FIVE_PER_CENT)[0] < 0.05 for row in draws])
    chance = power_for_equivalence(n, sd=SD, low=-FIVE_PER_CENT - mean, high=FIVE_PER_CENT - mean)
    assert chance == pytest.approx(shown, abs=4 * math.sqrt(max(shown * (1 - shown), 0.02) / 3000))


def test_what_no_number_of_pairs_settles() -> None:
    assert units_to_find(sd=SD, effect=0.0) is None
    assert units_to_find(sd=1.0, effect=1e-6) is None
    assert units_for_equivalence(sd=SD, low=-0.05, high=0.05, effect=0.06) is None
    assert units_for_equivalence(sd=1.0, low=-1e-6, high=1e-6) is None


def test_without_spread_two_pairs_do() -> None:
    assert units_to_find(sd=0.0, effect=0.01) == 2
    assert units_for_equivalence(sd=0.0, low=-0.05, high=0.05) == 2


def test_the_detectable_effect_inverts_the_plan() -> None:
    effect = detectable_effect(21, sd=SD)
    assert power_to_find(21, sd=SD, effect=effect) == pytest.approx(0.8, abs=1e-6)
    assert effect < FIVE_PER_CENT < detectable_effect(20, sd=SD)
