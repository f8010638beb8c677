"""Building a trace: a folder of data sets in; items, gold answers and a schedule out.

The same inputs and seed give the same bytes, wherever and whenever. Candidates of a
retrieval task follow its queries; they are never scheduled.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

from loadtest.datasets.layouts import ENTITIES
from loadtest.datasets.tasks import TASKS, Task
from loadtest.trace.items import TraceError
from loadtest.trace.mix import Cell, draw, draw_once
from loadtest.trace.requests import candidate_of, gold_of, item_of, sides_of
from loadtest.trace.sampling import Lot, choose_candidates, choose_entities, sample
from loadtest.trace.schedule import SCHEDULE_FILE, Arrival, Header, Source, write_schedule
from loadtest.trace.seeds import stream_keys, streams
from loadtest.trace.writer import TraceWriter, new_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from loadtest.datasets.examples import CandidateExample, Example
    from loadtest.datasets.library import Library, Portion
    from loadtest.trace.arrivals import Law
    from loadtest.trace.items import Item
    from loadtest.trace.mix import Mix
    from loadtest.trace.requests import Deviations
    from loadtest.trace.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what a trace holds, but for the data themselves.

    ``limit``: items a task and language; ``max_candidates``: candidates a task and language, those that
    answer a query always among them; None is all. ``law_text``: the law as it was written.
    """

    name: str
    selection: Selection
    limit: int | None
    max_candidates: int | None
    law: Law
    law_text: str
    duration_s: float
    seed: int
    mix: Mix
    deviations: Deviations


class Progress(Protocol):
    """Is told what has just been read."""

    def __call__(self, task: Task, language: str) -> None:
        """Take note of one task in one language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """The examples that a trace takes of a portion, each with its place among all."""

    portion: Portion
    examples: Sequence[tuple[int, Example]]
    candidates: Sequence[CandidateExample]


def build_trace(
    library: Library, recipe: Recipe, out: Path, *, progress: Progress, replace: bool = False
) -> Header:
    """Build a trace in ``out`` and return its header.

    Raises:
        TraceError: the recipe leaves nothing to send, or ``out`` cannot be written.
        DataError: a data file is damaged.
        LawError: the law cannot make such a schedule.
    """
    with new_folder(out, replace=replace) as folder:
        with closing(TraceWriter(folder)) as writer:
            builder = _Builder(library, recipe, writer, progress)
            for task in recipe.selection.cells:
                builder.add_task(task)
        arrivals = _arrivals(recipe, builder.cells, builder.scheduled_ids)
        header = _header(recipe, writer, len(arrivals), builder.sources())
        write_schedule(folder / SCHEDULE_FILE, header, arrivals)
    return header


class _Builder:
    """Writes the items of one task after the other and remembers what the schedule needs."""

    def __init__(self, library: Library, recipe: Recipe, writer: TraceWriter, progress: Progress) -> None:
        self._library = library
        self._recipe = recipe
        self._writer = writer
        self._progress = progress
        self._sources: dict[tuple[Task, str], Source] = {}
        self.cells: list[Cell] = []
        self.scheduled_ids: list[str] = []

    def add_task(self, task: Task) -> None:
        languages = self._recipe.selection.cells[task]
        if not TASKS[task].retrieves:
            for language in languages:
                taken = self._take(task, language)
                for item, example in self._write_items(taken):
                    self._writer.add_gold(gold_of(example, item.id))
        elif TASKS[task].searches_own_language:
            for language in languages:
                self._add_searched_together(task, (language,))
        else:
            self._add_searched_together(task, languages)

    def sources(self) -> tuple[Source, ...]:
        return tuple(self._sources.values())

    def _take(self, task: Task, language: str) -> _Taken:
        portion = self._library.read(task, language)
        examples, candidates = sides_of(portion, self._recipe.deviations)
        lot = Lot(seed=self._recipe.seed, task=task, language=language)
        chosen = sample(len(examples), self._recipe.limit, lot)
        for file in portion.files:
            self._add_source(task, (language,), file.name, file.sha256, gold=portion.has_gold)
        self._progress(task, language)
        return _Taken(portion=portion, examples=[(i, examples[i]) for i in chosen], candidates=candidates)

    def _write_items(self, taken: _Taken) -> list[tuple[Item, Example]]:
        task, language = taken.portion.task, taken.portion.language
        written = []
        for index, example in taken.examples:
            item = item_of(example, task, language, index, self._recipe.deviations)
            self._writer.add(item)
            self.scheduled_ids.append(item.id)
            written.append((item, example))
        self.cells.append(
            Cell(
                task=task,
                language=language,
                num_items=len(written),
                num_natural=len(taken.portion.examples),
            )
        )
        return written

    def _add_searched_together(self, task: Task, languages: Sequence[str]) -> None:
        """Write the queries of some languages and the candidates that they all search."""
        taken = [self._take(task, language) for language in languages]
        queries = [pair for part in taken for pair in self._write_items(part)]
        wanted = frozenset(key for _, query in queries for key in _keys(query))
        answers: dict[str, list[str]] = {key: [] for key in wanted}
        for language, candidate in self._candidates(task, taken, wanted):
            item = candidate_of(candidate, task, language, self._recipe.deviations)
            self._writer.add(item)
            for key in wanted.intersection(candidate.keys):
                answers[key].append(item.id)
        for item, query in queries:
            ids = [found for key in _keys(query) for found in answers[key]]
            self._writer.add_gold(gold_of(query, item.id, ids))

    def _candidates(
        self, task: Task, taken: Sequence[_Taken], wanted: frozenset[str]
    ) -> Iterable[tuple[str, CandidateExample]]:
        """Yield the chosen candidates, each with its language."""
        recipe = self._recipe
        if task is Task.MEWSLIX:
            if not self._library.has_entities:
                return
            lines, entities = self._library.entities()
            languages = recipe.selection.candidate_languages(task)
            for entity in choose_entities(
                entities, wanted, languages, recipe.max_candidates, seed=recipe.seed
            ):
                yield entity.language, entity.candidate
            self._add_source(task, languages, ENTITIES, lines.sha256, gold=True)
            return
        for part in taken:
            language = part.portion.language
            lot = Lot(seed=recipe.seed, task=task, language=language)
            for candidate in choose_candidates(part.candidates, wanted, recipe.max_candidates, lot):
                yield language, candidate

    def _add_source(
        self, task: Task, languages: tuple[str, ...], file: str, sha256: str, *, gold: bool
    ) -> None:
        before = self._sources.get((task, file))
        self._sources[task, file] = Source(
            task=task.value,
            languages=(*(before.languages if before else ()), *languages),
            file=file,
            sha256=sha256,
            licence=self._library.licence_of(task),
            gold=gold or (before is not None and before.gold),
        )


def _keys(example: Example) -> tuple[str, ...]:
    return getattr(example, "keys", ())


def _arrivals(recipe: Recipe, cells: Sequence[Cell], ids: Sequence[str]) -> list[Arrival]:
    random = streams(recipe.seed)
    if recipe.law.is_open:
        times = recipe.law.times_us(recipe.duration_s, random.arrivals)
        if not len(times):
            raise TraceError(
                f"{recipe.law_text} makes no arrival in {recipe.duration_s:g} s; "
                "raise its rate or --duration."
            )
        numbers = draw(cells, len(times), recipe.mix, random.items)
    else:
        numbers = draw_once(cells, recipe.mix, random.items)
        times = recipe.law.times_us(recipe.duration_s, random.arrivals, num_items=len(numbers))
    return [
        Arrival(i=i, t_us=int(t_us), item=ids[number])
        for i, (t_us, number) in enumerate(zip(times, numbers, strict=True))
    ]


def _header(recipe: Recipe, writer: TraceWriter, num_arrivals: int, sources: tuple[Source, ...]) -> Header:
    selection: dict[str, Any] = {
        "cells": {task.value: list(codes) for task, codes in recipe.selection.cells.items()},
        "limit": recipe.limit,
        "max_candidates": recipe.max_candidates,
    }
    return Header(
        name=recipe.name,
        law=recipe.law_text,
        duration_s=recipe.duration_s,
        seed=recipe.seed,
        num_items=writer.num_items,
        num_candidates=writer.num_candidates,
        num_arrivals=num_arrivals,
        items_sha256=writer.items.sha256,
        gold_sha256=writer.gold.sha256,
        mix={"tasks": recipe.mix.tasks.text, "languages": recipe.mix.languages.text},
        selection=selection,
        options=recipe.deviations.asked_for(),
        sources=sources,
        version=_version(),
        seeds=stream_keys(recipe.seed),
    )


def _version() -> str:
    try:
        return metadata.version("xlmr-serve")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "0+unknown"
