"""Closed forms against each other, against cases by hand, and against the recursion in virtual time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analysis.interval import student_interval
from loadtest.analysis.percentiles import exact
from loadtest.analysis.queueing import MD1, MM1, UnstableQueueError, mean_sojourn_s, simulate
from loadtest.trace.arrivals import parse_law

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SERVICE_US = 10_000
UTILISATIONS = (0.3, 0.6, 0.8)
NUM_RUNS = 40
RUN_S = 250.0
WARM_UP_S = 50.0
LEVEL = 0.999


def exponential(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    return np.rint(rng.exponential(SERVICE_US, n)).astype(np.int64)


def fixed(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    return np.full(n, SERVICE_US)


def sojourns_s(
    utilisation: float, seed: int, service: Callable[[np.random.Generator, int], NDArray[np.int64]]
) -> NDArray[np.float64]:
    rng = np.random.default_rng([seed, round(utilisation * 10)])
    arrivals = parse_law(f"poisson:{utilisation * 1e6 / SERVICE_US}").times_us(RUN_S, rng)
    done = simulate(arrivals, service(rng, arrivals.size))
    return ((done - arrivals) / 1e6)[arrivals > WARM_UP_S * 1e6]


@pytest.mark.parametrize("utilisation", UTILISATIONS)
def test_mm1_in_virtual_time_agrees_with_its_closed_form(utilisation: float) -> None:
    queue = MM1(arrivals_per_s=utilisation * 100, served_per_s=100)
    runs = [sojourns_s(utilisation, seed, exponential) for seed in range(NUM_RUNS)]
    means = student_interval([run.mean() for run in runs], LEVEL)
    tails = student_interval([exact(run, 0.95) or math.nan for run in runs], LEVEL)
    assert not means.excludes(queue.mean_sojourn_s)
    assert not tails.excludes(queue.sojourn_percentile(0.95))
    # The intervals are narrow enough to mean something.
    assert tails.high / tails.low < 1.3


@pytest.mark.parametrize("utilisation", UTILISATIONS)
def test_md1_in_virtual_time_agrees_with_its_closed_form(utilisation: float) -> None:
    queue = MD1(arrivals_per_s=utilisation * 100, service_s=0.01)
    runs = [sojourns_s(utilisation, seed, fixed) for seed in range(NUM_RUNS)]
    means = student_interval([run.mean() for run in runs], LEVEL)
    tails = student_interval([exact(run, 0.95) or math.nan for run in runs], LEVEL)
    assert not means.excludes(queue.mean_sojourn_s)
    assert not tails.excludes(queue.sojourn_percentile(0.95))
    assert tails.high / tails.low < 1.3


def test_by_hand() -> None:
    queue = MM1(arrivals_per_s=80, served_per_s=100)
    assert queue.mean_sojourn_s == pytest.approx(0.05)
    assert queue.sojourn_percentile(0.95) == pytest.approx(0.05 * math.log(20))
    # Half the wait of M/M/1: 0.8 / (2 * 0.2) services of 10 ms, and the service itself.
    assert MD1(arrivals_per_s=80, service_s=0.01).mean_sojourn_s == pytest.approx(0.02 + 0.01)


@pytest.mark.parametrize("utilisation", [0.05, 0.3, 0.6, 0.8, 0.95])
def test_md1_s_distribution_has_the_known_ends_and_mean(utilisation: float) -> None:
    queue = MD1(arrivals_per_s=utilisation, service_s=1.0)
    # An arrival finds the server idle with chance 1 - rho and is done after exactly one service.
    assert queue.sojourn_cdf(1.0) == pytest.approx(1 - utilisation)
    assert queue.sojourn_cdf(0.999) == 0.0
    # Erlang's form within the first service: (1 - rho) exp(rho x).
    assert queue.sojourn_cdf(1.4) == pytest.approx((1 - utilisation) * math.exp(utilisation * 0.4))
    # The mean is the area beyond the distribution; past 30 services it is below a thousandth up to 0.8.
    grid = np.linspace(1, 30, 1451)
    beyond = np.array([1 - queue.sojourn_cdf(x) for x in grid])
    if utilisation <= 0.8:
        assert 1 + np.trapezoid(beyond, grid) == pytest.approx(queue.mean_sojourn_s, rel=1e-3)


@given(p=st.floats(0.01, 0.9999), utilisation=st.floats(0.05, 0.97))
def test_percentiles_invert_distributions(p: float, utilisation: float) -> None:
    mm1 = MM1(arrivals_per_s=utilisation, served_per_s=1.0)
    assert mm1.sojourn_cdf(mm1.sojourn_percentile(p)) == pytest.approx(p)
    md1 = MD1(arrivals_per_s=utilisation, service_s=1.0)
    at = md1.sojourn_percentile(p)
    assert md1.sojourn_cdf(at) == pytest.approx(max(p, 1 - utilisation), abs=1e-6)


def test_pollaczek_khinchine_holds_both() -> None:
    assert mean_sojourn_s(60, service_s=0.01, service_cv=1.0) == pytest.approx(
        MM1(arrivals_per_s=60, served_per_s=100).mean_sojourn_s
    )
    assert mean_sojourn_s(60, service_s=0.01, service_cv=0.0) == pytest.approx(
        MD1(arrivals_per_s=60, service_s=0.01).mean_sojourn_s
    )


@pytest.mark.parametrize("utilisation", [0.0, 1.0, 1.5])
def test_a_queue_that_cannot_settle_has_no_answer(utilisation: float) -> None:
    with pytest.raises(UnstableQueueError, match="between 0 and 1"):
        MM1(arrivals_per_s=utilisation, served_per_s=1.0)
    with pytest.raises(UnstableQueueError, match="between 0 and 1"):
        MD1(arrivals_per_s=utilisation, service_s=1.0)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**7)), min_size=1, max_size=60))
def test_the_recursion_is_lindley_s_one_step_at_a_time(requests: list[tuple[int, int]]) -> None:
    arrivals = np.sort(np.array([arrival for arrival, _ in requests]))
    service = np.array([length for _, length in requests])
    done, free = [], 0
    for arrival, length in zip(arrivals.tolist(), service.tolist(), strict=True):
        free = max(arrival, free) + length
        done.append(free)
    assert simulate(arrivals, service).tolist() == done


def test_a_stall_is_in_every_latency_that_it_held_up() -> None:
    # One request of 2 s at 50 a second, the others 4 ms: a hundred arrivals wait, the first almost 2 s.
    arrivals = np.arange(0, 20_000_000, 20_000)
    service = np.full(arrivals.size, 4_000)
    service[100] = 2_000_000
    latency = (simulate(arrivals, service) - arrivals) / 1e6
    assert latency.max() == pytest.approx(2.0)
    assert exact(latency, 0.95) == pytest.approx(1.2, abs=0.1)
    assert exact(service / 1e6, 0.95) == 0.004
