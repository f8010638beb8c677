"""A worker's part of one run: its shard encoded, its connections open, its spool at hand."""

from __future__ import annotations

import os
import resource
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import AsyncResult

from loadtest.driver.connection import Connections
from loadtest.driver.dispatcher import Dispatcher, Limits
from loadtest.driver.errors import TargetError, UsageError
from loadtest.driver.gauges import Heartbeat
from loadtest.driver.identity import identity
from loadtest.driver.plan import plan_from
from loadtest.driver.shard import make_shard
from loadtest.driver.spool import SpoolWriter
from loadtest.driver.tally import Tally
from loadtest.driver.wire import encode_greeting, parse_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadtest.driver.plan import Plan
    from loadtest.driver.spool import Record
    from loadtest.driver.trace_source import TraceSource

_CONNECT_TIMEOUT_S = 5.0
_US_PER_MS = 1_000
_P99 = 0.99


class RequestFailedError(Exception):
    """What Locust counts in its table of failures."""


@dataclass(slots=True, kw_only=True)
class Job:
    """One run of a worker. ``start`` gets the instant of the shared start, on this worker's clock."""

    run: int
    dispatcher: Dispatcher
    connections: Connections
    spool: SpoolWriter
    close_spool: Callable[[], None]
    start: AsyncResult = field(default_factory=AsyncResult)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    latency: Tally
    lateness: Tally = field(default_factory=Tally)
    lateness_p99_us: int | None = None

    def progress(self) -> dict[str, Any]:
        """Return counters and durations, and the p99 of lateness since the last time anything was sent."""
        latenesses_us = sorted(self.dispatcher.drain_latenesses_us())
        for lateness_us in latenesses_us:
            self.lateness.add(lateness_us)
        if latenesses_us:
            self.lateness_p99_us = latenesses_us[int(_P99 * len(latenesses_us))]
        return {
            **asdict(self.dispatcher.statistics()),
            "lateness_p99_us": self.lateness_p99_us,
            "latency": asdict(self.latency.distribution()),
            "lateness": asdict(self.lateness.distribution()),
        }

    def end(self) -> dict[str, Any]:
        """Write down what is pending, close everything, and return the last counters."""
        delays_us = self.heartbeat.stop()
        self.spool.flush()
        self.close_spool()
        self.connections.close()
        return {
            **self.progress(),
            "num_connections": self.connections.num_opened,
            "num_stale": self.connections.num_stale,
            "hub_delays_us": delays_us,
            "num_busy_beats": self.heartbeat.num_busy,
        }


def prepare_job(
    hello: Mapping[str, Any], source: TraceSource, fire: Any, send_piece: Callable[[bytes], None]
) -> Job:
    """Make ready what a HELLO asks for; ``fire`` is Locust's request event.

    Raises:
        UsageError: this worker's trace is another than the coordinator's.
        TraceError: its trace is damaged.
        TargetError: the target does not accept connections from here.
    """
    plan = plan_from(hello["plan"])
    if source.schedule_sha256 != plan.schedule_sha256:
        here = f"{source.folder} on {socket.gethostname()}"
        raise UsageError(f"The trace {here} is another than the coordinator's; copy it there.")
    target = parse_target(plan.target)
    # In a thread, since a long trace would stop the hub, and with it this worker's heartbeat.
    shard = gevent.get_hub().threadpool.apply(
        lambda: make_shard(source.load(), plan, target, hello["shard"], hello["num_shards"])
    )
    connections = Connections(target)
    _connect(connections, encode_greeting(target), hello["num_warm"], plan)
    write, close = _sink(hello, send_piece)
    spool = SpoolWriter(write)
    limits = Limits(mode=plan.mode, timeout_s=plan.timeout_s, max_inflight=hello["max_inflight"])
    latency = Tally()
    return Job(
        run=hello["run"],
        dispatcher=Dispatcher(shard, limits, connections, _recorder(fire, spool, plan, latency)),
        connections=connections,
        spool=spool,
        close_spool=close,
        latency=latency,
    )


def _connect(connections: Connections, greeting: bytes, num_warm: int, plan: Plan) -> None:
    """Resolve the target and open connections, as many as the system allows in the end."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with gevent.Timeout(_CONNECT_TIMEOUT_S):
            connections.resolve()
    except gevent.Timeout:
        here = socket.gethostname()
        raise TargetError(f"The target {plan.target} does not accept connections from {here}.") from None
    connections.warm(num_warm, greeting, _CONNECT_TIMEOUT_S)


def _sink(
    hello: Mapping[str, Any], send_piece: Callable[[bytes], None]
) -> tuple[Callable[[bytes], None], Callable[[], None]]:
    """Append to the coordinator's folder on its own host, where it is seen; else send pieces."""
    path = None if hello["spool"] is None else Path(hello["spool"])
    if path is None:
        return (lambda _: None), (lambda: None)
    if hello["boot_id"] == identity()["boot_id"] and path.is_file():
        file = path.open("ab", buffering=0)
        return (lambda data: _write_all(file.fileno(), data)), file.close
    return send_piece, (lambda: None)


def _recorder(fire: Any, spool: SpoolWriter, plan: Plan, latency: Tally) -> Callable[[Record, str], None]:
    """Return what is done with each ended request: keep it, and let Locust and the tally count it once.

    They get the corrected latency. A failure gets none, lest a quick refusal be taken for a quick
    answer; a timeout gets the time that it waited, since leaving it out would flatter the tail.
    """

    def record(ended: Record, name: str) -> None:
        spool.add(ended)
        counts = ended.censored or not ended.error
        latency_us = ended.done_us - ended.intended_us
        if counts:
            latency.add(latency_us)
        fire(
            request_type="predict",
            name=name,
            response_time=latency_us / _US_PER_MS if counts else None,
            response_length=len(ended.body),
            exception=RequestFailedError(ended.error) if ended.error else None,
            context={"arm": plan.arm, "i": ended.i},
            url=plan.target,
        )

    return record


def _write_all(fd: int, data: bytes) -> None:
    """Append all bytes or none: a piece cut by a full disk would be read as half a record."""
    size, view = os.fstat(fd).st_size, memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        os.ftruncate(fd, size)
        raise
