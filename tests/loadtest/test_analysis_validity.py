"""A run that measured itself must say so, with a reason for each thing that went wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from loadtest.analysis.fit import anderson_cdf, anderson_squared, fit
from loadtest.analysis.validity import check, reasons
from loadtest.analysis.validity_terms import Bounds, Measurements
from loadtest.trace.arrivals import parse_law
from loadtest.trace.seeds import streams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtest.trace.arrivals import Law

GOOD = Measurements(
    num_scheduled=1000,
    num_recorded=1000,
    num_workers=2,
    num_workers_lost=0,
    lateness_p99_s=0.002,
    latency_p50_s=0.040,
    offered_per_s=40.0,
    achieved_per_s=39.9,
    generator_cpu_ratio=0.3,
    steal_ratio=0.001,
    hub_delay_p99_s=0.003,
    clock_drift_ratio=-0.0001,
    arrivals=fit(np.linspace(0.001, 0.999, 500)[np.random.default_rng(0).permutation(500)]),
    changed_weights=(),
    unusable_ratio=0.0,
    target_answers=True,
)


def test_a_good_run_has_no_reasons() -> None:
    checks = check(GOOD)
    assert reasons(checks) == ()
    assert all(one.passed for one in checks)
    assert len({one.name for one in checks}) == len(checks) == 12


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_recorded": 999}, "999 samples for 1000"),
        ({"num_workers_lost": 1}, "1 of 2 workers died"),
        ({"lateness_p99_s": 0.0051}, r"5\.1 ms \(<= 5 ms allowed\)"),
        ({"achieved_per_s": 39.5}, r"1\.25 % \(<= 1 % allowed\)"),
        ({"achieved_per_s": 40.5}, r"1\.25 % \(<= 1 % allowed\)"),
        ({"generator_cpu_ratio": 0.81}, "81 %"),
        ({"steal_ratio": 0.02}, "taken by the host"),
        ({"hub_delay_p99_s": 0.05}, "event loop ran"),
        ({"clock_drift_ratio": 0.002}, r"0\.2 %"),
        ({"clock_drift_ratio": -0.002}, r"0\.2 %"),
        ({"arrivals": fit(np.linspace(0.0, 0.8, 500))}, "do not follow the law"),
        ({"changed_weights": ("en.xnli",)}, "weights of en.xnli changed"),
        ({"unusable_ratio": 0.011}, r"Answers: 1\.1 % \(<= 1 % allowed\)"),
        ({"target_answers": False}, "no longer answered"),
    ],
)
def test_each_fault_is_one_reason(change: dict[str, Any], says: str) -> None:
    found = reasons(check(replace(GOOD, **change)))
    assert len(found) == 1
    assert re.search(says, found[0])
    assert found[0].endswith(".")


def test_slow_answers_allow_more_lateness() -> None:
    # 5 % of a median of 400 ms are 20 ms.
    slow = replace(GOOD, lateness_p99_s=0.019, latency_p50_s=0.4)
    assert reasons(check(slow)) == ()
    assert len(reasons(check(replace(slow, lateness_p99_s=0.021)))) == 1


def test_bounds_can_be_set() -> None:
    strict = Bounds(generator_cpu_ratio=0.25, lateness_s=0.001, lateness_of_latency_ratio=0.0)
    assert len(reasons(check(GOOD, strict))) == 2


def test_what_was_not_measured_is_said_and_does_not_fail() -> None:
    least = Measurements(num_scheduled=10, num_recorded=10, num_workers=1, num_workers_lost=0)
    checks = check(least)
    assert reasons(checks) == ()
    assert sum(one.passed is None for one in checks) == 10
    assert all("not measured" in one.sentence for one in checks if one.passed is None)


@pytest.mark.parametrize(("squared", "p"), [(1.933, 0.10), (2.492, 0.05), (3.078, 0.025), (3.857, 0.01)])
def test_anderson_and_darling_s_published_critical_values(squared: float, p: float) -> None:
    assert 1 - anderson_cdf(squared) == pytest.approx(p, rel=0.03)


def test_anderson_s_statistic_is_scipy_s() -> None:
    uniforms = np.random.default_rng(3).random(200)
    theirs = stats.goodness_of_fit(
        stats.uniform, uniforms, known_params={"loc": 0, "scale": 1}, statistic="ad", n_mc_samples=999, rng=1
    )
    assert anderson_squared(uniforms) == pytest.approx(float(theirs.statistic))
    assert 1 - anderson_cdf(anderson_squared(uniforms)) == pytest.approx(float(theirs.pvalue), abs=0.06)


def test_fits_of_true_uniforms_have_uniform_p_values() -> None:
    rng = np.random.default_rng(4)
    found = [fit(rng.random(400)) for _ in range(400)]
    for name in ("distance_p", "anderson_p", "correlation_p"):
        p_values = [getattr(one, name) for one in found]
        assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_too_few_gaps_say_nothing() -> None:
    assert fit([0.5] * 7) is None


def _uniforms(law: Law, times: NDArray[np.int64]) -> NDArray[np.float64]:
    found = law.uniforms(times, resolution_us=5000)
    assert found is not None
    return found


def test_small_lateness_leaves_the_law_standing() -> None:
    law = parse_law("poisson:100")
    times = law.times_us(60.0, streams(1).arrivals)
    late = np.random.default_rng(5).exponential(1000, times.size).astype(np.int64)
    found = fit(_uniforms(law, np.sort(times + late)))
    assert reasons(check(replace(GOOD, arrivals=found))) == ()


def test_sending_in_batches_breaks_the_law() -> None:
    # A spawn loop that releases what is due every 100 ms, as "spawn rate = arrival rate" recipes do.
    law = parse_law("poisson:100")
    times = law.times_us(60.0, streams(1).arrivals)
    batched = (times // 100_000 + 1) * 100_000
    found = fit(_uniforms(law, batched))
    assert len(reasons(check(replace(GOOD, arrivals=found)))) == 1


def test_workers_that_share_a_seed_break_the_law() -> None:
    # Each of four workers draws the same gaps: every arrival comes four times, a hair apart.
    law = parse_law("poisson:100")
    quarter = parse_law("poisson:25").times_us(60.0, streams(1).arrivals)
    merged = np.sort((quarter[:, np.newaxis] + np.arange(4) * 300).ravel())
    found = fit(_uniforms(law, merged))
    assert len(reasons(check(replace(GOOD, arrivals=found)))) == 1


def test_thinking_after_the_answer_is_not_a_poisson_process() -> None:
    # An exponential pause after each reply of 10 ms, as a closed loop's "poisson" wait: too slow by half.
    law = parse_law("poisson:100")
    pauses = np.random.default_rng(6).exponential(10_000, 3000) + 10_000
    found = fit(_uniforms(law, np.cumsum(pauses).astype(np.int64)))
    assert len(reasons(check(replace(GOOD, arrivals=found)))) == 1
