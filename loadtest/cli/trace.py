"""`xlmr-load trace`: build a trace from a folder of data sets."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations when the command is called
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.cli.exits import ExitCode, note, stop
from loadtest.datasets.examples import DataError
from loadtest.datasets.library import Library, open_library
from loadtest.datasets.tasks import LANGUAGES, TASKS, Task
from loadtest.trace.arrivals import LawError, Replay
from loadtest.trace.arrivals_file import load_law
from loadtest.trace.build import Recipe, build_trace
from loadtest.trace.items import TraceError
from loadtest.trace.mix import ITEMS, Mix, parse_weights
from loadtest.trace.requests import DEVIATIONS, parse_deviations
from loadtest.trace.sampling import DEFAULT_MAX_CANDIDATES
from loadtest.trace.selection import ALL, Selection, parse_languages, parse_tasks, select

if TYPE_CHECKING:
    from loadtest.trace.schedule import Header


def trace(  # noqa: PLR0913 - each argument is an option of the command line
    *,
    data: Annotated[str, typer.Option(help="Folder of data sets, or 'bundled' for the sample.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    tasks: Annotated[str, typer.Option(help=f"'all' or some of {', '.join(Task)}.")] = ALL,
    languages: Annotated[str, typer.Option(help="'all' or two-letter codes, e.g. en,sw,yo.")] = ALL,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Items a task and language, drawn by the seed; else all.")
    ] = None,
    candidates: Annotated[
        str,
        typer.Option(
            help="Candidates a task and language of the retrieval tasks, or 'all'; right answers are "
            "always among them."
        ),
    ] = str(DEFAULT_MAX_CANDIDATES),
    arrivals: Annotated[
        str,
        typer.Option(
            help="constant:RATE, poisson:RATE, gamma:RATE:CV, onoff:.., piecewise:.., sine:.., "
            "replay:FILE[:SPEED], offline or closed:N; a wrong one lists them all."
        ),
    ] = "offline",
    duration: Annotated[float, typer.Option(min=0.001, help="Seconds of arrivals.")] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="The same inputs and seed give the same bytes.")] = 1,
    task_mix: Annotated[
        str, typer.Option(help="items, natural, uniform, or weights: xnli=2,xquad=1,*=0.5.")
    ] = ITEMS,
    language_mix: Annotated[
        str, typer.Option(help="Inside each task: items, natural, uniform, or weights: en=3,*=1.")
    ] = ITEMS,
    name: Annotated[str | None, typer.Option(help="Name in the header; else the law and the seed.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a trace at --out.")] = False,
    deviations: Annotated[
        str,
        typer.Option(help=f"Departures from the benchmark's requests: some of {', '.join(DEVIATIONS)}."),
    ] = "",
) -> None:
    """Build a trace: items, gold answers and a schedule of arrivals, from XTREME-R's data."""
    try:
        law = load_law(arrivals)
        library = open_library(data)
        wanted_tasks, wanted_languages = parse_tasks(tasks), parse_languages(languages)
        with _console().status("looking for data"):
            selection = select(library, wanted_tasks, wanted_languages)
        recipe = Recipe(
            name=name or f"{arrivals}-seed{seed}",
            selection=selection,
            limit=limit,
            max_candidates=_parse_candidates(candidates),
            law=law,
            law_text=arrivals,
            duration_s=duration,
            seed=seed,
            mix=_parse_mix(task_mix, language_mix, selection),
            deviations=parse_deviations(deviations),
        )
        header = _build(library, recipe, out, replace=force)
    except (TraceError, DataError, LawError) as error:
        stop(ExitCode.USAGE, str(error))
    if isinstance(law, Replay) and (num_cut := law.num_cut(duration)):
        note(f"{num_cut} recorded arrivals come after {duration:g} s and are left out (--duration)")
    _report(header, selection, out)


def _build(library: Library, recipe: Recipe, out: Path, *, replace: bool) -> Header:
    """Build with a progress bar on standard error."""
    num_cells = sum(len(codes) for codes in recipe.selection.cells.values())
    columns = (
        TextColumn("{task.description:28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_console(), transient=True) as bar:
        shown = bar.add_task("reading", total=num_cells)

        def advance(task: Task, language: str) -> None:
            bar.update(shown, advance=1, description=f"{TASKS[task].title} {language}")

        return build_trace(library, recipe, out, progress=advance, replace=replace)


def _parse_candidates(text: str) -> int | None:
    if text == ALL:
        return None
    if not text.isdecimal():
        raise TraceError(f"--candidates {text!r}; give a whole number, or 'all'.")
    return int(text)


def _parse_mix(task_mix: str, language_mix: str, selection: Selection) -> Mix:
    present = [code for code in LANGUAGES if any(code in codes for codes in selection.cells.values())]
    return Mix(
        tasks=parse_weights(task_mix, [task.value for task in selection.cells], "task"),
        languages=parse_weights(language_mix, present, "language"),
    )


def _report(header: Header, selection: Selection, out: Path) -> None:
    for sentence in selection.absent:
        note(sentence)
    without_gold = sorted({source.task for source in header.sources if not source.gold})
    if without_gold:
        note(f"no gold answers in files of {', '.join(without_gold)}: replayed, not scored")
    num_cells = sum(len(codes) for codes in selection.cells.values())
    typer.echo(
        f"{out}: {header.num_arrivals} arrivals ({header.law}) over {header.num_items} items, "
        f"{header.num_candidates} of them candidates, of {len(selection.cells)} tasks "
        f"in {num_cells} task-language cells"
    )


def _console() -> Console:
    return Console(stderr=True)
