"""What stands between Locust's events and a run: one object in the master, or in a local run.

Locust starts a test (headless, or a click in its web UI); the director prepares it, lets a
coordinator conduct it, has the samples collected in another process, and tells the shape when
it is over. A second click runs it again, into a folder of its own (``OUT-2``).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from locust.runners import MasterRunner

from loadtest.driver import messages
from loadtest.driver.assignment import Assignment
from loadtest.driver.coordinator import Coordinator
from loadtest.driver.errors import DriverError, UsageError
from loadtest.driver.exporter import LiveMetrics, RunLabels, exporting
from loadtest.driver.fleet import Fleet
from loadtest.driver.outcome import Status
from loadtest.driver.plan import FILE_NAME, read_plan
from loadtest.driver.prepare import Request, prepare
from loadtest.driver.run_record import Setup, write_setup
from loadtest.trace.arm import ArmError, load_arm
from loadtest.trace.items import TraceError

if TYPE_CHECKING:
    from pathlib import Path

    from locust.env import Environment
    from locust.rpc.protocol import Message

    from loadtest.driver.plan import Plan
    from loadtest.driver.progress import Progress
    from loadtest.driver.trace_source import TraceSource

EXIT_USAGE = 2
EXIT_INVALID = 5
_LOG_INTERVAL_S = 5.0
_TICK_S = 1.0
_QUIT_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line said. ``prepared``: folder of a run that was prepared by who started Locust."""

    arm: Path | None
    out: Path | None
    prepared: Path | None
    progress_fd: int | None
    replicate: int
    timeout_s: float
    max_inflight: int
    ready_timeout_s: float
    num_warm: int
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None


class Director:
    """Listens to Locust's events; ``tick`` is the shape's."""

    def __init__(self, environment: Environment, trace: TraceSource, options: Options) -> None:
        self._environment = environment
        self._trace = trace
        self._options = options
        self._coordinator: Coordinator | None = None
        self._greenlet: gevent.Greenlet | None = None
        self._over = Event()
        self._running = False
        self._num_runs = 0
        self._num_workers = 0
        self._logged_at_s = 0.0
        self._live = LiveMetrics()
        self._exports = ExitStack()

    def listen(self) -> None:
        """Register for events and messages, and serve metrics if that is asked for.

        Raises:
            UsageError: the metrics' address cannot be had.
        """
        runner = self._environment.runner
        events: Any = self._environment.events
        assert runner is not None, "Locust makes the runner before it fires init. This is a bug."
        for kind in messages.TO_COORDINATOR:
            runner.register_message(kind, self._receive)
        events.test_start.add_listener(self._on_test_start)
        events.spawning_complete.add_listener(self._on_spawning_complete)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.quit.add_listener(self._on_quit)
        options = self._options
        if options.metrics_port is not None:
            served = exporting(self._live, host=options.metrics_host, port=options.metrics_port)
            logger.info("Metrics are at %s", self._exports.enter_context(served))
        # Locust heeds SIGTERM only once a headless shape has ended; until then it would just die.
        gevent.signal_handler(signal.SIGTERM, runner.quit)

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there are, one a worker, and how fast they come; None when it is over."""
        if not self._running:
            runner = self._environment.runner
            self._num_workers = len(runner.clients.ready) if isinstance(runner, MasterRunner) else 1
            self._over.clear()
            self._running = True
        elif self._over.wait(_TICK_S):
            self._running = False
            return None
        return self._num_workers, max(1, self._num_workers)

    def _receive(self, msg: Message, **_: Any) -> None:
        if self._coordinator is not None:
            self._coordinator.receive(msg)

    def _on_test_start(self, **_: Any) -> None:
        if self._greenlet is not None:
            self._greenlet.join()  # the last run's samples are still being collected
        self._num_runs += 1
        self._logged_at_s = 0.0
        try:
            plan = self._plan()
            times_us = [arrival.t_us for arrival in self._trace.load().arrivals]
        except (DriverError, ArmError, TraceError) as error:
            logger.error("%s", error)  # noqa: TRY400 - a sentence for the user, without a traceback
            self._environment.process_exit_code = EXIT_USAGE
            self._over.set()
            return
        assignment = Assignment(
            plan=plan,
            times_us=times_us,
            out=self._options.prepared or self._out(),
            num_workers=self._num_workers,
            num_warm=self._options.num_warm,
        )
        self._live.begin(self._labels(plan))
        self._coordinator = Coordinator(Fleet(self._environment), assignment, self._num_runs, self._show)

    def _on_spawning_complete(self, **_: Any) -> None:
        if self._coordinator is not None and self._greenlet is None:
            self._greenlet = gevent.spawn(self._conduct, self._coordinator)

    def _on_test_stopping(self, **_: Any) -> None:
        self._running = False  # Locust has ended the shape, or is about to; its next tick is a new run
        if self._coordinator is not None:
            self._coordinator.stop()

    def _on_quit(self, **_: Any) -> None:
        """Keep what was measured when the process is told to end; Locust's greenlets are gone by now."""
        coordinator, greenlet = self._coordinator, self._greenlet
        if coordinator is None or greenlet is None:
            return
        coordinator.stop()
        if not coordinator.ended.wait(_QUIT_TIMEOUT_S):
            greenlet.kill()
            coordinator.give_up()
            self._collect()
        else:
            greenlet.join()

    def _conduct(self, coordinator: Coordinator) -> None:
        try:
            coordinator.conduct()
            if coordinator.outcome is not None and coordinator.outcome.message:
                logger.error("%s", coordinator.outcome.message)
            if coordinator.outcome is None or coordinator.outcome.status is not Status.COMPLETE:
                self._environment.process_exit_code = EXIT_INVALID
            self._live.end(time.time())
            self._collect()
        finally:
            self._coordinator = self._greenlet = None
            self._over.set()

    def _out(self) -> Path | None:
        """Return this run's folder; None where no samples are wanted."""
        first = self._options.out
        return (
            first
            if first is None or self._num_runs <= 1
            else first.with_name(f"{first.name}-{self._num_runs}")
        )

    def _plan(self) -> Plan:
        """Return the plan that was prepared outside, or prepare one now."""
        options, out = self._options, self._out()
        if options.prepared is not None:
            return read_plan(options.prepared / FILE_NAME)
        target = self._environment.host
        if not target or options.arm is None:
            raise UsageError("Say what to measure: --host http://HOST:PORT --arm FILE [--out DIR].")
        request = Request(
            target=target,
            replicate=options.replicate,
            timeout_s=options.timeout_s,
            max_inflight=options.max_inflight,
            ready_timeout_s=options.ready_timeout_s,
            index=None if out is None else out / "index",
        )
        arm = load_arm(options.arm)
        prepared = prepare(self._trace, arm, request, self)
        for sentence in prepared.match.deviations:
            logger.warning("%s", sentence)
        if out is not None:
            setup = Setup(
                trace=self._trace.folder,
                header=self._trace.load().header,
                index=out / "index",
                arm=arm,
                prepared=prepared,
                objectives=(),
                command=tuple(sys.argv),
            )
            write_setup(out, setup)
        return prepared.plan

    def _labels(self, plan: Plan) -> RunLabels:
        """Return what this run is called; one that keeps nothing has a number only."""
        out = self._options.prepared or self._out()
        return RunLabels(
            run=f"run-{self._num_runs}" if out is None else out.name,
            arm=plan.arm,
            trace=self._trace.load().header.name,
            target=plan.target,
        )

    def waiting(self, said: str, left_s: float) -> None:
        """Log why the target is waited for."""
        logger.info("Waiting for %s (%s), %.0f s left", self._environment.host, said, left_s)

    def indexing(self, task: str, done: int, total: int) -> None:
        """Log how far the index phase is."""
        logger.info("Embedded %d of %d candidates of %s", done, total, task)

    def _show(self, progress: Progress) -> None:
        """Hand a reading to whoever started Locust, else log it now and then."""
        self._live.show(progress)
        fd = self._options.progress_fd
        if fd is None:
            if progress.elapsed_s - self._logged_at_s >= _LOG_INTERVAL_S:
                self._logged_at_s = progress.elapsed_s
                logger.info("%s", progress.sentence())
            return
        try:
            os.write(fd, progress.to_line().encode())
        except BrokenPipeError:  # nobody is there who could use the result
            if self._coordinator is not None and self._environment.runner is not None:
                gevent.spawn(self._environment.runner.quit)

    def _collect(self) -> None:
        """Make samples of what was received in a process without a hub, unless Locust's starter does."""
        out = self._out()
        if self._options.prepared is not None or out is None:
            return
        command = [sys.executable, "-m", "loadtest.driver", "collect", str(out)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            logger.error("%s", done.stderr.strip() or f"{json.dumps(command)} failed")
            self._environment.process_exit_code = EXIT_INVALID
        else:
            logger.info("%s", done.stdout.strip())
