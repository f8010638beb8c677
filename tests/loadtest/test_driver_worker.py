"""A worker's part in a run, without Locust: what it measures of itself, with the collector off."""

from __future__ import annotations

import gc
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest
from gevent.event import AsyncResult

from loadtest.driver import gauges, messages
from loadtest.driver.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECOND_NS = 1_000_000_000


def reading(seconds: int, *, cpu_ns: int, steal_ticks: int) -> gauges.Reading:
    at_ns = seconds * SECOND_NS
    return gauges.Reading(
        monotonic_ns=at_ns,
        wall_ns=at_ns,
        cpu_ns=cpu_ns,
        waited_ns=0,
        steal_ticks=steal_ticks,
        all_ticks=100 * seconds,
    )


# Two seconds of sending at 90 % of a core with 5 % of steal, then a minute of waiting for one answer.
START = reading(0, cpu_ns=0, steal_ticks=0)
ALL_SENT = reading(2, cpu_ns=1_800_000_000, steal_ticks=10)
ENDED = reading(62, cpu_ns=1_860_000_000, steal_ticks=10)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the readings of such a run: when the worker begins, just before the start, and at both ends."""
    given: Iterator[gauges.Reading] = iter((START, START, ALL_SENT, ENDED))
    monkeypatch.setattr(gauges, "read", lambda: next(given))


def take_part(send: Callable[[Callable[[], None]], None]) -> tuple[dict[str, Any], list[str]]:
    """Let a worker run a job that is sent by ``send``; return its DONE and what its heartbeat was told."""
    said: list[tuple[str, dict[str, Any]]] = []
    told: list[str] = []
    runner = SimpleNamespace(send_message=lambda kind, data: said.append((kind, data)))
    worker = Worker(cast("Any", SimpleNamespace(runner=runner)), cast("Any", None))
    start = AsyncResult()
    start.set(time.monotonic_ns())
    job = SimpleNamespace(
        run=7,
        start=start,
        dispatcher=SimpleNamespace(run=lambda _, all_sent: send(all_sent)),
        heartbeat=SimpleNamespace(start=lambda: told.append("start"), mark=lambda: told.append("mark")),
        spool=SimpleNamespace(problem="", flush=lambda: None),
        progress=dict,
        end=lambda: {"num_sent": 3},
    )
    worker._jobs.put(job)
    gevent.spawn(worker.take_part).join(timeout=20)
    ((kind, done),) = said
    assert kind == messages.DONE
    return done, told


@pytest.mark.usefixtures("readings")
def test_the_wait_for_the_last_answer_dilutes_nothing() -> None:
    done, told = take_part(lambda all_sent: all_sent())
    assert (done["run"], done["problem"], done["num_sent"]) == (7, "", 3)
    assert (done["elapsed_s"], done["cpu_ratio"], done["steal_ratio"]) == (62.0, 0.9, 0.05)
    assert told == ["start", "mark"]


def test_nothing_is_collected_while_requests_are_sent() -> None:
    seen: list[tuple[bool, bool]] = []
    take_part(lambda _: seen.append((gc.isenabled(), gc.get_freeze_count() > 1_000)))
    assert seen == [(False, True)]
    assert gc.isenabled()
