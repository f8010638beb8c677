"""Many comparisons: corrections against scipy and by hand, and small cells against meta-analysis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests

from loadtest.analysis.multiplicity import benjamini_hochberg, fixed_sequence, holm
from loadtest.analysis.shrinkage import shrink


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert holm({"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.02}) == pytest.approx(
        {"d": 0.06, "a": 0.04, "c": 0.06, "b": 0.06}
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_and_hochberg_are_scipy_s(p_values: list[float]) -> None:
    found = benjamini_hochberg(dict(enumerate(p_values)))
    assert list(found.values()) == pytest.approx(stats.false_discovery_control(p_values).tolist())


@settings(max_examples=5, deadline=None)  # statsmodels collects garbage in each call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_statsmodels_(p_values: list[float]) -> None:
    found = holm(dict(enumerate(p_values)))
    assert list(found.values()) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_corrections_never_make_a_claim_easier(p_values: list[float]) -> None:
    raw = dict(enumerate(p_values))
    family, rate = holm(raw), benjamini_hochberg(raw)
    for key, p in raw.items():
        strict, mild = family[key], rate[key]
        assert strict is not None
        assert mild is not None
        assert p - 1e-12 <= mild <= strict + 1e-12 <= 1 + 1e-12


def test_a_missing_value_stays_missing_and_does_not_count() -> None:
    assert holm({"a": 0.02, "b": None, "c": 0.5}) == {"a": pytest.approx(0.04), "b": None, "c": 0.5}
    assert benjamini_hochberg({"a": None}) == {"a": None}
    assert holm({}) == {}


def test_primaries_are_claimed_until_the_first_failure() -> None:
    primaries = [("p95", 0.04), ("capacity", 0.2), ("accuracy", 0.001)]
    assert fixed_sequence(primaries) == ("p95",)
    assert fixed_sequence([("p95", None), ("capacity", 0.001)]) == ()
    assert fixed_sequence([("p95", 0.01), ("capacity", 0.049)]) == ("p95", "capacity")


def test_shrinking_by_hand() -> None:
    # Two cells at 0 and 4, error 1: Q = 8, one degree, c = 2 - 1 = 1, so the variance between is 7.
    found = shrink([0.0, 4.0], [1.0, 1.0])
    assert found.between_sd**2 == pytest.approx(7.0)
    assert found.mean == pytest.approx(2.0)
    assert found.kept_ratio.tolist() == pytest.approx([7 / 8, 7 / 8])
    assert found.estimates.tolist() == pytest.approx([0.25, 3.75])


def test_the_spread_between_cells_is_statsmodels_() -> None:
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.05, 0.4, 25)
    values = rng.normal(0.2, 0.15, 25) + errors * rng.standard_normal(25)
    theirs = combine_effects(values, errors**2, method_re="dl")
    found = shrink(values, errors)
    assert found.between_sd**2 == pytest.approx(float(theirs.tau2))
    assert found.mean == pytest.approx(float(theirs.mean_effect_re))


def test_noise_alone_is_shrunk_away_and_small_cells_most() -> None:
    alike = shrink([0.1, 0.1, 0.1], [0.5, 0.1, 0.2])
    assert alike.between_sd == 0.0
    assert alike.estimates.tolist() == pytest.approx([0.1] * 3)
    mixed = shrink([0.0, 1.0, 2.0, 3.0], [0.1, 2.0, 0.1, 0.1])
    assert mixed.kept_ratio[1] < mixed.kept_ratio[0]
    assert shrink([0.7], [0.1]).estimates.tolist() == [pytest.approx(0.7)]


def test_shrunk_estimates_are_nearer_the_truth() -> None:
    rng = np.random.default_rng(1)
    errors = rng.uniform(0.1, 1.0, 400)
    truth = rng.normal(0, 0.3, 400)
    values = truth + errors * rng.standard_normal(400)
    found = shrink(values, errors)
    assert np.mean((found.estimates - truth) ** 2) < 0.5 * np.mean((values - truth) ** 2)


@pytest.mark.parametrize(("values", "errors"), [([], []), ([1.0], [0.0])])
def test_cells_without_a_spread_are_refused(values: list[float], errors: list[float]) -> None:
    with pytest.raises(ValueError, match="standard error above 0"):
        shrink(values, errors)
