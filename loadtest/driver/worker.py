"""One worker of a run: prepares its shard when told, sends it at the shared start, reports.

The same object serves a Locust worker and a local run, where messages come back at once.
Nothing is parsed, scored or collected by the garbage collector while it sends.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import AsyncResult
from gevent.queue import Queue

from loadtest.driver import gauges, messages
from loadtest.driver.connection import Connections
from loadtest.driver.dispatcher import Dispatcher, Limits
from loadtest.driver.errors import DriverError, UsageError
from loadtest.driver.plan import plan_from
from loadtest.driver.shard import make_shard
from loadtest.driver.spool import SpoolWriter
from loadtest.driver.wire import encode_greeting, parse_target
from loadtest.trace.items import TraceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from locust.env import Environment
    from locust.rpc.protocol import Message

    from loadtest.driver.plan import Plan
    from loadtest.driver.spool import Record
    from loadtest.driver.trace_source import TraceSource

REPORT_INTERVAL_S = 0.25
_WARM_TIMEOUT_S = 5.0
_LEAD_S = 0.05  # readings are taken this long before the start, so that they delay no request
_US_PER_MS = 1_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RequestFailedError(Exception):
    """What Locust counts in its table of failures."""


@dataclass(slots=True, kw_only=True)
class _Job:
    """One run of this worker."""

    run: int
    plan: Plan
    dispatcher: Dispatcher
    connections: Connections
    spool: SpoolWriter
    close: Callable[[], None]
    start: AsyncResult
    heartbeat: gauges.Heartbeat
    lateness_p99_us: int | None = None


class Worker:
    """Answers the coordinator's messages; ``take_part`` runs in the dispatcher user's greenlet."""

    def __init__(self, environment: Environment, trace: TraceSource) -> None:
        self._environment = environment
        self._trace = trace
        self._jobs: Queue = Queue()
        self._job: _Job | None = None

    def listen(self) -> None:
        """Register for messages; those that take long get a greenlet of their own."""
        runner = self._environment.runner
        assert runner is not None, "Locust makes the runner before it fires init. This is a bug."
        runner.register_message(messages.HELLO, self._on_hello, concurrent=True)
        runner.register_message(messages.PING, self._on_ping)
        runner.register_message(messages.GO, self._on_go)

    def take_part(self) -> None:
        """Send one shard once its start is known; further users of this process wait in vain."""
        job: _Job = self._jobs.get()
        first = gauges.read()
        problem = ""
        try:
            start_ns: int = job.start.get()
            reporter = gevent.spawn(self._report_often, job)
            try:
                with _no_collection():
                    gevent.sleep(max(0.0, (start_ns - time.monotonic_ns()) / 1e9 - _LEAD_S))
                    first = gauges.read()
                    job.heartbeat.start()
                    job.dispatcher.run(start_ns)
            finally:
                reporter.kill(block=False)
        except gevent.GreenletExit:
            problem = "interrupted"
            raise
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._finish(job, first, problem)

    def _on_hello(self, msg: Message, **_: Any) -> None:
        run: int = msg.data["run"]
        try:
            self._job = self._prepare(msg.data)
        except (DriverError, TraceError, OSError) as error:
            self._send(messages.REFUSED, {"run": run, "reason": str(error)})
            return
        except gevent.Timeout:
            reason = f"The target {msg.data['plan']['target']} does not accept connections."
            self._send(messages.REFUSED, {"run": run, "reason": reason})
            return
        while not self._jobs.empty():  # a run that was stopped before anybody took part in it
            self._jobs.get_nowait()
        self._jobs.put(self._job)
        self._send(messages.READY, {"run": run, **identity()})

    def _on_ping(self, msg: Message, **_: Any) -> None:
        self._send(messages.PONG, {**msg.data, "remote_ns": time.monotonic_ns()})

    def _on_go(self, msg: Message, **_: Any) -> None:
        if self._job is not None and self._job.run == msg.data["run"]:
            self._job.start.set(msg.data["start_ns"])

    def _prepare(self, hello: Mapping[str, Any]) -> _Job:
        plan = plan_from(hello["plan"])
        if self._trace.schedule_sha256 != plan.schedule_sha256:
            here = f"{self._trace.folder} on {socket.gethostname()}"
            raise UsageError(f"The trace {here} is another than the coordinator's; copy it there.")
        _allow_sockets()
        target = parse_target(plan.target)
        shard = make_shard(self._trace.load(), plan, target, hello["shard"], hello["num_shards"])
        connections = Connections(target)
        with gevent.Timeout(_WARM_TIMEOUT_S):
            connections.resolve()
        connections.warm(hello["num_warm"], encode_greeting(target), _WARM_TIMEOUT_S)
        sink, close = self._sink(hello)
        spool = SpoolWriter(sink)
        limits = Limits(mode=plan.mode, timeout_s=plan.timeout_s, max_inflight=hello["max_inflight"])
        return _Job(
            run=hello["run"],
            plan=plan,
            dispatcher=Dispatcher(shard, limits, connections, self._recorder(spool, plan, target.url)),
            connections=connections,
            spool=spool,
            close=close,
            start=AsyncResult(),
            heartbeat=gauges.Heartbeat(),
        )

    def _sink(self, hello: Mapping[str, Any]) -> tuple[Callable[[bytes], None], Callable[[], None]]:
        """Append to the coordinator's folder on its own host, where it is seen; else send pieces."""
        path = None if hello["spool"] is None else Path(hello["spool"])
        if path is None:
            return (lambda _: None), (lambda: None)
        if hello["boot_id"] == identity()["boot_id"] and path.is_file():
            file = path.open("ab", buffering=0)
            return (lambda data: _write_all(file.fileno(), data)), file.close
        run = hello["run"]
        return (lambda data: self._send(messages.PIECE, {"run": run, "data": data})), (lambda: None)

    def _recorder(self, spool: SpoolWriter, plan: Plan, url: str) -> Callable[[Record, str], None]:
        """Return what is done with each ended request: keep it, and let Locust count it once.

        Locust gets the corrected latency. A failure gets none, lest a quick refusal be taken for a quick
        answer; a timeout gets the time that it waited, since leaving it out would flatter the tail.
        """
        fire: Any = self._environment.events.request.fire

        def record(ended: Record, name: str) -> None:
            spool.add(ended)
            latency_ms = (ended.done_us - ended.intended_us) / _US_PER_MS
            fire(
                request_type="predict",
                name=name,
                response_time=latency_ms if ended.censored or not ended.error else None,
                response_length=len(ended.body),
                exception=RequestFailedError(ended.error) if ended.error else None,
                context={"arm": plan.arm, "i": ended.i},
                url=url,
            )

        return record

    def _report_often(self, job: _Job) -> None:
        while True:
            gevent.sleep(REPORT_INTERVAL_S)
            job.spool.flush()
            self._send(messages.PROGRESS, {"run": job.run, **_progress(job)})

    def _finish(self, job: _Job, first: gauges.Reading, problem: str) -> None:
        """Keep what was recorded and report; also while this greenlet is being killed."""
        last = gauges.read()
        delays_us = job.heartbeat.stop()
        job.spool.flush()
        job.close()
        job.connections.close()
        self._job = None
        report = {
            **_progress(job),
            **asdict(gauges.between(first, last)),
            "run": job.run,
            "problem": problem,
            "num_connections": job.connections.num_opened,
            "num_stale": job.connections.num_stale,
            "hub_delays_us": delays_us,
        }
        self._send(messages.DONE, report)

    def _send(self, kind: str, data: Mapping[str, Any]) -> None:
        runner = self._environment.runner
        assert runner is not None, "A worker that listens has a runner. This is a bug."
        runner.send_message(kind, dict(data))


def identity() -> dict[str, Any]:
    """Say which process of which host this is; processes with one boot id share a monotonic clock."""
    try:
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        boot_id = f"{socket.gethostname()} {os.getpid()}"  # unknown: taken for a host of its own
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot_id": boot_id,
        "affinity": sorted(os.sched_getaffinity(0)),
    }


def _progress(job: _Job) -> dict[str, Any]:
    """Return the counters, and the p99 of lateness since the last time that anything was sent."""
    latenesses_us = sorted(job.dispatcher.drain_latenesses_us())
    if latenesses_us:
        job.lateness_p99_us = latenesses_us[int(0.99 * len(latenesses_us))]
    return {**asdict(job.dispatcher.statistics()), "lateness_p99_us": job.lateness_p99_us}


def _allow_sockets() -> None:
    """Raise this process's limit on open files as far as it may: an open loop bounds no connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@contextlib.contextmanager
def _no_collection() -> Any:
    """Collect now, and not again inside: a pause of the collector would be measured as lateness."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
