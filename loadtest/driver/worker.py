"""One worker of a run: prepares its shard when told, sends it at the shared start, reports.

The same object serves a Locust worker and a local run, where messages come back at once.
Nothing is parsed, scored or collected by the garbage collector while it sends.
"""

from __future__ import annotations

import contextlib
import gc
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import gevent
from gevent.queue import Queue

from loadtest.driver import gauges, messages
from loadtest.driver.errors import DriverError
from loadtest.driver.identity import identity
from loadtest.driver.job import Job, prepare_job
from loadtest.trace.items import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from locust.env import Environment
    from locust.rpc.protocol import Message

    from loadtest.driver.trace_source import TraceSource

REPORT_INTERVAL_S = 0.25
_LEAD_S = 0.05  # readings are taken this long before the start, so that they delay no request
_NS_PER_S = 1_000_000_000


class Worker:
    """Answers the coordinator's messages; ``take_part`` runs in the dispatcher user's greenlet."""

    def __init__(self, environment: Environment, trace: TraceSource) -> None:
        self._environment = environment
        self._trace = trace
        self._jobs: Queue = Queue()
        self._job: Job | None = None

    def listen(self) -> None:
        """Register for messages; what takes long gets a greenlet of its own."""
        runner = self._environment.runner
        assert runner is not None, "Locust makes the runner before it fires init. This is a bug."
        runner.register_message(messages.HELLO, self._on_hello, concurrent=True)
        runner.register_message(messages.PING, self._on_ping)
        runner.register_message(messages.GO, self._on_go)

    def take_part(self) -> None:
        """Send one shard once its start is known; further users of this process wait in vain."""
        job: Job = self._jobs.get()
        first = last = gauges.read()
        busy: gauges.Strain | None = None
        problem = ""

        def all_sent() -> None:
            nonlocal busy
            busy = gauges.between(first, gauges.read())
            job.heartbeat.mark()

        try:
            start_ns: int = job.start.get()
            reporter = gevent.spawn(self._report_often, job)
            try:
                with _no_collection():
                    gevent.sleep(max(0.0, (start_ns - time.monotonic_ns()) / _NS_PER_S - _LEAD_S))
                    first = gauges.read()
                    job.heartbeat.start()
                    try:
                        job.dispatcher.run(start_ns, all_sent)
                    finally:
                        last = gauges.read()
            finally:
                reporter.kill(block=False)
        except gevent.GreenletExit:
            problem = "interrupted"
            raise
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise
        finally:  # also while this greenlet is being killed
            self._job = None
            whole = gauges.between(first, last)
            strain = whole if busy is None else gauges.worst(busy, whole)
            end = job.end()
            problem = problem or job.spool.problem
            self._send(messages.DONE, {"run": job.run, "problem": problem, **asdict(strain), **end})

    def _on_hello(self, msg: Message, **_: Any) -> None:
        run: int = msg.data["run"]
        fire = self._environment.events.request.fire
        try:
            self._job = prepare_job(
                msg.data,
                self._trace,
                fire,
                lambda data: self._send(messages.PIECE, {"run": run, "data": data}),
            )
        except (DriverError, TraceError, OSError) as error:
            self._send(messages.REFUSED, {"run": run, "reason": str(error)})
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

    def _report_often(self, job: Job) -> None:
        while True:
            gevent.sleep(REPORT_INTERVAL_S)
            job.spool.flush()
            self._send(messages.PROGRESS, {"run": job.run, **job.progress()})

    def _send(self, kind: str, data: Mapping[str, Any]) -> None:
        runner = self._environment.runner
        assert runner is not None, "A worker that listens has a runner. This is a bug."
        runner.send_message(kind, dict(data))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Collect now, and not again inside: a pause of the collector would be measured as lateness."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
