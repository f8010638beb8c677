"""Each alert fires in the fault that it is for, and in no other run.

All faults run beside each other, each as a scrape job of its own, after a healthy run in which
nothing may fire. The rules are the committed ones with seconds for minutes.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.deploy.prometheus_rules import alerts, read_names
from tests.observability.not_exported import NOT_EXPORTED
from tests.observability.seconds_for_minutes import SECONDS
from tests.observability.troubles import TROUBLES, troubled

if TYPE_CHECKING:
    from tests.observability.conftest import Watched

pytestmark = [pytest.mark.observability, pytest.mark.timeout(240)]
KILLED = ("XlmrInstanceDown", "XlmrAbsent")
# Faults that a living service cannot have.
IMPOSSIBLE = {
    "XlmrVariantLoadFailed": "a load that fails ends the service, which loads nothing later",
    "XlmrCanaryFailed": "a variant whose canary fails at the start is not served; none is asked later",
}


def test_durations_keep_their_order() -> None:
    seconds = list(SECONDS.values())
    assert seconds == sorted(set(seconds))


def test_every_alert_has_its_fault() -> None:
    provoked = {alert for trouble in TROUBLES for alert in trouble.alerts} | set(KILLED)
    excused = without_metric() | IMPOSSIBLE.keys()
    assert provoked | excused == alerts().keys()
    assert not provoked & excused


def without_metric() -> set[str]:
    """Return the alerts on metrics that the service does not have yet."""
    names = {sample for metric in NOT_EXPORTED for sample in metric.sample_names}
    return {alert for alert, rule in alerts().items() if read_names(rule["expr"]) & names}


@pytest.mark.usefixtures("quiet_log")
def test_alerts_fire_in_their_fault_and_in_no_other_run(watched: Watched) -> None:
    prometheus = watched.prometheus
    # The healthy run is over; every `for` has had its time.
    assert prometheus.fired() == set()
    expected = {(trouble.name, alert) for trouble in TROUBLES for alert in trouble.alerts}
    with contextlib.ExitStack() as stack:
        for trouble in TROUBLES:
            address = stack.enter_context(troubled(trouble, watched.catalogue))
            prometheus.set_targets(trouble.name, address)
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
