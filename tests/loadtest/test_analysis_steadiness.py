"""Whether a run was steady, against series whose course is known, and queues in virtual time."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.analysis.queueing import simulate
from loadtest.analysis.steadiness import Course, mser, steadiness

EVERY = np.arange(400) / 10


def queue(utilisation: float, seed: int, n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Return due instants and latencies of M/M/1 at 100 services a second that starts empty."""
    rng = np.random.default_rng(seed)
    due_us = np.cumsum(rng.exponential(1e4 / utilisation, n)).astype(np.int64)
    done_us = simulate(due_us, np.rint(rng.exponential(1e4, n)).astype(np.int64))
    return due_us / 1e6, (done_us - due_us) / 1e6


def test_a_line_rises_by_the_ratio_of_its_quarters() -> None:
    found = steadiness(EVERY, 1 + EVERY)
    assert found is not None
    assert found.course is Course.RISING
    assert found.trend == pytest.approx(1.0)
    # Twenty blocks of twenty: medians 1.95, 3.95, ..; the middle of the first five and of the last five.
    assert found.growth == pytest.approx((1.95 + 2 * 17) / (1.95 + 2 * 2))
    falling = steadiness(EVERY, 41 - EVERY)
    assert falling is not None
    assert falling.course is Course.FALLING
    assert falling.trend == pytest.approx(-1.0)


def test_requests_are_judged_in_the_order_in_which_they_were_due() -> None:
    order = np.random.default_rng(1).permutation(EVERY.size)
    assert steadiness(EVERY[order], (1 + EVERY)[order]) == steadiness(EVERY, 1 + EVERY)


def test_a_trend_too_small_to_matter_and_a_constant_are_steady() -> None:
    small = steadiness(EVERY, 100 + EVERY)
    assert small is not None
    assert small.course is Course.STEADY
    assert small.trend == pytest.approx(1.0)
    flat = steadiness(EVERY, np.ones(EVERY.size))
    assert flat is not None
    assert (flat.course, flat.trend, flat.p_value, flat.growth) == (Course.STEADY, 0.0, 1.0, 1.0)


def test_too_few_requests_have_no_course() -> None:
    assert steadiness(EVERY[:199], EVERY[:199]) is None


@pytest.mark.parametrize(
    ("values", "cut"),
    [
        ([9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 3),  # a step is cut off whole: no error remains
        ([1.0] * 10, 0),
        # Only the first differs: without it the squared error is 0; with it, not.
        ([2.0, 1.0, 1.0, 1.0], 1),
        # By hand: d=0 var 0.25 / 4, d=1 var 2/9 / 3, d=2 var 0.25 / 2; the least is 0.0625.
        ([0.0, 1.0, 0.0, 1.0], 0),
        ([], 0),
    ],
)
def test_mser_cuts_where_the_mean_is_known_best(values: list[float], cut: int) -> None:
    assert mser(values) == cut


def test_a_warm_up_is_found_and_measured() -> None:
    rng = np.random.default_rng(3)
    latency = rng.gamma(4, 0.005, EVERY.size) * np.where(EVERY < 8, 6 - 5 * EVERY / 8, 1)
    latency *= 1 + 0.3 * np.exp(-EVERY / 15)
    found = steadiness(EVERY, latency)
    assert found is not None
    assert found.course is Course.FALLING
    assert 0.1 <= found.warm_up_ratio <= 0.3  # a fifth of the requests came before 8 s


@pytest.mark.parametrize("utilisation", [0.3, 0.8])
def test_a_queue_below_saturation_is_left_alone(utilisation: float) -> None:
    found = [steadiness(*queue(utilisation, seed)) for seed in range(200)]
    alarms = sum(one is not None and one.course is not Course.STEADY for one in found)
    assert alarms <= 4


def test_a_queue_above_saturation_is_found() -> None:
    for seed in range(50):
        found = steadiness(*queue(1.15, seed))
        assert found is not None
        assert found.course is Course.RISING
