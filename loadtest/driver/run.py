"""One run from the outside: prepare, let Locust send, make samples. Never imports Locust itself."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from loadtest.driver.begin import Wanted, begin_run, check_limits
from loadtest.driver.collect import PARTS_FOLDER
from loadtest.driver.errors import EngineError, UsageError
from loadtest.driver.exporter import LAST_SCRAPE_S, LiveMetrics, RunLabels, exporting
from loadtest.driver.finish import RunResult, finish
from loadtest.driver.launch import Launch, last_words, launch
from loadtest.driver.outcome import FILE_NAME as OUTCOME_FILE
from loadtest.driver.outcome import Fate, Outcome, Status, WorkerOutcome, write_outcome
from loadtest.driver.prepare import Watcher
from loadtest.driver.run_record import check_fresh
from loadtest.driver.trace_source import TraceSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.driver.progress import Progress

MAX_PROCESSES = 64
MAX_PORT = 65_535


class Show(Watcher, Protocol):
    """Is told how a run gets on, from the first look at the target to the last row of samples."""

    def prepared(self, deviations: tuple[str, ...]) -> None:
        """Everything fits; what is sent otherwise than the benchmark does."""
        ...

    def measuring(self, progress: Progress) -> None:
        """A reading while requests are sent."""
        ...

    def collecting(self, done: int, total: int) -> None:
        """Some rows of the samples are made."""
        ...

    def exporting(self, url: str) -> None:
        """The run's own metrics can be read here."""
        ...

    def waiting_for_scrape(self, timeout_s: float) -> None:
        """All is done; whoever reads the metrics gets this long to read the last ones."""
        ...


class Silence:
    """Shows nothing."""

    def waiting(self, said: str, left_s: float) -> None:
        """Show nothing."""

    def indexing(self, task: str, done: int, total: int) -> None:
        """Show nothing."""

    def prepared(self, deviations: tuple[str, ...]) -> None:
        """Show nothing."""

    def measuring(self, progress: Progress) -> None:
        """Show nothing."""

    def collecting(self, done: int, total: int) -> None:
        """Show nothing."""

    def exporting(self, url: str) -> None:
        """Show nothing."""

    def waiting_for_scrape(self, timeout_s: float) -> None:
        """Show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What to run. ``objectives`` and ``command`` are kept in the record for the report.

    ``index``: folder of candidates' vectors, which runs of one arm may share; None is ``out/index``.
    ``server_cpus``: the cores that the server is kept to, where its caller knows them.
    ``metrics_port``: where the run's own metrics are served meanwhile, 0 for any free port; None for nowhere.
    """

    trace: Path
    target: str
    arm: Path
    out: Path
    processes: int = 1
    replicate: int = 0
    timeout_s: float = 60.0
    max_inflight: int = 256
    ready_timeout_s: float = 60.0
    num_warm: int = 16
    index: Path | None = None
    keep_raw: bool = False
    objectives: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    server_cpus: str | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None


def run(options: RunOptions, show: Show | None = None) -> RunResult:
    """Replay a trace against a target, and return the folder with ``samples.parquet`` and ``run.json``.

    Once requests were sent this returns, whatever became of them; ``RunResult.status`` says how it ended.

    Raises:
        ArmError, TraceError, UsageError, TargetError: nothing was measured; the sentence says why.
        EngineError: Locust did not start.
    """
    _check(options)
    check_fresh(options.out)
    with _metrics(options, show or Silence()) as live:
        return _run(options, show or Silence(), live)


@contextlib.contextmanager
def _metrics(options: RunOptions, show: Show) -> Iterator[LiveMetrics]:
    """Give the run's own metrics, served where a port is given; at the end, wait for a last scrape."""
    live = LiveMetrics()
    if options.metrics_port is None:
        yield live
        return
    with exporting(live, host=options.metrics_host, port=options.metrics_port) as url:
        show.exporting(url)
        yield live
        if live.was_scraped():
            show.waiting_for_scrape(LAST_SCRAPE_S)
            with contextlib.suppress(KeyboardInterrupt):  # the run is complete; only its last scrape is not
                live.wait_for_scrape(LAST_SCRAPE_S)


def _run(options: RunOptions, watcher: Show, live: LiveMetrics) -> RunResult:
    wanted = Wanted(
        source=TraceSource(options.trace),
        arm=options.arm,
        target=options.target,
        out=options.out,
        index=options.index or options.out / "index",
        replicate=options.replicate,
        timeout_s=options.timeout_s,
        max_inflight=options.max_inflight,
        ready_timeout_s=options.ready_timeout_s,
        objectives=options.objectives,
        command=options.command,
        server_cpus=options.server_cpus,
    )
    setup = begin_run(wanted, watcher)
    watcher.prepared(setup.prepared.match.deviations)
    live.begin(
        RunLabels(
            run=options.out.resolve().name,
            arm=setup.arm.name,
            trace=setup.header.name,
            target=setup.prepared.plan.target,
        )
    )

    def measuring(progress: Progress) -> None:
        live.show(progress)
        watcher.measuring(progress)

    started = Launch(
        out=options.out, trace=options.trace.resolve(), processes=options.processes, num_warm=options.num_warm
    )
    by_itself = launch(started, measuring)
    live.end(time.time())
    _ensure_outcome(options.out, by_itself=by_itself)
    result = finish(options.out, watcher.collecting, keep_raw=options.keep_raw)
    return replace(result, stopped_by_user=not by_itself)


def _check(options: RunOptions) -> None:
    if not 1 <= options.processes <= MAX_PROCESSES:
        raise UsageError(f"--processes is {options.processes}; give 1 to {MAX_PROCESSES}.")
    check_limits("--timeout", options.timeout_s, options.ready_timeout_s, options.max_inflight)
    if options.metrics_port is not None and not 0 <= options.metrics_port <= MAX_PORT:
        raise UsageError(f"--metrics-port is {options.metrics_port}; give 0 (any free one) to {MAX_PORT}.")
    if options.replicate < 0 or options.num_warm < 0:
        raise UsageError("--replicate and --warm-connections must not be negative.")


def _ensure_outcome(out: Path, *, by_itself: bool) -> None:
    """Write an outcome where Locust could not, so that what workers had written still becomes samples."""
    if (out / OUTCOME_FILE).is_file():
        return
    workers = _salvaged(out)
    if by_itself and not workers:
        raise EngineError(f"Locust ended before it sent anything:\n{last_words(out)}")
    message = "The load generator was killed." if by_itself else "The run was stopped before its end."
    outcome = Outcome(
        status=Status.INTERRUPTED, message=message, start_wall_ns=0, end_us=0, locust="", workers=workers
    )
    write_outcome(out / OUTCOME_FILE, outcome)


def _salvaged(out: Path) -> tuple[WorkerOutcome, ...]:
    """Return the workers that left a spool, although nobody said how they ended."""
    return tuple(
        WorkerOutcome(
            shard=shard,
            client=path.stem,
            fate=Fate.LOST,
            spool=str(path.relative_to(out)),
            clock={},
            identity={},
            report={},
        )
        for shard, path in enumerate(sorted((out / PARTS_FOLDER).glob("*.spool")))
    )
