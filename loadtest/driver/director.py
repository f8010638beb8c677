"""What stands between Locust's events and a run: one object in the master, or in a local run.

Locust starts a test (headless, or a click in its web UI); the director prepares it, lets a
coordinator conduct it, has it judged by other processes, and tells the shape when it is over.
A second click runs it again, into a folder of its own (``OUT-2``). A run that keeps no samples
has them made all the same, for its verdict, in a folder that is removed afterwards.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from locust.runners import MasterRunner

from loadtest.driver import messages
from loadtest.driver.assignment import Assignment
from loadtest.driver.coordinator import Coordinator
from loadtest.driver.errors import DriverError
from loadtest.driver.exporter import LAST_SCRAPE_S, LiveMetrics, RunLabels, exporting
from loadtest.driver.fleet import Fleet
from loadtest.driver.options import folder_of, plan_of
from loadtest.driver.outcome import Status
from loadtest.driver.verdict import INVALID, conclude
from loadtest.trace.arm import ArmError
from loadtest.trace.items import TraceError

if TYPE_CHECKING:
    from pathlib import Path

    from locust.env import Environment
    from locust.rpc.protocol import Message

    from loadtest.driver.options import Options
    from loadtest.driver.plan import Plan
    from loadtest.driver.progress import Progress
    from loadtest.driver.trace_source import TraceSource

EXIT_USAGE = 2
_LOG_INTERVAL_S = 5.0
_TICK_S = 1.0
_QUIT_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


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
        self._out: Path | None = None
        self._words = ""
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
        events.quitting.add_listener(self._on_quitting)
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
            self._over = Event()  # the last run may still be judged, and end its own
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
            self._out = folder_of(self._options, self._num_runs)
            plan = plan_of(self._options, self._out, self._environment.host, self._trace, self)
            times_us = [arrival.t_us for arrival in self._trace.load().arrivals]
        except (DriverError, ArmError, TraceError) as error:
            logger.error("%s", error)  # noqa: TRY400 - a sentence for the user, without a traceback
            self._environment.process_exit_code = EXIT_USAGE
            self._discard()
            self._over.set()
            return
        assignment = Assignment(
            plan=plan,
            times_us=times_us,
            out=self._out,
            num_workers=self._num_workers,
            num_warm=self._options.num_warm,
        )
        self._live.begin(self._labels(plan))
        self._coordinator = Coordinator(Fleet(self._environment), assignment, self._num_runs, self._show)

    def _on_spawning_complete(self, **_: Any) -> None:
        if self._coordinator is not None and self._greenlet is None:
            self._greenlet = gevent.spawn(self._conduct, self._coordinator, self._over)

    def _on_test_stopping(self, **_: Any) -> None:
        self._running = False  # Locust has ended the shape, or is about to; its next tick is a new run
        if self._coordinator is not None:
            self._coordinator.stop()

    def _on_quitting(self, **_: Any) -> None:
        """Say how the process ends, which Locust decides now: a run that is still being made is not valid."""
        if self._coordinator is not None:
            self._environment.process_exit_code = INVALID

    def _on_quit(self, **_: Any) -> None:
        """Keep what was measured when the process is told to end; Locust's greenlets are gone by now."""
        coordinator, greenlet = self._coordinator, self._greenlet
        if coordinator is not None and greenlet is not None:
            coordinator.stop()
            if not coordinator.ended.wait(_QUIT_TIMEOUT_S):
                greenlet.kill()
                coordinator.give_up()
                self._judge()
            else:
                greenlet.join()
        self._tell()

    def _conduct(self, coordinator: Coordinator, over: Event) -> None:
        try:
            coordinator.conduct()
            if coordinator.outcome is not None and coordinator.outcome.message:
                logger.error("%s", coordinator.outcome.message)
            if coordinator.outcome is None or coordinator.outcome.status is not Status.COMPLETE:
                self._environment.process_exit_code = INVALID
            self._live.end(time.time())
            self._judge()
            self._await_scrape()
        finally:
            self._coordinator = self._greenlet = None
            over.set()

    def _labels(self, plan: Plan) -> RunLabels:
        """Return what this run is called; one that keeps nothing has a number only."""
        kept = self._options.prepared or self._options.out
        name = f"run-{self._num_runs}" if kept is None or self._out is None else self._out.name
        return RunLabels(
            run=name,
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

    def _judge(self) -> None:
        """Have samples made and judged, unless Locust's starter does; only headless runs end with a table."""
        if self._options.prepared is not None or self._out is None:
            return
        verdict = conclude(self._out, keep=self._options.out is not None)
        if verdict.log:
            logger.log(logging.INFO if verdict.words else logging.ERROR, "%s", verdict.log)
        if verdict.invalid:
            self._environment.process_exit_code = INVALID
        self._words = verdict.words
        if not self._options.headless:
            self._tell()
        self._discard()

    def _discard(self) -> None:
        """Remove the folder of a run that keeps no samples."""
        if self._out is not None and self._options.prepared is None and self._options.out is None:
            shutil.rmtree(self._out, ignore_errors=True)

    def _tell(self) -> None:
        """Print the last verdict, once: below Locust's own statistics where the process ends with the run."""
        words, self._words = self._words, ""
        sys.stdout.write(words)
        sys.stdout.flush()

    def _await_scrape(self) -> None:
        """Serve the metrics until they were read once more, if somebody reads them and the process ends."""
        if self._options.headless and self._options.metrics_port is not None and self._live.was_scraped():
            logger.info("Waiting for a last scrape of the metrics, at most %.0f s", LAST_SCRAPE_S)
            self._live.wait_for_scrape(LAST_SCRAPE_S)
