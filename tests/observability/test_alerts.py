"""Each alert fires in the fault that it is for, and in no other run.

All faults run beside each other, each as a scrape job of its own, after a healthy run in which
nothing may fire. The rules are the committed ones with seconds for minutes.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.deploy.prometheus_rules import alerts
from tests.observability.prometheus_server import SCRAPE_S, TEST_S
from tests.observability.seconds_for_minutes import SECONDS
from tests.observability.troubles import LATENCY, TROUBLES, troubled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from tests.observability.conftest import Watched
    from tests.observability.prometheus_server import Prometheus

    Answered = Sequence[tuple[float, float]]

pytestmark = [pytest.mark.observability, pytest.mark.timeout(TEST_S)]
KILLED = ("XlmrInstanceDown", "XlmrAbsent")


def test_durations_keep_their_order() -> None:
    seconds = list(SECONDS.values())
    assert seconds == sorted(set(seconds))


def test_every_alert_has_its_fault() -> None:
    provoked = {alert for trouble in TROUBLES for alert in trouble.alerts} | set(KILLED)
    assert provoked == alerts().keys()


def was_slow(prometheus: Prometheus, answered: Answered) -> bool:
    """Return whether answers missed the latency objective, by what clients saw: a busy machine can do that.

    ``answered``: when each answer came and how long it took, seconds. It is so if, in some window of the
    shortest length that an alert looks at, more of them took longer than the threshold than the objective
    allows: a longer window with too many holds a shorter one with too many.
    """
    (threshold_s,) = (value for _, value in prometheus.values("xlmr:objective_latency:seconds"))
    (share,) = (value for _, value in prometheus.values('xlmr:slo_objective:ratio{slo="latency"}'))
    return worst_share(answered, threshold_s, SECONDS["5m"]) > 1 - share


def worst_share(answered: Answered, threshold_s: float, window_s: float) -> float:
    """Return the largest share of slow answers in any window that ends with an answer."""
    ended_s, took_s = np.array(sorted(answered)).reshape(-1, 2).T
    slow = np.concatenate([[0], np.cumsum(took_s > threshold_s)])
    first, end = np.searchsorted(ended_s, ended_s - window_s), np.arange(1, ended_s.size + 1)
    return float(np.max((slow[end] - slow[first]) / (end - first), initial=0.0))


def test_the_worst_share_is_of_a_window() -> None:
    answered = [(float(second), 0.6 if second in {50, 52} else 0.1) for second in range(100)]
    assert worst_share(answered, 0.5, 3.5) == 0.5
    assert worst_share(answered, 0.5, 9.5) == 0.2
    assert worst_share(answered, 0.7, 3.5) == 0
    assert worst_share([], 0.5, 3.5) == 0


def was_unsteady(prometheus: Prometheus, ran: Answered) -> bool:
    """Return whether batches took other times than one may predict, by the device's own clock.

    ``ran``: when each batch ended and how long it took, seconds. All of a device's batches should take the
    same; it is so if more than one in ten is further from the median than the limit, in some window of the
    length of which the alert speaks.
    """
    (limit,) = (value for _, value in prometheus.values("xlmr:limit_cost_error:ratio"))
    usual_s = np.median([took_s for _, took_s in ran]) if ran else 1.0
    errors = [(ended_s, abs(took_s / usual_s - 1)) for ended_s, took_s in ran]
    return worst_share(errors, limit, SECONDS["15m"]) > 0.1


def told_truly(
    prometheus: Prometheus, answered: Sequence[tuple[str, Answered]], ran: Sequence[tuple[str, Answered]]
) -> set[tuple[str, str]]:
    """Return what may be said of some jobs because it is so, of a busy machine and by other clocks.

    Answers were slow, as clients saw: then requests may have queued, too. Batches took as long as they like,
    as the device saw. Metrics were not read within the second that there is between two readings here.
    """
    slow = {job for job, times in answered if was_slow(prometheus, times)}
    unsteady = {job for job, times in ran if was_unsteady(prometheus, times)}
    late = prometheus.values(f"max by (job) (max_over_time(scrape_duration_seconds[1h])) >= {SCRAPE_S}")
    return (
        {(job, alert) for job in slow for alert in (*LATENCY, "XlmrQueueSaturated")}
        | {(job, "XlmrCostModelOff") for job in unsteady}
        | {(labels["job"], "XlmrInstanceDown") for labels, _ in late}
    )


def answers_of(run: pl.DataFrame) -> Answered:
    """Return when each answer of a load run came and how long the service says that it took, seconds."""
    return list(zip(run["done_us"] / 1e6, run["total_ms"] / 1e3, strict=True))


@pytest.mark.usefixtures("quiet_log")
def test_alerts_fire_in_their_fault_and_in_no_other_run(watched: Watched, tmp_path: Path) -> None:
    prometheus = watched.prometheus
    answered = [("xlmr-serve", answers_of(run)) for run in watched.samples.values()]
    ran: list[tuple[str, Answered]] = []
    excused = {(trouble.name, alert) for trouble in TROUBLES for alert in trouble.excused}
    expected: set[tuple[str, str]] = set()

    def fired() -> set[tuple[str, str]]:
        return prometheus.fired() - excused - (told_truly(prometheus, answered, ran) - expected)

    # The healthy run is over; every `for` has had its time. Who was late to be read is read again.
    prometheus.wait_for('up{job="xlmr-serve"}', 1)
    assert fired() == set()
    expected |= {(trouble.name, alert) for trouble in TROUBLES for alert in trouble.alerts}
    with contextlib.ExitStack() as stack:
        for trouble in TROUBLES:
            (tmp_path / trouble.name).mkdir()
            service = stack.enter_context(troubled(trouble, watched.catalogue, tmp_path / trouble.name))
            answered.append((trouble.name, service.answered))
            ran.append((trouble.name, service.ran))
            prometheus.set_targets(trouble.name, service.address)
            if trouble.begins_after:
                prometheus.wait_until_data(trouble.begins_after)
                service.begin()
        watched.service.process.kill()
        expected.add(("xlmr-serve", "XlmrInstanceDown"))
        with contextlib.suppress(AssertionError):
            prometheus.wait("every alert has fired", lambda: expected <= fired())
        assert fired() == expected
        prometheus.set_targets("xlmr-serve")
        expected.add(("xlmr-serve", "XlmrAbsent"))
        prometheus.wait("the absent service is told", lambda: expected <= fired())
    assert fired() == expected
