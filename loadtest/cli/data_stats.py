"""`xlmr-load data stats`: tokens a request, by task and language."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads annotations when the command is called
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.cli.exits import ExitCode, note, stop
from loadtest.datasets.examples import DataError
from loadtest.datasets.library import BUNDLED, open_library
from loadtest.datasets.tasks import TASKS, Task
from loadtest.trace.items import Role, TraceError
from loadtest.trace.lengths import TokenCounter
from loadtest.trace.selection import ALL, parse_languages, parse_tasks, select
from loadtest.trace.token_survey import Row, Surveyor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.trace.selection import Selection


def stats(  # noqa: PLR0913 - each argument is an option of the command line
    *,
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer.json.")],
    data: Annotated[str, typer.Option(help="Folder of data sets, or 'bundled' for the sample.")] = BUNDLED,
    tasks: Annotated[str, typer.Option(help=f"'all' or some of {','.join(Task)}.")] = ALL,
    languages: Annotated[str, typer.Option(help="'all' or two-letter codes.")] = ALL,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Items a task and language, drawn by the seed; else all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which items a limit draws.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Count the tokens of each task's requests in each language, as XTREME-R forms and caps them."""
    try:
        counter = TokenCounter(tokenizer)
        library = open_library(data)
        selection = select(library, parse_tasks(tasks), parse_languages(languages))
        surveyor = Surveyor(library=library, counter=counter, limit=limit, seed=seed)
        rows = _survey(surveyor, selection)
    except (TraceError, DataError) as error:
        stop(ExitCode.USAGE, str(error))
    for sentence in selection.absent:
        note(sentence)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        Console().print(_table(rows))


def _survey(surveyor: Surveyor, selection: Selection) -> list[Row]:
    total = sum(len(codes) for codes in selection.cells.values())
    with Progress(console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("counting", total=total)

        def advance(task: Task, language: str) -> None:
            bar.update(shown, advance=1, description=f"{TASKS[task].title} {language}")

        return surveyor.rows(selection.cells, progress=advance)


def _table(rows: Sequence[Row]) -> Table:
    caption = (
        "Tokens with special tokens. A request: given to the encoder for an item, over choices and windows. "
        "At cap: a sequence, cut at the benchmark's cap. Over cap: items with a sequence past it. Premium: "
        "uncapped tokens over those of English, for texts that translate each other."
    )
    table = Table(caption=caption, caption_justify="left", show_edge=False, pad_edge=False)
    for name in ("task", "language"):
        table.add_column(name, no_wrap=True)
    for name in ("items", "a request: mean", "p50", "p90", "p99", "at cap: mean", "cap", "over cap"):
        table.add_column(name, justify="right")
    table.add_column("windows", justify="right")
    table.add_column("premium", justify="right")
    for row in rows:
        kept, request = row.statistics, row.statistics.request
        windows = "" if kept.windows_mean is None else f"{kept.windows_mean:.2f}"
        table.add_row(
            f"{row.task} candidate" if row.role is Role.CANDIDATE else row.task.value,
            row.language,
            f"{kept.num_items:,}",
            f"{request.mean:.1f}",
            str(request.p50),
            str(request.p90),
            str(request.p99),
            f"{kept.sequence.mean:.1f}",
            str(kept.cap),
            f"{kept.over_cap_ratio:.1%}",
            windows,
            "" if row.premium is None else f"{row.premium:.2f}",
        )
    return table
