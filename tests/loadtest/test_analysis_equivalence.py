"""Verdicts: each word from a case that deserves it, and the tests under them against statsmodels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from loadtest.analysis.aa import noise_floor
from loadtest.analysis.equivalence import Direction, Margins, Method, Verdict, compare, pairs_needed, tost_p

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGINS = Margins.symmetric(0.05)


def normal_scores(n: int, mean: float, sd: float) -> NDArray[np.float64]:
    """Return ``n`` values with exactly this mean and standard deviation."""
    values = np.sin(np.arange(1, n + 1) * 2.399963)
    scores: NDArray[np.float64] = (values - values.mean()) / values.std(ddof=1)
    return scores * sd + mean


def judged(values: NDArray[np.float64], direction: Direction = Direction.LARGER_IS_SLOWER) -> Verdict:
    return compare([values], margins=MARGINS, direction=direction, rng=np.random.default_rng(0)).verdict


@pytest.mark.parametrize("n", [6, 20])
@pytest.mark.parametrize(
    ("mean", "sd", "slower", "faster"),
    [
        (0.10, 0.02, Verdict.SLOWER, Verdict.FASTER),
        (-0.10, 0.02, Verdict.FASTER, Verdict.SLOWER),
        (0.00, 0.02, Verdict.EQUIVALENT, Verdict.EQUIVALENT),
        # Surely above 0 and surely too small to matter.
        (0.01, 0.002, Verdict.EQUIVALENT, Verdict.EQUIVALENT),
        (0.01, 0.20, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
    ],
)
def test_the_four_words(n: int, mean: float, sd: float, slower: Verdict, faster: Verdict) -> None:
    values = normal_scores(n, mean, sd)
    assert judged(values, Direction.LARGER_IS_SLOWER) is slower
    assert judged(values, Direction.LARGER_IS_FASTER) is faster


def test_a_large_and_certain_difference_that_crosses_the_margin_is_named() -> None:
    assert judged(normal_scores(20, 0.045, 0.02)) is Verdict.SLOWER


def test_margins_need_not_be_symmetric() -> None:
    values = normal_scores(20, 0.06, 0.02)
    wide_above = Margins.ratios(0.99, 1.10)
    found = compare(
        [values], margins=wide_above, direction=Direction.LARGER_IS_SLOWER, rng=np.random.default_rng(0)
    )
    assert found.verdict is Verdict.EQUIVALENT
    assert judged(values) is Verdict.SLOWER
    symmetric, ratios = Margins.symmetric(0.05), Margins.ratios(1 / 1.05, 1.05)
    assert (symmetric.low, symmetric.high) == pytest.approx((ratios.low, ratios.high))


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.1), (0.01, 0.1), (-0.1, -0.01)])
def test_a_margin_holds_no_difference(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="does not hold 0"):
        Margins(low=low, high=high)


@given(st.lists(st.floats(0.5, 2.0), min_size=3, max_size=12, unique=True))
def test_two_one_sided_tests_are_statsmodels_(ratios: list[float]) -> None:
    arm, reference = np.array(ratios), np.ones(len(ratios))
    p, _, _ = ttost_paired(arm, reference, 1 / 1.05, 1.05, transform=np.log)
    assert tost_p(np.log(arm), MARGINS) == pytest.approx(float(p), abs=1e-9)


def test_below_eight_units_it_is_student_s() -> None:
    values = normal_scores(7, 0.03, 0.05)
    found = compare(
        [values], margins=MARGINS, direction=Direction.LARGER_IS_SLOWER, rng=np.random.default_rng(0)
    )
    theirs = DescrStatsW(values)
    assert found.method is Method.STUDENT
    assert found.interval is not None
    assert found.equivalence_interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(theirs.tconfint_mean(0.05))
    assert (found.equivalence_interval.low, found.equivalence_interval.high) == pytest.approx(
        theirs.tconfint_mean(0.10)
    )
    assert found.p_difference == pytest.approx(theirs.ttest_mean(0.0)[1])
    assert found.p_equivalence == pytest.approx(theirs.ttost_mean(MARGINS.low, MARGINS.high)[0])


def test_from_eight_on_it_is_the_bootstrap_and_close_to_student_s() -> None:
    values = normal_scores(20, 0.03, 0.05)
    found = compare(
        [values], margins=MARGINS, direction=Direction.LARGER_IS_SLOWER, rng=np.random.default_rng(0)
    )
    assert found.method is Method.BOOTSTRAP
    assert found.interval is not None
    assert found.interval.low == pytest.approx(DescrStatsW(values).tconfint_mean(0.05)[0], abs=0.006)
    assert found.p_difference == pytest.approx(DescrStatsW(values).ttest_mean(0.0)[1], abs=0.02)
    assert found.p_sign_flip == pytest.approx(found.p_difference, abs=0.02)


def test_restarts_are_the_units_where_there_are_several() -> None:
    # Pairs within a restart agree; restarts do not: twenty pairs are four units.
    groups = [np.full(5, value) for value in (-0.2, 0.3, 0.25, -0.1)]
    found = compare(
        groups, margins=MARGINS, direction=Direction.LARGER_IS_SLOWER, rng=np.random.default_rng(0)
    )
    assert (found.num_units, found.num_pairs, found.num_restarts) == (4, 20, 4)
    assert found.method is Method.STUDENT
    assert found.verdict is Verdict.INCONCLUSIVE
    flat = compare(
        [np.concatenate(groups)],
        margins=MARGINS,
        direction=Direction.LARGER_IS_SLOWER,
        rng=np.random.default_rng(0),
    )
    assert found.interval is not None
    assert flat.interval is not None
    assert found.interval.high - found.interval.low > 2 * (flat.interval.high - flat.interval.low)


def test_what_would_settle_it() -> None:
    # No difference, sd 0.075: 22 pairs for equivalence; six were run.
    found = compare(
        [normal_scores(6, 0.0, 0.075)],
        margins=MARGINS,
        direction=Direction.LARGER_IS_SLOWER,
        rng=np.random.default_rng(0),
    )
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.pairs_needed == 22
    # A restart of three pairs is one unit.
    groups = [np.full(3, value) for value in normal_scores(6, 0.0, 0.075)]
    grouped = compare(
        groups, margins=MARGINS, direction=Direction.LARGER_IS_SLOWER, rng=np.random.default_rng(0)
    )
    assert grouped.pairs_needed == 66
    settled = compare(
        [normal_scores(6, 0.2, 0.01)],
        margins=MARGINS,
        direction=Direction.LARGER_IS_SLOWER,
        rng=np.random.default_rng(0),
    )
    assert settled.pairs_needed is None


@pytest.mark.parametrize("groups", [[], [[]], [[0.3]]])
def test_fewer_than_two_units_conclude_nothing(groups: list[list[float]]) -> None:
    found = compare(
        groups, margins=MARGINS, direction=Direction.LARGER_IS_SLOWER, rng=np.random.default_rng(0)
    )
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.interval is None
    assert found.log_ratio == (0.3 if groups == [[0.3]] else None)
    assert found.method is Method.NONE


@pytest.mark.parametrize(("value", "verdict"), [(0.0, Verdict.EQUIVALENT), (0.2, Verdict.SLOWER)])
@pytest.mark.parametrize("n", [3, 10])
def test_units_all_alike_are_believed(n: int, value: float, verdict: Verdict) -> None:
    assert judged(np.full(n, value)) is verdict


def test_the_noise_floor_of_an_aa_run() -> None:
    values = normal_scores(20, 0.002, 0.075)
    floor = noise_floor([values], margins=MARGINS, planned_units=21, rng=np.random.default_rng(0))
    assert not floor.false_alarm
    assert floor.sd == pytest.approx(0.075)
    # sd * sqrt(19 / chi2) at 0.975 and 0.025 of chi-square with 19 degrees: 32.852 and 8.907.
    assert floor.sd_interval.low == pytest.approx(0.075 * math.sqrt(19 / 32.852327))
    assert floor.sd_interval.high == pytest.approx(0.075 * math.sqrt(19 / 8.906516), rel=1e-6)
    assert floor.units_to_find == 21
    assert floor.units_for_equivalence == 22
    assert floor.detectable == pytest.approx(0.0482, abs=1e-4)
    biased = noise_floor([values + 0.2], margins=MARGINS, planned_units=21, rng=np.random.default_rng(0))
    assert biased.false_alarm
    with pytest.raises(ValueError, match="at least two"):
        noise_floor([[0.1]], margins=MARGINS, planned_units=21, rng=np.random.default_rng(0))


@pytest.mark.parametrize("n", [6, 20])
@pytest.mark.parametrize("mean", [-0.1, -0.04, 0.0, 0.04, 0.1])
def test_the_p_value_of_equivalence_is_of_the_worse_side(n: int, mean: float) -> None:
    found = compare(
        [normal_scores(n, mean, 0.05)],
        margins=MARGINS,
        direction=Direction.LARGER_IS_SLOWER,
        rng=np.random.default_rng(0),
    )
    assert found.p_equivalence is not None
    assert found.equivalence_interval is not None
    within = found.equivalence_interval.within(MARGINS.low, MARGINS.high)
    assert (found.p_equivalence < 0.05) is within is (mean == 0.0)


def test_a_noise_floor_plans_for_units_of_the_plans_own_size() -> None:
    """Restarts of four pairs each, seen in A/A: planned ones of one pair may spread twice as much."""
    groups = list(normal_scores(40, 0.0, 0.075).reshape(10, 4))

    def detectable(pairs_per_unit: float) -> float:
        return noise_floor(
            groups,
            margins=MARGINS,
            planned_units=10,
            planned_pairs_per_unit=pairs_per_unit,
            rng=np.random.default_rng(0),
        ).detectable

    sd = float(np.std([group.mean() for group in groups], ddof=1))
    solved = float(TTestPower().solve_power(nobs=10, alpha=0.05, power=0.8)) * sd
    assert detectable(4) == pytest.approx(solved)
    assert detectable(1) == pytest.approx(2 * solved)
    assert detectable(8) == pytest.approx(solved)  # what differs between restarts is no less with more pairs


def test_what_was_not_settled_takes_more_pairs_than_there_are() -> None:
    """Skewed units may miss although so many normal ones would not."""
    values = (-0.1, -0.09, -0.06, -0.08, -0.1, -0.06, -0.09, -0.05, -0.08, 0.06)
    sd, mean = float(np.std(values, ddof=1)), float(np.mean(values))
    assert pairs_needed(mean, sd=sd, margins=MARGINS) == 7
    found = compare(
        [values], margins=MARGINS, direction=Direction.LARGER_IS_SLOWER, rng=np.random.default_rng(0)
    )
    assert (found.verdict, found.pairs_needed) == (Verdict.INCONCLUSIVE, 11)
    restarts = compare(
        [(v, v) for v in values],
        margins=MARGINS,
        direction=Direction.LARGER_IS_SLOWER,
        rng=np.random.default_rng(0),
    )
    assert (restarts.num_units, restarts.num_pairs, restarts.pairs_needed) == (10, 20, 22)
