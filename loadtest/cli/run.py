"""`xlmr-load run`: replay a trace against a target and write samples, record and summary."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from collections import Counter
from pathlib import Path  # noqa: TC003 - typer reads annotations when the command is called
from typing import TYPE_CHECKING, Annotated

import typer

from loadtest.analysis.foreseen import Planned, foresee
from loadtest.analysis.objectives import ObjectiveError, parse_objectives
from loadtest.cli.exits import ExitCode, note, stop
from loadtest.cli.report import judge, make_report, write_extras
from loadtest.cli.run_screen import RunScreen
from loadtest.driver.errors import EngineError, TargetError, UsageError
from loadtest.driver.run import RunOptions
from loadtest.driver.run import run as replay
from loadtest.report.run_files import ReportError
from loadtest.report.summary import read_summary
from loadtest.trace.arm import ArmError, load_arm
from loadtest.trace.items import TraceError
from loadtest.trace.schedule import load_trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.driver.finish import RunResult
    from loadtest.report.records import Summary
    from loadtest.trace.arm import Arm

INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def run(  # noqa: PLR0913 - each argument is an option of the command line
    *,
    trace: Annotated[Path, typer.Option(help="Folder of a trace (see 'xlmr-load trace').")],
    target: Annotated[
        str,
        typer.Option(
            help="URL of the service: http://127.0.0.1:8000. For https SSL_CERT_FILE may name certificates."
        ),
    ],
    arm: Annotated[Path, typer.Option(help="arm.toml: which variant answers each task.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must hold no run yet.")],
    processes: Annotated[int, typer.Option(help="Processes that send; each needs a core of its own.")] = 1,
    slo: Annotated[
        list[str] | None, typer.Option(help='Objective, such as "p95<200ms"; may be given several times.')
    ] = None,
    replicate: Annotated[int, typer.Option(help="Number of this run, kept with its samples.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds after which a request is given up.")] = 60.0,
    max_inflight: Annotated[int, typer.Option(help="Outstanding requests of an offline trace.")] = 256,
    ready_timeout: Annotated[float, typer.Option(help="Seconds to wait for the target to be ready.")] = 60.0,
    warm_connections: Annotated[int, typer.Option(help="Connections a process opens before the start.")] = 16,
    index: Annotated[
        Path | None, typer.Option(help="Folder for candidates' vectors, shared by runs of one arm.")
    ] = None,
    keep_raw: Annotated[
        bool, typer.Option("--keep-raw", help="Keep answers as they came, in parts/.")
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of the run's own metrics for Prometheus; 0 for any free one.")
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address at which they are served.")] = "127.0.0.1",
    markdown: Annotated[
        Path | None, typer.Option(help="Write a Markdown summary too, for a CI job's page.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write checks and objectives as JUnit XML too.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 6 where an objective could not be told.")
    ] = False,
) -> None:
    """Replay a trace against a target: an open loop, with latency counted from the intended instants."""
    options = RunOptions(
        trace=trace,
        target=target,
        arm=arm,
        out=out,
        processes=processes,
        replicate=replicate,
        timeout_s=timeout,
        max_inflight=max_inflight,
        ready_timeout_s=ready_timeout,
        num_warm=warm_connections,
        index=index,
        keep_raw=keep_raw,
        objectives=tuple(slo or ()),
        command=tuple(sys.argv),
        metrics_host=metrics_host,
        metrics_port=metrics_port,
    )
    result = _replay(options)
    summary = _summarise(out)
    _tell(result, summary)
    write_extras(summary, None, markdown, junit)
    if result.stopped_by_user:
        raise typer.Exit(INTERRUPTED)
    judge(summary, strict=strict)


def _replay(options: RunOptions) -> RunResult:
    try:
        for said in _foreseen(options):
            note(f"note: {said}")
        with _heeding_sigterm(), RunScreen() as screen:
            return replay(options, screen)
    except KeyboardInterrupt:
        note(f"Stopped; there is no complete run in {options.out}.")
        raise typer.Exit(INTERRUPTED) from None
    except (ArmError, TraceError, UsageError, TargetError, ObjectiveError) as error:
        stop(ExitCode.USAGE, str(error))
    except EngineError as error:
        stop(ExitCode.INVALID, str(error))


def _foreseen(options: RunOptions) -> tuple[str, ...]:
    """Hold the objectives against the trace and the arm before anything is sent.

    Raises:
        ObjectiveError: one cannot be read, or never be told of these requests.
        TraceError, ArmError: a file is missing or damaged.
    """
    declared = tuple(one for text in options.objectives for one in parse_objectives(text))
    if not declared:
        return ()
    trace, arm = load_trace(options.trace), load_arm(options.arm)
    kinds = Counter((trace.items[one.item].task, trace.items[one.item].language) for one in trace.arrivals)
    planned = [_planned(arm, task, language, n) for (task, language), n in kinds.items()]
    return foresee(declared, planned)


def _planned(arm: Arm, task: str, language: str, n: int) -> Planned:
    labels = {"task": task, "language": language, "arm": arm.name, "variant": arm.variants.get(task, "")}
    return Planned(labels=tuple(labels.items()), n=n)


@contextlib.contextmanager
def _heeding_sigterm() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C: whoever ends a run keeps what was measured."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _summarise(out: Path) -> Summary:
    """Write the report with its summary, and return the summary."""
    try:
        page = make_report(out)
        summary = read_summary(out)
    except ReportError as error:
        stop(ExitCode.INTERNAL, f"The run is in {shlex.quote(str(out))}, but has no summary: {error}")
    note(f"report: {page}")
    return summary


def _tell(result: RunResult, summary: Summary) -> None:
    if result.message:
        note(result.message)
    note(f"{result.num_recorded:,} of {result.num_scheduled:,} arrivals recorded in {result.run_dir}")
    for reason in summary.reasons:
        note(f"invalid: {reason}")
    for verdict in summary.objectives:
        note(f"objective {verdict.sentence}")
