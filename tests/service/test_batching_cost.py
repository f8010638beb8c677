"""The cost model: exact on data that obeys it, honest on data that does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from service.batching.cost import (
    ANCHOR_MEASUREMENTS,
    FADE,
    KEPT_ERRORS,
    LEAST_ERRORS,
    CostModel,
    Load,
    Measurement,
    knee,
)

TRUE = (2e-3, 40e-6, 12e-9)
# Batches of equal sequences: (length, count).
WARM_UP = [(length, count) for length in (8, 32, 128, 512) for count in (1, 2, 4, 8, 16)]


def seconds_of(load: Load, coefficients: tuple[float, float, float] = TRUE) -> float:
    start_s, token_s, square_s = coefficients
    return start_s * load.num_batches + token_s * load.num_tokens + square_s * load.num_squares


def measured(
    lengths: list[int], coefficients: tuple[float, float, float] = TRUE, factor: float = 1.0
) -> Measurement:
    load = Load.of(lengths)
    return Measurement(load=load, seconds=factor * seconds_of(load, coefficients))


def warm_up(coefficients: tuple[float, float, float] = TRUE) -> list[Measurement]:
    return [measured([length] * count, coefficients) for length, count in WARM_UP]


def test_a_load_by_hand() -> None:
    assert Load.of([3, 4]) == Load(num_batches=1, num_tokens=7, num_squares=25)


def test_data_without_noise_gives_the_coefficients_back() -> None:
    assert CostModel.fit(warm_up()).coefficients == pytest.approx(TRUE, rel=1e-5)


def test_prediction_by_hand() -> None:
    model = CostModel.fit(warm_up())
    # Three batches of 100 tokens altogether, squares 3,000: 6e-3 + 4e-3 + 0.036e-3.
    load = Load(num_batches=3, num_tokens=100, num_squares=3000)
    assert model.predict(load) == pytest.approx(10.036e-3, rel=1e-5)


nonnegative = st.tuples(st.floats(1e-5, 1e-2), st.floats(1e-7, 1e-3), st.floats(0.0, 1e-6))


@settings(max_examples=50)
@given(coefficients=nonnegative, seed=st.integers(0, 2**32 - 1))
def test_a_fit_equals_scipys_non_negative_least_squares(
    coefficients: tuple[float, float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    noisy = [
        Measurement(load=one.load, seconds=one.seconds * float(np.exp(rng.normal(0.0, 0.5))))
        for one in warm_up(coefficients)
    ]
    rows = np.array([[1.0, m.load.num_tokens, m.load.num_squares] for m in noisy])
    rows /= np.array([m.seconds for m in noisy])[:, None]
    scale = np.linalg.norm(rows, axis=0)
    expected, residual = nnls(rows / scale, np.ones(len(rows)))
    found = np.array(CostModel.fit(noisy).coefficients) * scale
    assert found.min() >= 0.0
    assert np.linalg.norm((rows / scale) @ found - 1.0) == pytest.approx(residual, rel=1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_the_error_that_is_minimised_is_relative() -> None:
    # The same batch took 1 s and 3 s. Least (p/1 - 1)^2 + (p/3 - 1)^2 is p = (1 + 1/3) / (1 + 1/9) = 1.2;
    # least squares of the absolute error would say 2.
    load = Load.of([10])
    model = CostModel.fit([Measurement(load=load, seconds=1.0), Measurement(load=load, seconds=3.0)])
    assert model.predict(load) == pytest.approx(1.2)


def test_refining_equals_weighted_least_squares_over_all_that_was_seen() -> None:
    rng = np.random.default_rng(7)
    first = warm_up()
    later = [
        measured(rng.integers(4, 300, size=rng.integers(1, 20)).tolist(), factor=float(rng.uniform(0.8, 1.2)))
        for _ in range(60)
    ]
    model = CostModel.fit(first)
    levelled = []
    for one in later:
        # What the level explains, the coefficients do not see.
        levelled.append(replace(one, seconds=one.seconds / model.alone.factor))
        model = model.refine(one)
    # A warm-up measurement's weight: faded like any other, on top of its share of the anchor.
    n = len(later)
    share = ANCHOR_MEASUREMENTS / len(first)
    first_weight = FADE**n + (1 - FADE**n) * share
    weights = np.array([first_weight] * len(first) + [FADE ** (n - 1 - k) for k in range(n)])
    seen = [*first, *levelled]
    rows = np.array([[1.0, m.load.num_tokens, m.load.num_squares] for m in seen])
    rows /= np.array([m.seconds for m in seen])[:, None]
    root = np.sqrt(weights)
    scale = np.linalg.norm(rows, axis=0)
    expected = np.linalg.lstsq(root[:, None] * rows / scale, root, rcond=None)[0] / scale
    assert model.coefficients == pytest.approx(expected.tolist(), rel=1e-4)


def test_refining_follows_a_machine_that_became_slower() -> None:
    rng = np.random.default_rng(3)
    model = CostModel.fit(warm_up())
    for _ in range(400):
        lengths = rng.integers(4, 400, size=rng.integers(1, 30)).tolist()
        model = model.refine(measured(lengths, factor=2.0))
    for probe, tolerance in ((Load.of([200] * 15), 0.02), (Load.of([20, 200, 300]), 0.1)):
        assert model.predict(probe) == pytest.approx(2.0 * seconds_of(probe), rel=tolerance)


def test_a_day_of_equal_batches_does_not_unlearn_the_rest() -> None:
    model = CostModel.fit(warm_up())
    for _ in range(20_000 // 10):
        model = model.refine(measured([32] * 8))
    for probe in (Load.of([512] * 16), Load.of([8])):
        assert model.predict(probe) == pytest.approx(seconds_of(probe), rel=0.01)


def test_a_model_that_was_never_fitted_learns_from_the_first_batch_on() -> None:
    model = CostModel.unfitted()
    assert model.predict(Load.of([10])) == 0.0
    assert model.error_p90 is None
    model = model.refine(measured([32] * 8))
    assert model.errors == ()  # nothing was predicted before the first measurement
    assert model.predict(Load.of([32] * 8)) == pytest.approx(seconds_of(Load.of([32] * 8)), rel=1e-6)
    assert model.num_measurements == 1


def test_errors_are_those_of_predictions_made_before_the_batch_ran() -> None:
    model = CostModel.fit(warm_up())
    predicted = model.predict(Load.of([64] * 4))
    refined = model.refine(Measurement(load=Load.of([64] * 4), seconds=predicted / 1.5))
    assert refined.errors == pytest.approx((0.5,))


def test_the_90th_percentile_of_ten_errors_is_the_ninth() -> None:
    model = CostModel.fit(warm_up())
    load = Load.of([64] * 4)
    for tenths in range(1, 11):  # errors 0.1 .. 1.0, whatever the model has learnt meanwhile
        for _ in range(LEAST_ERRORS // 10):
            assert model.error_p90 is None  # too few to tell
            model = model.refine(Measurement(load=load, seconds=model.predict(load) / (1.0 + tenths / 10)))
    assert model.error_p90 == pytest.approx(0.9)


def test_only_the_latest_errors_are_kept() -> None:
    model = CostModel.fit(warm_up())
    for _ in range(KEPT_ERRORS + 10):
        model = model.refine(measured([16] * 3))
    assert len(model.errors) == KEPT_ERRORS


@settings(max_examples=30)
@given(factor=st.floats(0.05, 20.0))
def test_a_scaled_model_is_that_of_scaled_measurements(factor: float) -> None:
    more = [measured([12] * 9, factor=1.3), measured([300], factor=0.7)]
    longer = [replace(one, seconds=factor * one.seconds) for one in (*warm_up(), *more)]
    direct = CostModel.fit(longer[: len(warm_up())])
    scaled = CostModel.fit(warm_up()).scaled(factor)
    for one in longer[len(warm_up()) :]:
        scaled, direct = scaled.refine(one), direct.refine(one)
    assert scaled.coefficients == pytest.approx(direct.coefficients, rel=1e-6)
    assert scaled.errors == pytest.approx(direct.errors, rel=1e-6)


def test_refining_leaves_the_old_model_as_it_was() -> None:
    model = CostModel.fit(warm_up())
    before = (model.coefficients, model.errors, model.num_measurements)
    model.refine(measured([100], factor=10.0))
    assert (model.coefficients, model.errors, model.num_measurements) == before


@pytest.mark.parametrize(
    ("coefficients", "typical_tokens", "expected"),
    [
        # Tokens a second of k sequences of 10 tokens: 10k / (c0 + 10k c1); the asymptote is 1/c1.
        # With c0 = c1 * 100: speed/best(grid to 65,536) = (10k / (100 + 10k)) * (1 + 100 / 65530).
        # 95 % needs 10k >= 1,847: the first power of two is 2,048.
        ((100e-6, 1e-6, 0.0), 10, 2048),
        # No price for starting a batch: nothing to gain, the smallest budget will do.
        ((0.0, 1e-6, 1e-12), 10, 64),
        # Longer sequences than the small budgets: these count as one sequence alone.
        ((0.0, 1e-6, 0.0), 512, 64),
        # A start so dear that only the largest of the grid comes near the best.
        ((10.0, 1e-6, 0.0), 16, 65_536),
    ],
)
def test_the_knee_by_hand(
    coefficients: tuple[float, float, float], typical_tokens: int, expected: int
) -> None:
    model = CostModel.fit(warm_up(coefficients))
    assert knee(model, typical_tokens=typical_tokens) == expected


@settings(max_examples=50)
@given(coefficients=nonnegative, length=st.integers(1, 512))
def test_the_knee_is_fast_enough_and_nothing_smaller_is(
    coefficients: tuple[float, float, float], length: int
) -> None:
    grid = (64, 256, 1024, 4096, 16384)
    model = CostModel.fit(warm_up(coefficients))

    def speed(budget: int) -> float:
        count = max(1, budget // length)
        return count * length / model.predict(Load.of([length] * count))

    found = knee(model, typical_tokens=length, grid=grid)
    enough = 0.95 * max(map(speed, grid))
    assert speed(found) >= enough
    assert all(speed(budget) < enough for budget in grid if budget < found)


@settings(max_examples=20, deadline=None)
@given(coefficients=nonnegative, seed=st.integers(0, 2**32 - 1), drift=st.floats(0.5, 2.0))
def test_planted_costs_are_found_under_noise_outliers_and_drift(
    coefficients: tuple[float, float, float], seed: int, drift: float
) -> None:
    rng = np.random.default_rng(seed)
    model = CostModel.fit(warm_up(coefficients))
    errors = []
    for place in range(600):
        crowded = bool(rng.random() < 0.5)
        lengths = rng.integers(8, 200, size=rng.integers(1, 12)).tolist()
        # From the middle on everything takes so many times as long; beside others 1.3 times, always.
        true = measured(lengths, coefficients, (drift if place >= 300 else 1.0) * (1.3 if crowded else 1.0))
        noise = float(np.exp(rng.normal(0.0, 0.1))) * (3.0 if rng.random() < 0.03 else 1.0)
        if 200 <= place < 300 or place >= 500:
            errors.append(abs(model.predict(true.load, crowded=crowded) / true.seconds - 1.0))
        model = model.refine(replace(true, seconds=noise * true.seconds, crowded=crowded))
    assert np.quantile(errors, 0.9) < 0.15


def test_a_batch_teaches_only_the_level_that_it_ran_at() -> None:
    model = CostModel.fit(warm_up())
    load = Load.of([64] * 2)
    for _ in range(60):
        model = model.refine(Measurement(load=load, seconds=1.3 * seconds_of(load), crowded=True))
    assert model.crowded.factor > 1.1
    assert model.alone.factor == 1.0
    assert model.predict(load, crowded=True) == pytest.approx(1.3 * seconds_of(load), rel=0.05)
