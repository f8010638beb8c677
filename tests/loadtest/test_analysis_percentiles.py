"""Exact percentiles: the sample itself, only where there are enough, bounds where requests are unfinished."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analysis.percentiles import Percentile, enough, exact, percentile, population, rank


@pytest.mark.parametrize(
    ("n", "p", "expected"),
    [
        (100, 0.9, 90.0),
        (99, 0.9, None),
        (1000, 0.99, 990.0),
        (999, 0.99, None),
        (10_000, 0.999, 9990.0),
        (9_999, 0.999, None),
        (200, 0.95, 190.0),
        (20, 0.5, 10.0),
        (19, 0.5, None),
        (0, 0.5, None),
    ],
)
def test_a_percentile_is_a_sample_and_needs_ten_beyond_it(n: int, p: float, expected: float | None) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1, n + 1))
    assert exact(values, p) == expected


# Doubles that 1 - p or n * p would miss: 0.9 * 100 beyond, 0.07 * 100 = 7.000000000000001.
@pytest.mark.parametrize(("n", "p", "k"), [(100, 0.07, 6), (100, 0.29, 28), (1000, 0.9, 899), (3, 0.5, 1)])
def test_ranks_are_counted_in_decimals(n: int, p: float, k: int) -> None:
    assert rank(n, p) == k


@given(
    values=st.lists(st.floats(0, 1e6), min_size=40, max_size=400),
    p=st.sampled_from([0.25, 0.5, 0.75]),
)
def test_it_is_numpy_s_inverted_cdf(values: list[float], p: float) -> None:
    assert exact(values, p) == np.quantile(values, p, method="inverted_cdf")


def test_an_unfinished_request_beyond_the_percentile_leaves_it_exact() -> None:
    values = np.arange(1.0, 101.0)
    censored = values == 100
    assert percentile(values, 0.9, censored=censored) == Percentile(value=90.0, at_least=False)


def test_an_unfinished_request_at_the_percentile_makes_it_a_lower_bound() -> None:
    values = np.arange(1.0, 101.0)
    assert percentile(values, 0.9, censored=values >= 90) == Percentile(value=90.0, at_least=True)


def test_an_unfinished_request_below_may_belong_above() -> None:
    # Given up after 3 s, it may have taken 3 s or for ever: the median is 50 or 51.
    values = np.arange(1.0, 101.0)
    found = percentile(values, 0.5, censored=values == 3)
    assert found == Percentile(value=50.0, at_least=True)


@given(
    values=st.lists(st.floats(0, 1e3), min_size=100, max_size=200),
    p=st.sampled_from([0.5, 0.75, 0.9]),
    seed=st.integers(0, 1000),
)
def test_a_lower_bound_is_one_whatever_the_unfinished_took(values: list[float], p: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.array(values)
    censored = rng.random(times.size) < 0.2
    truth = np.where(censored, times + rng.exponential(1e3, times.size), times)
    found, true_value = percentile(times, p, censored=censored), exact(truth, p)
    assert found is not None
    assert true_value is not None
    assert found.value <= true_value
    assert found.at_least or found.value == true_value


def test_failures_are_counted_and_never_timed() -> None:
    # Quick refusals would make the median 1 ms.
    times = np.concatenate([np.full(60, 0.001), np.full(40, 0.5)])
    failed = times < 0.01
    group = population(times, failed=failed, censored=np.zeros(100, dtype=bool))
    assert group.num_failed == 60
    assert group.num_scheduled == 100
    assert group.percentile(0.5) == Percentile(value=0.5, at_least=False)


def test_a_timeout_is_a_lower_bound_even_when_it_is_reported_as_a_failure() -> None:
    group = population([1.0, 30.0, 0.1], failed=[False, True, True], censored=[False, True, False])
    assert group.values.tolist() == [1.0, 30.0]
    assert group.censored.tolist() == [False, True]
    assert group.num_failed == 1


@pytest.mark.parametrize("p", [0.0, 1.0, 95.0, -0.1, math.nan])
def test_a_share_lies_between_0_and_1(p: float) -> None:
    with pytest.raises(ValueError, match=r"p95 is 0\.95"):
        enough(100, p)


def test_a_time_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        exact([math.nan] * 50, 0.5)
