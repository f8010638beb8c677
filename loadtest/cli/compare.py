"""`xlmr-load compare`: a new run, or replicates, against a baseline."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations when the command is called
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtest.cli.compare_files import cells, junit_of, markdown_of
from loadtest.cli.exits import ExitCode, note, stop
from loadtest.study.against_baseline import Against, against, read_runs
from loadtest.study.study_file import MarginsTable, StudyError
from loadtest.trace.seeds import streams

if TYPE_CHECKING:
    from loadtest.study.against_baseline import Change


def compare(  # noqa: PLR0913 - each argument is an option of the command line
    baseline: Annotated[Path, typer.Argument(metavar="A_DIR", help="The old run, or a folder of runs.")],
    new: Annotated[Path, typer.Argument(metavar="B_DIR", help="The new run, or as many replicates.")],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Compare although trace or environment differ.")
    ] = False,
    fail_above: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            help="End with 4 where a measure alone is worse than this factor, e.g. 1.2; for one pair.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="End with 6 where it is inconclusive.")] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the table as Markdown for a CI job's page.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write one test a measure as JUnit XML.")] = None,
) -> None:
    """Compare B with A, pair by pair: ratios, intervals, and a verdict for each measure."""
    try:
        found = against(read_runs(baseline), read_runs(new), MarginsTable(), streams(seed).bootstrap)
    except StudyError as error:
        stop(ExitCode.USAGE, str(error))
    for text in found.arms:
        note(f"compared: {text}")
    for text in found.unlike:
        note(f"unlike: {text}")
    if found.unlike and not force:
        stop(
            ExitCode.USAGE, "These are not two measurements of one thing; --force compares them all the same."
        )
    for text in found.notes if found.num_pairs else ():
        note(f"note: {text}")
    if not found.num_pairs:
        stop(ExitCode.INVALID, "No pair has two valid runs; each run's summary.json says why.")
    Console().print(_table(found))
    beyond = () if fail_above is None else found.beyond(fail_above)
    bad = (*found.regressed, *beyond)
    worse = tuple(change for change in found.changes if change in bad)
    _write(markdown, markdown_of(found, worse))
    _write(junit, junit_of(found, worse))
    _end(found, worse, strict=strict)


def _table(found: Against) -> Table:
    table = Table(
        title=f"B over A, {found.num_pairs} pair{'s' if found.num_pairs > 1 else ''}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for name in ("measure", "ratio", "95 % interval", "margin", "verdict"):
        table.add_column(name, no_wrap=name != "measure")
    for change in found.changes:
        table.add_row(change.measure.value, *cells(change))
    return table


def _write(path: Path | None, text: str) -> None:
    if path is None:
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        stop(ExitCode.USAGE, f"{path} cannot be written ({error.strerror}).")


def _end(found: Against, worse: tuple[Change, ...], *, strict: bool) -> None:
    if worse:
        note(f"regression: {', '.join(change.measure.value for change in worse)}")
        raise typer.Exit(ExitCode.REGRESSION)
    if strict and found.open:
        raise typer.Exit(ExitCode.INCONCLUSIVE)
