"""The dispatcher of one worker: sends its part of a schedule and never waits for a reply.

Instants are ``time.monotonic_ns()``. Rules:

- Open: request k goes out at its intended instant, in a greenlet of its own, whatever
  became of the earlier ones. If the dispatcher is late, it catches up and the lateness shows.
- Closed and offline: at most ``max_inflight`` are outstanding; the intended instant is
  when a place became free (closed) or the start (offline).
- ``sent`` is stamped just before the send, or before the connect where a new connection is needed.
- Each request ends in exactly one record: an answer, a failure, or censored (it timed out
  ``timeout_s`` after it was sent, or the run was cut short).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from geventhttpclient.response import HTTPParseError

from loadtest.driver.alarm import Alarm
from loadtest.driver.connection import exchange
from loadtest.driver.failures import describe
from loadtest.driver.plan import Mode
from loadtest.driver.spool import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gevent import socket

    from loadtest.driver.connection import Connections, Reply

_NS_PER_US = 1_000
_NS_PER_S = 1_000_000_000
_REAP_INTERVAL_S = 0.1  # how late a timeout may be noticed; its record says timeout_s all the same
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The part of a schedule that one worker sends, in order; four columns of one length.

    ``indices``: of the arrivals in the whole schedule. ``times_us``: since the start.
    ``requests``: bytes to send. ``names``: under which Locust counts them.
    """

    indices: Sequence[int]
    times_us: Sequence[int]
    requests: Sequence[bytes]
    names: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How a shard is sent; ``max_inflight`` is None in an open loop."""

    mode: Mode
    timeout_s: float
    max_inflight: int | None


@dataclass(slots=True)
class DispatchStatistics:
    """Counters since the start, and the latenesses since they were last drained, in microseconds."""

    num_sent: int = 0
    num_done: int = 0
    num_failed: int = 0
    num_censored: int = 0
    max_inflight: int = 0


class RequestTimeoutError(Exception):
    """Thrown into a request that has waited for its timeout."""


class _Flight:
    """One outstanding request."""

    __slots__ = ("greenlet", "intended_ns", "sent_ns")

    def __init__(self, intended_ns: int) -> None:
        self.intended_ns = intended_ns
        self.sent_ns: int | None = None
        self.greenlet: gevent.Greenlet | None = None


class Dispatcher:
    """Sends one shard once; ``record`` is called with each ended request and its name."""

    def __init__(
        self, shard: Shard, limits: Limits, connections: Connections, record: Callable[[Record, str], None]
    ) -> None:
        self._shard = shard
        self._limits = limits
        self._connections = connections
        self._record = record
        self._flights: dict[int, _Flight] = {}
        self._places = None if limits.max_inflight is None else BoundedSemaphore(limits.max_inflight)
        self._landed = Event()
        self._start_ns = 0
        self._counts = DispatchStatistics()
        self._latenesses_us: list[int] = []

    def run(self, start_ns: int, all_sent: Callable[[], None] = lambda: None) -> None:
        """Send the shard from the monotonic instant ``start_ns`` on; return when every request has ended.

        ``all_sent`` is called in an open loop when nothing is left but to wait. When killed, the outstanding
        requests are recorded as interrupted.
        """
        self._start_ns = start_ns
        reaper = gevent.spawn(self._reap)
        try:
            with Alarm() as alarm:
                alarm.wait_until(start_ns)
                for k in range(len(self._shard.indices)):
                    intended_ns = self._turn(k, alarm)
                    flight = self._flights[k] = _Flight(intended_ns)
                    flight.greenlet = gevent.spawn(self._fly, k, flight)
            if self._places is None:
                all_sent()
            while self._flights:
                self._landed.clear()
                self._landed.wait()
        finally:
            reaper.kill(block=False)
            self._interrupt()

    def statistics(self) -> DispatchStatistics:
        """Return the counters of now."""
        return DispatchStatistics(
            num_sent=self._counts.num_sent,
            num_done=self._counts.num_done,
            num_failed=self._counts.num_failed,
            num_censored=self._counts.num_censored,
            max_inflight=self._counts.max_inflight,
        )

    def drain_latenesses_us(self) -> list[int]:
        """Return and forget the latenesses of what was sent since the last call, in microseconds."""
        drained, self._latenesses_us = self._latenesses_us, []
        return drained

    def _turn(self, k: int, alarm: Alarm) -> int:
        """Wait until request k may go out, and return its intended instant."""
        if self._places is None:
            intended_ns = self._start_ns + self._shard.times_us[k] * _NS_PER_US
            if not alarm.wait_until(intended_ns):
                gevent.sleep(0)  # late: let earlier requests get on, or catching up would starve them
            return intended_ns
        self._places.acquire()
        return self._start_ns if self._limits.mode is Mode.OFFLINE else time.monotonic_ns()

    def _fly(self, k: int, flight: _Flight) -> None:
        self._land(k, self._attempt(k, flight))

    def _attempt(self, k: int, flight: _Flight) -> Record:
        try:
            reply = self._send(self._shard.requests[k], flight)
        except RequestTimeoutError:
            done_ns = (flight.sent_ns or 0) + round(self._limits.timeout_s * _NS_PER_S)
            return self._failed(k, flight, done_ns, "timeout", censored=True)
        except (OSError, HTTPParseError) as broken:
            return self._failed(k, flight, time.monotonic_ns(), describe(broken))
        return self._answered(k, flight, time.monotonic_ns(), reply)

    def _send(self, request: bytes, flight: _Flight) -> Reply:
        """Exchange over an idle connection, else over a new one; never twice, whatever happens."""
        self._counts.num_sent += 1
        self._counts.max_inflight = max(self._counts.max_inflight, len(self._flights))
        sock = self._connections.take()
        flight.sent_ns = time.monotonic_ns()
        self._latenesses_us.append((flight.sent_ns - flight.intended_ns) // _NS_PER_US)
        return self._exchange(sock or self._connections.open(), request)

    def _exchange(self, sock: socket.socket, request: bytes) -> Reply:
        try:
            reply = exchange(sock, request)
        except BaseException:
            sock.close()
            raise
        if reply.should_close():
            sock.close()
        else:
            self._connections.give(sock)
        return reply

    def _answered(self, k: int, flight: _Flight, done_ns: int, reply: Reply) -> Record:
        return Record(
            i=self._shard.indices[k],
            intended_us=self._us(flight.intended_ns),
            sent_us=None if flight.sent_ns is None else self._us(flight.sent_ns),
            done_us=self._us(done_ns),
            status=reply.status,
            censored=False,
            error="" if reply.status == _OK else f"http {reply.status}",
            timing=reply.timing,
            body=reply.body,
        )

    def _failed(self, k: int, flight: _Flight, done_ns: int, error: str, *, censored: bool = False) -> Record:
        return Record(
            i=self._shard.indices[k],
            intended_us=self._us(flight.intended_ns),
            sent_us=None if flight.sent_ns is None else self._us(flight.sent_ns),
            done_us=self._us(done_ns),
            status=None,
            censored=censored,
            error=error,
            timing="",
            body=b"",
        )

    def _us(self, instant_ns: int) -> int:
        return (instant_ns - self._start_ns) // _NS_PER_US

    def _land(self, k: int, record: Record) -> None:
        """Record the end of request k, unless it has ended already."""
        if self._flights.pop(k, None) is None:
            return
        self._counts.num_done += 1
        self._counts.num_failed += bool(record.error)
        self._counts.num_censored += record.censored
        self._record(record, self._shard.names[k])
        if self._places is not None:
            self._places.release()
        if not self._flights:
            self._landed.set()

    def _reap(self) -> None:
        """Throw a timeout into what has waited for it; flights are in the order in which they were sent."""
        timeout_ns = round(self._limits.timeout_s * _NS_PER_S)
        while True:
            gevent.sleep(_REAP_INTERVAL_S)
            now_ns = time.monotonic_ns()
            for flight in self._flights.values():  # kill() below waits for the hub, so none leaves meanwhile
                if flight.sent_ns is None or now_ns - flight.sent_ns < timeout_ns:
                    break
                if flight.greenlet is not None:
                    flight.greenlet.kill(RequestTimeoutError, block=False)

    def _interrupt(self) -> None:
        """End what is outstanding; does not yield, so that it can run while this greenlet is being killed."""
        for k, flight in list(self._flights.items()):
            error = "not sent" if flight.sent_ns is None else "interrupted"
            self._land(k, self._failed(k, flight, time.monotonic_ns(), error, censored=True))
            if flight.greenlet is not None:
                flight.greenlet.kill(block=False)
