"""The alarm against the clock: never early, close to its instant, and with nothing left open."""

from __future__ import annotations

import time
from pathlib import Path

import gevent
import pytest

from loadtest.driver.alarm import Alarm

pytestmark = pytest.mark.alone

OPEN = Path("/proc/self/fd")


def test_it_is_never_early_and_finer_than_a_millisecond() -> None:
    lateness_ns = []
    with Alarm() as alarm:
        for _ in range(50):
            instant_ns = time.monotonic_ns() + 3_300_000
            assert alarm.wait_until(instant_ns)
            lateness_ns.append(time.monotonic_ns() - instant_ns)
    assert min(lateness_ns) >= 0
    # epoll waits four whole milliseconds for 3.3: 0.7 too many, every time. A busy machine adds to some.
    assert min(lateness_ns) < 400_000, "as coarse as epoll"


def test_an_instant_that_is_past_is_not_waited_for() -> None:
    with Alarm() as alarm:
        assert not alarm.wait_until(time.monotonic_ns() - 1)


def test_others_run_while_it_waits() -> None:
    ran: list[int] = []
    gevent.spawn(ran.append, 1)
    with Alarm() as alarm:
        alarm.wait_until(time.monotonic_ns() + 5_000_000)
    assert ran == [1]


def test_a_kill_ends_the_wait_and_nothing_stays_open() -> None:
    before = len(list(OPEN.iterdir()))

    def wait() -> None:
        with Alarm() as alarm:
            alarm.wait_until(time.monotonic_ns() + 60_000_000_000)

    greenlet = gevent.spawn(wait)
    gevent.sleep(0.01)
    greenlet.kill()
    assert greenlet.ready()
    assert len(list(OPEN.iterdir())) == before


def test_without_a_timerfd_gevents_timers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCalls:
        """A C library of another system."""

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: NoCalls())
    with Alarm() as alarm:
        instant_ns = time.monotonic_ns() + 5_000_000
        assert alarm.wait_until(instant_ns)
        assert time.monotonic_ns() >= instant_ns
