"""`xlmr-load data check`: what is there and what is missing, task by task and language by language."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from loadtest.cli.exits import ExitCode, stop
from loadtest.datasets.examples import DataError
from loadtest.datasets.inventory import State, Stock, lacks_candidates, take_stock
from loadtest.datasets.library import open_library
from loadtest.datasets.sources import ORIGINS
from loadtest.datasets.tasks import TASKS, Task
from loadtest.trace.items import TraceError
from loadtest.trace.selection import ALL, parse_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.datasets.library import Library


def check(
    *,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder of data sets, or 'bundled'.")],
    tasks: Annotated[str, typer.Option(help=f"'all' or some of {', '.join(Task)}.")] = ALL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say what a folder holds of each task in each language, and where the rest comes from."""
    try:
        library = open_library(folder)
        wanted = parse_tasks(tasks) or tuple(Task)
    except (DataError, TraceError) as error:
        stop(ExitCode.USAGE, str(error))
    stocks = _take_stock(library, wanted)
    candidates = lacks_candidates(library) if Task.MEWSLIX in wanted else None
    if as_json:
        typer.echo(json.dumps([asdict(stock) for stock in stocks], ensure_ascii=False, indent=1))
    else:
        _print(library, stocks, candidates)
    num_damaged = sum(stock.state is State.DAMAGED for stock in stocks)
    if num_damaged:
        stop(ExitCode.USAGE, f"{num_damaged} damaged; each is named above with its file and line.")


def _take_stock(library: Library, tasks: Sequence[Task]) -> list[Stock]:
    total = sum(len(TASKS[task].languages) for task in tasks)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        return list(bar.track(take_stock(library, tasks), total=total, description="reading"))


def _print(library: Library, stocks: Sequence[Stock], candidates: str | None) -> None:
    """Print a line a cell, never wrapped, so that addresses can be copied and lines searched."""
    for task in dict.fromkeys(stock.task for stock in stocks):
        rows = [stock for stock in stocks if stock.task is task]
        spec, origin = TASKS[task], ORIGINS[task]
        there = sum(stock.state is State.THERE for stock in rows)
        typer.echo(f"{spec.title}: {there} of {len(rows)} languages; licence: {library.licence_of(task)}")
        for stock in rows:
            typer.echo(f"  {_line(stock)}")
        if task is Task.MEWSLIX and candidates:
            typer.echo(f"  {candidates}")
        if any(stock.state is State.MISSING for stock in rows):
            for sentence in (origin.consent, origin.by_hand):
                if sentence:
                    typer.echo(f"  note: {sentence}")
    counts = Counter(stock.state for stock in stocks)
    typer.echo(", ".join(f"{counts[state]} {state}" for state in State if counts[state]))


def _line(stock: Stock) -> str:
    name = f"{stock.task} {stock.language}"
    if stock.state is State.THERE:
        gold = "gold" if stock.gold else "no gold"
        return f"{name:12} there    {stock.num_items:>6} items  {gold:8} {stock.detail}"
    return f"{name:12} {stock.state:8} {stock.detail}"
