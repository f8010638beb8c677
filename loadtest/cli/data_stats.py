"""`xlmr-load data stats`: tokens a request, by task and language."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads annotations when the command is called
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from loadtest.cli.exits import ExitCode, note, stop
from loadtest.datasets.examples import DataError
from loadtest.datasets.library import BUNDLED, open_library
from loadtest.datasets.tasks import TASKS, Task
from loadtest.trace.items import Role, TraceError
from loadtest.trace.lengths import TokenCounter
from loadtest.trace.selection import ALL, parse_languages, parse_tasks, select
from loadtest.trace.token_survey import Row, Surveyor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.trace.selection import Selection


def stats(  # noqa: PLR0913 - each argument is an option of the command line
    *,
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer.json.")],
    data: Annotated[str, typer.Option(help="Folder of data sets, or 'bundled' for the sample.")] = BUNDLED,
    tasks: Annotated[str, typer.Option(help=f"'all' or some of {', '.join(Task)}.")] = ALL,
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
        typer.echo("\n".join(_lines(rows)))


def _survey(surveyor: Surveyor, selection: Selection) -> list[Row]:
    total = sum(len(codes) for codes in selection.cells.values())
    with Progress(console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("counting", total=total)

        def advance(task: Task, language: str) -> None:
            bar.update(shown, advance=1, description=f"{TASKS[task].title} {language}")

        return surveyor.rows(selection.cells, progress=advance)


_HEADINGS = ("task", "language", "items", "mean", "p50", "p90", "p99", "at cap", "cap", "over cap")
_WIDTHS = (18, 8, 7, 7, 6, 6, 6, 7, 5, 9, 8, 8)


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table, a line a row and never wrapped."""
    yield "Tokens a request, special tokens included: given to the encoder, over choices and windows."
    yield "At cap: mean of a sequence cut at the benchmark's cap. Over cap: items with a sequence past it."
    yield "Premium: uncapped tokens over those of English; for texts that translate each other."
    yield _aligned((*_HEADINGS, "windows", "premium"))
    for row in rows:
        kept, request = row.statistics, row.statistics.request
        yield _aligned(
            (
                f"{row.task} candidate" if row.role is Role.CANDIDATE else row.task.value,
                row.language,
                str(kept.num_items),
                f"{request.mean:.1f}",
                str(request.p50),
                str(request.p90),
                str(request.p99),
                f"{kept.sequence.mean:.1f}",
                str(kept.cap),
                f"{kept.over_cap_ratio:.1%}",
                "" if kept.windows_mean is None else f"{kept.windows_mean:.2f}",
                "" if row.premium is None else f"{row.premium:.2f}",
            )
        )


def _aligned(values: Sequence[str]) -> str:
    left, right = values[:2], values[2:]
    padded = [f"{value:<{width}}" for value, width in zip(left, _WIDTHS[:2], strict=True)]
    padded += [f"{value:>{width}}" for value, width in zip(right, _WIDTHS[2:], strict=True)]
    return " ".join(padded).rstrip()
