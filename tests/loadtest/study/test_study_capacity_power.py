"""Capacities of two arms in virtual time: search, sweep and fit as a study makes them, over many studies.

Each study is the one that benchmarks/bench_load_capacity.py runs over sockets: one serial worker of 4 ms, one
of 5 ms, blocks of 3 s, ``p95<25ms``. The truth is the stationary closed form of M/D/1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import optimize, stats

from loadtest.analysis.capacity import capacity, capacity_ratio
from loadtest.analysis.queueing import MD1, simulate
from loadtest.study.capacity_search import Swept, plan_of, search, target_of
from loadtest.study.study_file import CapacityTable
from tests.loadtest.study.made_up import group, summary

if TYPE_CHECKING:
    from loadtest.report.records import Summary

TARGET = target_of("p95<25ms")
TABLE = CapacityTable(objective=TARGET.text, replicates=3, replicate_s=3.0)
FAST_S, SLOW_S = 0.004, 0.005
SKELETON = summary(group(in_time=1.0))


def closed_form(service_s: float) -> float:
    """Return the rate at which 95 % of M/D/1's sojourns are within the objective."""
    return float(
        optimize.brentq(
            lambda rate: (
                MD1(arrivals_per_s=rate, service_s=service_s).sojourn_cdf(TARGET.limit_s) - TARGET.share
            ),
            0.2 / service_s,
            0.98 / service_s,
        )
    )


@dataclass(slots=True, kw_only=True)
class Servers:
    """One serial worker an arm, in virtual time; a block's number is the seed of its arrivals."""

    seed: int
    service_s: dict[str, float]
    num_made: int = 0

    def make(self, arm: str, rate_per_s: float, number: int) -> Summary:
        """Return what a block of an arm finds."""
        self.num_made += 1
        rng = np.random.default_rng([self.seed, number])
        times_s = np.cumsum(rng.exponential(1.0, 4000)) / rate_per_s
        arrivals = np.rint(times_s[times_s < TABLE.replicate_s] * 1e6).astype(np.int64)
        services = np.full(arrivals.size, round(self.service_s[arm] * 1e6))
        in_time = simulate(arrivals, services) - arrivals < TARGET.limit_s * 1e6
        goodput = SKELETON.overall.goodput
        assert goodput is not None
        seen = SKELETON.overall.model_copy(
            update={
                "n": arrivals.size,
                "goodput": goodput.model_copy(update={"ratio": float(in_time.mean())}),
            }
        )
        return SKELETON.model_copy(update={"overall": seen})


def studied(seed: int, **service_s: float) -> tuple[Swept, int]:
    """Return one study's sweep, and how many blocks it took; the first arm is the reference."""
    servers = Servers(seed=seed, service_s=service_s)
    plan = plan_of(TABLE, TARGET, 0.5 / next(iter(service_s.values())))
    swept = search(tuple(service_s), plan, TABLE.max_probes, servers.make, np.random.default_rng(seed))
    return swept, servers.num_made


def test_a_quarter_more_service_time_is_found_and_the_intervals_hold_the_closed_form() -> None:
    num_studies = 100
    exact = {"old": closed_form(FAST_S), "new": closed_form(SLOW_S)}
    log_ratio = math.log(exact["new"] / exact["old"])
    assert exact["old"] / exact["new"] == pytest.approx(1.361, abs=0.001)  # more than 1.25: fewer fit in
    held, held_ratio, unequal, widths, blocks = 0, 0, 0, [], []
    for seed in range(num_studies):
        swept, num_blocks = studied(seed, old=FAST_S, new=SLOW_S)
        blocks.append(num_blocks)
        single = capacity(swept.blocks["old"], target=TARGET.share).interval
        held += single is not None and not single.excludes(exact["old"])
        found = capacity_ratio(swept.blocks["new"], swept.blocks["old"], target=TARGET.share).interval
        if found is not None:
            held_ratio += not found.excludes(log_ratio)
            unequal += found.excludes(0.0)
            widths.append(found.high - found.low)
    # 95 % intervals miss too often where so few hits would come one time in a thousand.
    least = stats.binom.ppf(0.001, num_studies, 0.95)
    assert min(held, held_ratio) >= least
    assert unequal >= 0.95 * num_studies
    assert np.median(widths) < 0.12
    assert np.mean(blocks) < 66  # of 5.5 s each, starting and ending included: six minutes


def test_an_arm_and_its_equal_share_their_window_and_do_not_differ() -> None:
    swept, _ = studied(1, old=FAST_S, again=FAST_S)
    rates = [[block.rate_per_s for block in swept.blocks[arm]] for arm in ("old", "again")]
    assert rates[0] == rates[1]
    found = capacity_ratio(swept.blocks["again"], swept.blocks["old"], target=TARGET.share)
    assert (found.log_ratio, found.interval and found.interval.excludes(0.0)) == (0.0, False)


@pytest.mark.parametrize("ratio", [0.4, 1.03, 3.0])
def test_every_arm_has_a_window_of_its_own(ratio: float) -> None:
    swept, _ = studied(2, old=FAST_S, new=FAST_S * ratio)
    exact = closed_form(FAST_S * ratio)
    rates = [block.rate_per_s for block in swept.blocks["new"]]
    assert min(rates) < exact < max(rates)
    found = capacity_ratio(swept.blocks["new"], swept.blocks["old"], target=TARGET.share)
    assert found.log_ratio == pytest.approx(math.log(exact / closed_form(FAST_S)), abs=0.12)
