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
from tests.observability.seconds_for_minutes import SECONDS
from tests.observability.troubles import LATENCY, TROUBLES, troubled

if TYPE_CHECKING:
    from pathlib import Path

    from tests.observability.conftest import Watched

pytestmark = [pytest.mark.observability, pytest.mark.timeout(240)]
KILLED = ("XlmrInstanceDown", "XlmrAbsent")


def test_durations_keep_their_order() -> None:
    seconds = list(SECONDS.values())
    assert seconds == sorted(set(seconds))


def test_every_alert_has_its_fault() -> None:
    provoked = {alert for trouble in TROUBLES for alert in trouble.alerts} | set(KILLED)
    assert provoked == alerts().keys()


def told_truly(watched: Watched) -> set[tuple[str, str]]:
    """Return what may be said of the healthy service because it is so: a busy machine can make it slow.

    Its answers say how long they took; more of them above the threshold than the objective allows, and
    alerts that say so are right.
    """
    (threshold_s,) = (value for _, value in watched.prometheus.values("xlmr:objective_latency:seconds"))
    (share,) = (value for _, value in watched.prometheus.values('xlmr:slo_objective:ratio{slo="latency"}'))
    took_s = np.concatenate([run["total_ms"].to_numpy() for run in watched.samples.values()]) / 1e3
    was_slow = np.mean(took_s > threshold_s) > 1 - share
    return {("xlmr-serve", alert) for alert in LATENCY} if was_slow else set()


@pytest.mark.usefixtures("quiet_log")
def test_alerts_fire_in_their_fault_and_in_no_other_run(watched: Watched, tmp_path: Path) -> None:
    prometheus = watched.prometheus
    excused = told_truly(watched) | {(one.name, alert) for one in TROUBLES for alert in one.excused}

    def fired() -> set[tuple[str, str]]:
        return prometheus.fired() - excused

    # The healthy run is over; every `for` has had its time.
    assert fired() == set()
    expected = {(trouble.name, alert) for trouble in TROUBLES for alert in trouble.alerts}
    with contextlib.ExitStack() as stack:
        for trouble in TROUBLES:
            (tmp_path / trouble.name).mkdir()
            address, begin = stack.enter_context(
                troubled(trouble, watched.catalogue, tmp_path / trouble.name)
            )
            prometheus.set_targets(trouble.name, address)
            if trouble.begins_after:
                prometheus.wait_until_data(trouble.begins_after)
                begin()
        watched.service.process.kill()
        fired_when_killed = {("xlmr-serve", "XlmrInstanceDown")}
        prometheus.wait("the killed service is told", lambda: fired_when_killed <= fired())
        with contextlib.suppress(AssertionError):
            prometheus.wait("every alert has fired", lambda: expected <= fired())
        assert fired() == expected | fired_when_killed
        prometheus.set_targets("xlmr-serve")
        absent = ("xlmr-serve", "XlmrAbsent")
        prometheus.wait("the absent service is told", lambda: absent in fired())
    assert fired() == expected | fired_when_killed | {absent}
