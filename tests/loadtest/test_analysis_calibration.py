"""Intervals hold the truth as often as they say, equal arms are left alone, and a planted effect is found.

Fast and seeded; ``benchmarks/bench_statistics.py`` repeats the same cases thousands of times.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from loadtest.analysis.aa import noise_floor
from loadtest.analysis.calibration import Case, calibrate
from loadtest.analysis.calibration_cases import cases, requests_as_units
from loadtest.analysis.design import Design, Phase
from loadtest.analysis.equivalence import Direction, Margins, Verdict, compare
from loadtest.analysis.percentiles import exact
from loadtest.analysis.power import power_to_find
from loadtest.analysis.queueing import simulate
from loadtest.analysis.rehearsal import Measure, Truth, rehearse

NUM_TRIALS = 100
NEARLY = 0.02  # studentised and sandwich intervals are exact only in the limit
FIVE_PER_CENT = math.log(1.05)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_an_interval_is_what_it_says(case: Case) -> None:
    found = calibrate(case, num_trials=NUM_TRIALS, seed=7)
    n = found.num_trials - found.num_without
    assert found.num_without <= case.max_without_ratio * NUM_TRIALS
    low = stats.binom.ppf(0.0005, n, case.nominal - NEARLY)
    assert low <= found.num_held


def test_requests_are_no_units() -> None:
    # The same run's requests taken as independent: an interval that holds the truth a quarter of the time.
    found = calibrate(requests_as_units(), num_trials=400, seed=7)
    assert found.held_ratio < 0.35


def studied(design: Design, truth: Truth, seed: int, measure: Measure) -> list[np.ndarray]:
    groups = rehearse(design, truth, np.random.default_rng(seed), measure=measure)
    return groups[Phase.PAIR, "b", design.load_ratios[0]]


def test_a_planted_slowdown_is_found_with_the_planned_number_of_pairs() -> None:
    # Nearly unloaded, so that a slowdown of 5 % is 5 % of latency; noise from runs alone.
    measure, truth = Measure(percentile=0.5, num_requests=60), Truth(block_spread=0.05, request_spread=0.0)
    aa = Design(reference="a", arms=("b",), num_pairs=40, num_restarts=1, load_ratios=(0.01,))
    floor = noise_floor(
        studied(aa, truth, 0, measure),
        margins=Margins.symmetric(0.05),
        planned_units=40,
        rng=np.random.default_rng(0),
    )
    assert not floor.false_alarm
    assert floor.sd_interval.low < math.sqrt(2) * 0.05 < floor.sd_interval.high
    planned = floor.units_to_find
    assert planned is not None
    design = Design(reference="a", arms=("b",), num_pairs=planned, num_restarts=1, load_ratios=(0.01,))
    slower = Truth(block_spread=0.05, request_spread=0.0, slowdown={"b": 1.05})
    num_studies = 100
    found = 0
    for seed in range(num_studies):
        groups = studied(design, slower, seed, measure)
        verdict = compare(
            groups,
            margins=Margins.symmetric(0.01),
            direction=Direction.LARGER_IS_SLOWER,
            rng=np.random.default_rng(seed),
        ).verdict
        found += verdict is Verdict.SLOWER
    expected = power_to_find(planned, sd=math.sqrt(2) * 0.05, effect=FIVE_PER_CENT)
    assert expected > 0.6
    assert found >= stats.binom.ppf(0.0005, num_studies, expected)
    assert found <= stats.binom.ppf(0.9995, num_studies, expected)


def test_under_load_a_slowdown_of_service_is_a_larger_one_of_latency() -> None:
    # 5 % more service at a utilisation of 0.8 lengthens the tail by far more than 5 %.
    design = Design(reference="a", arms=("b",), num_pairs=10, num_restarts=1, load_ratios=(0.8,))
    (ratios,) = studied(design, Truth(slowdown={"b": 1.05}), 0, Measure(num_requests=2000))
    assert 0.15 < ratios.mean() < 0.35


@pytest.mark.parametrize(("shared", "spread"), [("nothing", 0.27), ("arrivals", 0.21), ("both", 0.075)])
def test_what_a_pair_shares_decides_how_many_pairs_it_takes(shared: str, spread: float) -> None:
    # 3,000 requests at a utilisation of 0.8, log-normal services, arm B 5 % slower with 5 % noise a request.
    rng = np.random.default_rng(8)
    n, ratios = 3000, []
    for _ in range(150):
        gaps, items = (rng.exponential(0.025, (2, n)), 0.02 * rng.lognormal(-(0.55**2) / 2, 0.55, (2, n)))
        p95 = []
        for arm, slowdown in enumerate((1.0, 1.05)):
            arrivals = np.cumsum(gaps[arm if shared == "nothing" else 0])
            service = items[0 if shared == "both" else arm] * slowdown * rng.lognormal(0, 0.05, n)
            done = simulate((arrivals * 1e6).astype(np.int64), (service * 1e6).astype(np.int64))
            p95.append(exact(done / 1e6 - arrivals, 0.95) or math.nan)
        ratios.append(math.log(p95[1] / p95[0]))
    # The spread of 150 ratios is known to a twentieth or so.
    assert np.std(ratios) == pytest.approx(spread, rel=0.25)


def test_a_rehearsal_follows_its_design() -> None:
    design = Design(
        reference="a",
        arms=("b",),
        num_pairs=7,
        num_restarts=3,
        load_ratios=(0.3, 0.6),
        num_aa_pairs=4,
        control="slow",
        num_control_pairs=3,
    )
    truth = Truth(slowdown={"slow": 1.3})
    groups = rehearse(design, truth, np.random.default_rng(0), measure=Measure(num_requests=300))
    assert {key: [len(g) for g in found] for key, found in groups.items()} == {
        (Phase.AA, "a", 0.6): [2, 1, 1],
        (Phase.CONTROL, "slow", 0.6): [1, 1, 1],
        (Phase.PAIR, "b", 0.3): [3, 2, 2],
        (Phase.PAIR, "b", 0.6): [3, 2, 2],
    }
    assert min(g.min() for g in groups[Phase.CONTROL, "slow", 0.6]) > 0
    again = rehearse(design, truth, np.random.default_rng(0), measure=Measure(num_requests=300))
    np.testing.assert_array_equal(again[Phase.PAIR, "b", 0.3][0], groups[Phase.PAIR, "b", 0.3][0])


def test_a_rehearsal_with_three_arms_compares_each_with_the_reference() -> None:
    design = Design(reference="a", arms=("b", "c"), num_pairs=4, num_restarts=2, load_ratios=(0.6,))
    truth = Truth(slowdown={"c": 1.2})
    groups = rehearse(design, truth, np.random.default_rng(0), measure=Measure(num_requests=300))
    assert set(groups) == {(Phase.PAIR, "b", 0.6), (Phase.PAIR, "c", 0.6)}
    assert np.mean(groups[Phase.PAIR, "c", 0.6]) > 0.1 > abs(np.mean(groups[Phase.PAIR, "b", 0.6]))


def test_what_cannot_be_rehearsed_is_refused() -> None:
    offline = Design(reference="a", arms=("b",), num_pairs=1, num_restarts=1, num_offline_pairs=1)
    with pytest.raises(ValueError, match="Offline pairs"):
        rehearse(offline, Truth(), np.random.default_rng(0))
    design = Design(reference="a", arms=("b",), num_pairs=1, num_restarts=1)
    with pytest.raises(ValueError, match="too few"):
        rehearse(
            design, Truth(), np.random.default_rng(0), measure=Measure(percentile=0.99, num_requests=500)
        )
