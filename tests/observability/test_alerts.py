"""Each alert fires in the fault that it is for, and in no other run.

All faults run beside each other, each as a scrape job of its own, after a healthy run in which
nothing may fire. The rules are the committed ones with seconds for minutes.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.deploy.prometheus_rules import alerts
from tests.observability.seconds_for_minutes import SECONDS
from tests.observability.troubles import TROUBLES, troubled

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


@pytest.mark.usefixtures("quiet_log")
def test_alerts_fire_in_their_fault_and_in_no_other_run(watched: Watched, tmp_path: Path) -> None:
    prometheus = watched.prometheus
    # The healthy run is over; every `for` has had its time.
    assert prometheus.fired() == set()
    expected = {(trouble.name, alert) for trouble in TROUBLES for alert in trouble.alerts}
    with contextlib.ExitStack() as stack:
        for trouble in TROUBLES:
            (tmp_path / trouble.name).mkdir()
            address, reload = stack.enter_context(
                troubled(trouble, watched.catalogue, tmp_path / trouble.name)
            )
            prometheus.set_targets(trouble.name, address)
            if trouble.edit is not None:  # not before Prometheus knows that nothing has failed so far
                none_failed = f'xlmr_variant_loads_total{{job="{trouble.name}", result="failed"}} == 0'
                prometheus.wait_until_data(none_failed)
                reload()
        watched.service.process.kill()
        fired_when_killed = {("xlmr-serve", "XlmrInstanceDown")}
        prometheus.wait("the killed service is told", lambda: fired_when_killed <= prometheus.fired())
        with contextlib.suppress(AssertionError):
            prometheus.wait("every alert has fired", lambda: expected <= prometheus.fired())
        assert prometheus.fired() == expected | fired_when_killed
        prometheus.set_targets("xlmr-serve")
        absent = ("xlmr-serve", "XlmrAbsent")
        prometheus.wait("the absent service is told", lambda: absent in prometheus.fired())
    assert prometheus.fired() == expected | fired_when_killed | {absent}
