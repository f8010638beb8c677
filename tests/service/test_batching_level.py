"""The level: found soon, steady under noise, hardly moved by what is odd."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.cost import CostModel, Load, Measurement
from service.batching.level import BOUND, GAIN, Level


def after(ratios: list[float]) -> Level:
    level = Level()
    for ratio in ratios:
        level = level.after(ratio)
    return level


def test_by_hand() -> None:
    # What it began with counts as one batch: means of 0, 0.3 and then of 0, 0.3, 0.6.
    assert after([exp(0.3)]).logarithm == pytest.approx(0.15)
    assert after([exp(0.3), exp(0.6)]).logarithm == pytest.approx(0.3)
    assert after([exp(0.3), exp(0.6)]).factor == pytest.approx(exp(0.3))


@given(st.floats(1e-6, 1e6))
def test_no_batch_moves_a_settled_level_by_more_than_its_share_of_the_bound(ratio: float) -> None:
    settled = after([1.0] * 20)
    assert abs(settled.after(ratio).logarithm) <= GAIN * BOUND + 1e-12


@given(st.floats(0.1, 10.0))
def test_it_finds_a_machine_that_became_slower_or_faster_within_sixty_batches(factor: float) -> None:
    assert after([factor] * 60).factor == pytest.approx(factor, rel=0.1)


def test_level_and_coefficients_do_not_drift_apart() -> None:
    rng = np.random.default_rng(7)
    loads = [Load.of([length] * 4) for length in (16, 64, 256)]
    model = CostModel.fit([Measurement(load=load, seconds=1e-5 * load.num_tokens) for load in loads])
    for index, noise in enumerate(np.exp(rng.normal(0.0, 0.2, 3000))):
        load = loads[index % 3]
        model = model.refine(Measurement(load=load, seconds=1e-5 * load.num_tokens * float(noise)))
    assert 0.5 < model.alone.factor < 2.5
    assert model.predict(loads[1]) == pytest.approx(1e-5 * loads[1].num_tokens, rel=0.2)


@given(st.lists(st.floats(0.01, 100.0), max_size=30))
def test_it_stays_within_what_it_saw(ratios: list[float]) -> None:
    found = after(ratios).logarithm
    seen = [0.0, *map(log, ratios)]
    assert min(seen) - 1e-9 <= found <= max(seen) + 1e-9


def test_one_batch_in_ten_that_took_ten_times_as_long_shifts_it_little() -> None:
    rng = np.random.default_rng(5)
    noise = np.exp(rng.normal(0.0, 0.05, 3000))
    noise[rng.random(3000) < 0.1] *= 10.0
    level, seen = Level(), []
    for ratio in noise:
        level = level.after(float(ratio))
        seen.append(level.factor)
    # A tenth of the bound is all that a tenth of odd batches can do in the mean.
    assert np.mean(seen[100:]) == pytest.approx(1.05, abs=0.04)
