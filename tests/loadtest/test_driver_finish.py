"""What a run's record says of the generator: of several workers the worst, and a wait dilutes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.driver.collect import Collected
from loadtest.driver.finish import _gauges
from loadtest.driver.outcome import Fate, Outcome, Status, WorkerOutcome

CALM: dict[str, Any] = {
    "cpu_ratio": 0.2,
    "wait_ratio": 0.01,
    "steal_ratio": 0.001,
    "clock_drift_ratio": 1e-6,
    "hub_delays_us": [100] * 200,
    "num_busy_beats": 200,
    "num_connections": 3,
    "max_inflight": 2,
}


def recorded(*reports: dict[str, Any], fates: tuple[Fate, ...] = (Fate.DONE, Fate.DONE)) -> dict[str, Any]:
    workers = tuple(
        WorkerOutcome(
            shard=shard,
            client=str(shard),
            fate=fate,
            spool="",
            clock={"error_ns": 2_000},
            identity={},
            report=report,
        )
        for shard, (report, fate) in enumerate(zip(reports, fates, strict=True))
    )
    outcome = Outcome(
        status=Status.COMPLETE, message="", start_wall_ns=0, end_us=0, locust="", workers=workers
    )
    return _gauges(outcome, Collected(num_scheduled=4, last_us=2_000_000), (), answers=True)


@pytest.mark.parametrize(
    ("change", "gauge", "value"),
    [
        ({"cpu_ratio": 0.9}, "generator_cpu_ratio", 0.9),
        ({"wait_ratio": 0.3}, "generator_wait_ratio", 0.3),
        ({"steal_ratio": 0.05}, "steal_ratio", 0.05),
        ({"clock_drift_ratio": -0.01}, "clock_drift_ratio", -0.01),
        ({"clock_drift_ratio": 0.01}, "clock_drift_ratio", 0.01),
        ({"hub_delays_us": [100] * 197 + [30_000] * 3}, "hub_delay_p99_s", 0.03),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_the_worst_worker_is_recorded(
    change: dict[str, Any],
    gauge: str,
    value: float,
    first: bool,  # noqa: FBT001 - a case of the table
) -> None:
    strained = CALM | change
    found = recorded(strained, CALM) if first else recorded(CALM, strained)
    assert found[gauge] == value
    assert found["num_connections"] == 6


def test_a_long_wait_for_the_last_answers_hides_no_late_heartbeat() -> None:
    """Four seconds of sending with a hub that hung, then a minute of waiting for one request."""
    busy = [100] * 190 + [400_000] * 10
    waited = CALM | {"hub_delays_us": busy + [100] * 3_000, "num_busy_beats": len(busy)}
    assert recorded(waited, CALM)["hub_delay_p99_s"] == 0.4
    late = CALM | {"hub_delays_us": [100] * 200 + [50_000] * 10, "num_busy_beats": 200}
    assert recorded(late, CALM)["hub_delay_p99_s"] == 0.05


def test_who_never_reported_is_counted_as_lost_and_as_nothing_else() -> None:
    found = recorded(CALM, {}, fates=(Fate.DONE, Fate.LOST))
    assert (found["num_workers"], found["num_workers_lost"]) == (2, 1)
    assert found["generator_cpu_ratio"] == 0.2
    assert recorded({}, {}, fates=(Fate.LOST, Fate.LOST))["hub_delay_p99_s"] is None
