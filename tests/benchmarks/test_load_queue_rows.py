"""Queues beside their closed forms: the plan in virtual time, which cost shifts what, and what a row says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.bench_load_queues import PLAN, SERVICE_S, WARM_UP_RATIO, arrivals_us, seed_of, services_us
from benchmarks.load_queue_rows import Repeat, p95_of, row_of, tail_cost_s
from benchmarks.load_record import LoadRecord
from loadtest.analysis.queueing import simulate

if TYPE_CHECKING:
    from pathlib import Path

COST_S = 0.00065  # what HTTP and lateness cost a request in the mean, over sockets on two quiet cores


def virtual(queue: str, load: float, repeat: int, seconds: float, *, slowdown: float = 1.0) -> Repeat:
    """Return what a repeat of seed 1 finds in virtual time, each request at one cost."""
    seed, service_s = seed_of(1, repeat), SERVICE_S[load]
    arrivals = arrivals_us(load, seed, seconds)
    services = services_us(queue, service_s, seed, arrivals.size)
    kept = arrivals > WARM_UP_RATIO * seconds * 1e6
    true_s, seen_s = (
        ((simulate(arrivals, (services * times).astype(np.int64)) - arrivals) / 1e6)[kept] + more
        for times, more in ((1.0, 0.0), (slowdown, COST_S))
    )
    return Repeat(
        queue=queue,
        utilisation=load,
        service_s=service_s,
        repeat=repeat,
        seed=seed,
        mean_s=float(seen_s.mean()),
        p95_s=p95_of(seen_s),
        recursion_mean_s=float(true_s.mean()),
        recursion_p95_s=p95_of(true_s),
        lateness_p99_s=0.0,
        cost_mean_s=COST_S,
        cost_median_s=COST_S,
        cost_tail_s=COST_S,
        http_p99_s=COST_S + 1e-9,
        steal_ratio=0.0,
        hub_delay_p99_s=0.001,
        num_requests=int(kept.sum()),
    )


@pytest.mark.parametrize(("queue", "load"), PLAN)
def test_the_plan_decides_every_queue(queue: str, load: float) -> None:
    count, seconds = PLAN[queue, load]
    row = row_of([virtual(queue, load, repeat, seconds) for repeat in range(count)])
    assert row.word == "holds"
    assert row.mean.cost_s == row.p95.cost_s == pytest.approx(COST_S)


def test_a_server_that_is_a_fifth_slower_than_it_says_does_not_hold() -> None:
    count, seconds = PLAN["M/D/1", 0.3]
    row = row_of([virtual("M/D/1", 0.3, repeat, seconds, slowdown=1.2) for repeat in range(count)])
    assert row.word == "DOES NOT HOLD"
    assert not row.mean.holds


def test_an_interval_may_lie_above_its_closed_form_by_its_cost_and_no_more() -> None:
    repeats = [virtual("M/D/1", 0.3, repeat, 4.0) for repeat in range(12)]
    shifted = [replace(one, mean_s=one.mean_s + 0.001) for one in repeats]
    assert row_of(shifted).word == "DOES NOT HOLD"
    told = [replace(one, cost_mean_s=COST_S + 0.001) for one in shifted]
    assert row_of(told).mean.holds
    free = [replace(one, cost_mean_s=0.0, mean_s=one.mean_s - 0.001 - COST_S) for one in repeats]
    assert not row_of(free).mean.holds, "the upper end is as it was measured"


def test_a_wide_interval_and_a_busy_machine_decide_nothing() -> None:
    repeats = [virtual("M/M/1", 0.8, repeat, 4.0) for repeat in range(3)]
    assert row_of(repeats).word == "too few"
    stolen = [replace(one, steal_ratio=0.02) for one in repeats]
    assert row_of(stolen).word == "not quiet"


def test_repeats_of_two_service_times_are_not_put_together() -> None:
    first = virtual("M/D/1", 0.3, 0, 4.0)
    with pytest.raises(ValueError, match="cannot be put together"):
        row_of([first, replace(first, service_s=0.0015)])


def test_a_quantile_is_shifted_by_what_the_requests_there_cost() -> None:
    rng = np.random.default_rng(5)
    accounts_s = rng.exponential(0.010, 200_000)
    # The slower, the dearer, and noisy: neither the mean nor the median of all is the shift.
    costs_s = 0.0002 + 0.02 * accounts_s + rng.exponential(0.0003, accounts_s.size)
    shift_s = p95_of(accounts_s + costs_s) - p95_of(accounts_s)
    assert tail_cost_s(accounts_s, costs_s) == pytest.approx(shift_s, rel=0.03)
    assert float(costs_s.mean()) < 0.7 * shift_s


def test_rows_of_other_settings_are_replaced_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "load-queues.json"
    old = LoadRecord(path, {"service_s": 0.0015, "seed": 1, "quick": True})
    old.add({"repeat": 0})
    assert LoadRecord(path, old.settings).has(repeat=0)
    assert capsys.readouterr().err == ""
    new = LoadRecord(path, {"service_s": 0.004, "seed": 1, "quick": True})
    assert not new.rows
    said = capsys.readouterr().err
    assert "1 rows of other settings (service_s)" in said
    assert "Starting afresh" in said
    new.add({"repeat": 0})
    assert json.loads(path.read_text())["settings"]["service_s"] == 0.004
