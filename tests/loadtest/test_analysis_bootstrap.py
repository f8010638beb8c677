"""Resampling and intervals: against scipy, against closed forms, and what they do with next to nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loadtest.analysis.bootstrap import (
    cluster_resamples,
    studentise,
    units,
)
from loadtest.analysis.interval import (
    Interval,
    log_student_interval,
    standard_error,
    student_interval,
)
from loadtest.analysis.permutation import sign_flip_p


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_student_s_interval_is_scipy_s() -> None:
    values = rng(1).normal(0.1, 1, 7)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    ours = student_interval(values, 0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert standard_error(values) == pytest.approx(float(stats.sem(values)))


def test_student_s_interval_by_hand() -> None:
    # Mean 2, sd 1, three units: 2 +- 4.302653 / sqrt(3).
    found = student_interval([1.0, 2.0, 3.0], 0.95)
    assert found.low == pytest.approx(2 - 4.3026527 / math.sqrt(3))
    assert found.high == pytest.approx(2 + 4.3026527 / math.sqrt(3))


def test_an_interval_of_rates_is_made_of_their_logarithms() -> None:
    # ln 10, ln 100, ln 1000: mean ln 100, standard error ln 10 / sqrt 3, t(2) at 97.5 % is 4.302653.
    mean, found = log_student_interval([10.0, 100.0, 1000.0], 0.95)
    assert mean == pytest.approx(100.0)
    assert found is not None
    half = 10 ** (4.302653 / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx((100 / half, 100 * half), rel=1e-5)
    # A linear interval over the same runs reaches far below 0.
    assert student_interval([10.0, 100.0, 1000.0], 0.95).low < 0 < found.low


def test_one_rate_has_no_interval_and_none_or_zero_has_no_mean() -> None:
    mean, found = log_student_interval([7.0], 0.95)
    assert mean == pytest.approx(7.0)
    assert found is None
    for rates in ([], [1.0, 0.0]):
        with pytest.raises(ValueError, match="positive units"):
            log_student_interval(rates, 0.95)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_a_spread_needs_two(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two"):
        student_interval(values, 0.95)
    with pytest.raises(ValueError, match="at least two"):
        studentise([values], rng())


def test_resampled_means_are_spread_as_scipy_s() -> None:
    values = rng(2).exponential(size=25)
    ours = cluster_resamples([values], rng(3), num_resamples=9999).mean(axis=1)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9999, rng=rng(4), method="percentile")
    assert ours.std(ddof=1) == pytest.approx(theirs.standard_error, rel=0.03)
    low, high = np.quantile(ours, [0.025, 0.975])
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * width)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * width)


def test_clusters_are_drawn_whole_before_their_members() -> None:
    # Members of a cluster are alike, clusters differ: every resampled unit is one cluster's value.
    groups = [np.full(5, 1.0), np.full(2, 10.0), np.full(9, 100.0)]
    drawn = cluster_resamples(groups, rng(7), num_resamples=3000)
    assert drawn.shape == (3000, 3)
    assert set(np.unique(drawn)) == {1.0, 10.0, 100.0}
    share = np.mean(drawn == 10.0)
    assert share == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / 9 / drawn.size))


def test_members_are_drawn_within_their_cluster() -> None:
    groups = [np.array([0.0, 1.0]), np.array([0.0, 1.0])]
    drawn = cluster_resamples(groups, rng(8), num_resamples=8000)
    # The mean of two of {0, 1}: 0, a half and 1 with chances 1/4, 1/2, 1/4.
    assert np.unique(drawn).tolist() == [0.0, 0.5, 1.0]
    assert np.mean(drawn == 0.5) == pytest.approx(0.5, abs=0.02)


def test_the_spread_over_clusters_is_the_two_stage_one() -> None:
    # Var of a resampled unit: between clusters' means (divisor R), plus within (divisor K) over K.
    groups = list(rng(9).normal(size=(6, 4)) + rng(10).normal(size=(6, 1)))
    drawn = cluster_resamples(groups, rng(11), num_resamples=40_000)
    between = np.var([g.mean() for g in groups])
    within = np.mean([np.var(g) / g.size for g in groups])
    assert drawn.var() == pytest.approx(between + within, rel=0.03)


def test_units_are_restarts_or_the_pairs_of_an_only_one() -> None:
    assert units([[1.0, 3.0], [5.0]]).tolist() == [2.0, 5.0]
    assert units([[1.0, 3.0, 8.0]]).tolist() == [1.0, 3.0, 8.0]
    assert units([[], [1.0, 3.0]]).tolist() == [1.0, 3.0]


def test_studentised_is_student_s_where_the_data_are_normal() -> None:
    values = stats.norm.ppf((np.arange(40) + 0.5) / 40)
    drawn = studentise([values], rng(12), num_resamples=19_999)
    ours, theirs = drawn.interval(0.95), student_interval(values, 0.95)
    assert ours.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.high == pytest.approx(theirs.high, abs=0.03)


def test_p_values_and_intervals_say_the_same() -> None:
    values = rng(13).normal(0.3, 1.0, 15)
    drawn = studentise([values], rng(14))
    for level in (0.8, 0.9, 0.95, 0.99):
        interval = drawn.interval(level)
        width = interval.high - interval.low
        for value in np.linspace(interval.low - width, interval.high + width, 41):
            nearest = min(abs(value - interval.low), abs(value - interval.high))
            if nearest > 0.02 * width:
                assert (drawn.p_differs(float(value)) < 1 - level) == interval.excludes(float(value))


def test_one_sided_p_values_add_up() -> None:
    drawn = studentise([rng(15).normal(size=12)], rng(16))
    assert drawn.p_above(0.0) + drawn.p_below(0.0) == pytest.approx(1.0, abs=3e-4)


def test_units_all_alike_leave_no_doubt() -> None:
    drawn = studentise([[0.5] * 9], rng(17))
    assert drawn.interval(0.95) == Interval(low=0.5, high=0.5, level=0.95)
    assert drawn.p_differs(0.0) == pytest.approx(2 / 10_000)


@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=9))
def test_sign_flips_are_scipy_s_exact_test(values: list[float]) -> None:
    theirs = stats.permutation_test(
        (np.array(values),), np.sum, permutation_type="samples", alternative="two-sided", n_resamples=10**6
    )
    # scipy doubles the smaller tail, which for a symmetric law is the share beyond either way.
    assert sign_flip_p(values, rng()) == pytest.approx(min(1.0, float(theirs.pvalue)), abs=1e-9)


def test_sign_flips_by_hand() -> None:
    # Four units of one sign: 2 of 16 ways to flip reach the same sum.
    assert sign_flip_p([1.0, 2.0, 3.0, 4.0], rng()) == 2 / 16
    # Of 1, 2 and -3 the sum is 0: every way reaches it.
    assert sign_flip_p([1.0, 2.0, -3.0], rng()) == 1.0
    assert sign_flip_p([], rng()) == 1.0


def test_many_units_are_flipped_at_random_to_the_same_answer() -> None:
    values = rng(18).normal(0.4, 1.0, 20)
    exact = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=199_999, rng=rng(19)
    )
    p = float(exact.pvalue)
    assert sign_flip_p(values, rng(20)) == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 9999) + 1e-3)


def test_an_interval_says_what_it_holds() -> None:
    interval = Interval(low=-0.1, high=0.2, level=0.9)
    assert not interval.excludes(0.0)
    assert interval.excludes(0.21)
    assert interval.within(-0.11, 0.21)
    assert not interval.within(-0.1, 0.3)
    ratio = interval.exp()
    assert (ratio.low, ratio.high) == (math.exp(-0.1), math.exp(0.2))
