"""`xlmr-load report`: make the report of a run or a study again, from its files alone."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations when the command is called
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.cli.exits import ExitCode, stop
from loadtest.report.html import write_report
from loadtest.report.junit import junit_of
from loadtest.report.markdown import markdown_of
from loadtest.report.run_files import ReportError
from loadtest.report.study_files import STUDY_FILE, is_study, read_record
from loadtest.report.summary import read_summary
from loadtest.report.terminal import print_report

if TYPE_CHECKING:
    from loadtest.report.records import Summary
    from loadtest.report.study_record import StudyRecord


def report(  # noqa: PLR0913 - each argument is an option of the command line
    folder: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a run or of a study.")],
    *,
    reference: Annotated[
        Path | None,
        typer.Option(help="Run of the same arm against the unloaded server, for the mismatch of answers."),
    ] = None,
    slo: Annotated[
        list[str] | None, typer.Option(help='Objectives instead of those of the run, such as "p95<200ms".')
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a Markdown summary too, for a CI job's page.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write checks and objectives as JUnit XML too.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="End with 5 where the run is invalid, 3 where it missed.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --check: end with 6 where an objective could not be told.")
    ] = False,
) -> None:
    """Write summary.json and report.html again, and print the table of arms and tasks."""
    try:
        page = make_report(folder, reference, slo)
        summary = read_summary(folder)
        study = read_record(folder / STUDY_FILE) if is_study(folder) else None
    except ReportError as error:
        stop(ExitCode.USAGE, str(error))
    write_extras(summary, study, markdown, junit)
    print_report(Console(), summary, study)
    typer.echo(f"report: {page}")
    if check:
        judge(summary, strict=strict)


def make_report(folder: Path, reference: Path | None = None, slo: list[str] | None = None) -> Path:
    """Write summary and page with a bar for each stage on standard error; return the page's path.

    Raises:
        ReportError: a file is missing or damaged, or an objective cannot be read.
    """
    columns = (TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        shown = {}

        def told(stage: str, done: int, total: int) -> None:
            if stage not in shown:
                shown[stage] = bars.add_task(stage)
            bars.update(shown[stage], completed=done, total=total)

        return write_report(folder, reference, objectives=slo or None, told=told)


def write_extras(
    summary: Summary, study: StudyRecord | None, markdown: Path | None, junit: Path | None
) -> None:
    """Write what CI systems show, where it is asked for; ends the command where a file cannot be written."""
    title = study.name if study else ", ".join(summary.by_arm)
    try:
        if markdown is not None:
            markdown.write_text(markdown_of(summary, title, study), encoding="utf-8")
        if junit is not None:
            junit.write_text(junit_of(summary, title, study), encoding="utf-8")
    except OSError as error:
        stop(ExitCode.USAGE, f"{error.filename} cannot be written ({error.strerror}).")


def judge(summary: Summary, *, strict: bool) -> None:
    """End with the code that says how a run went; an invalid one proves nothing about objectives."""
    if not summary.valid:
        raise typer.Exit(ExitCode.INVALID)
    if any(one.met is False for one in summary.objectives):
        raise typer.Exit(ExitCode.OBJECTIVE_MISSED)
    if strict and any(one.met is None for one in summary.objectives):
        raise typer.Exit(ExitCode.INCONCLUSIVE)
