"""Token statistics of a library: each task and language counted as its requests would be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from loadtest.datasets.tasks import TASKS, Head, Task
from loadtest.trace.items import Role
from loadtest.trace.lengths import lengths_of
from loadtest.trace.requests import Deviations, candidate_of, item_of, parameters_of
from loadtest.trace.sampling import (
    DEFAULT_MAX_CANDIDATES,
    Lot,
    choose_candidates,
    choose_entities,
    sample,
)
from loadtest.trace.token_statistics import TokenStatistics, premiums, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loadtest.datasets.library import Library
    from loadtest.trace.items import Item
    from loadtest.trace.lengths import TokenCounter


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The statistics of one task, language and role.

    ``premium``: mean uncapped tokens over those of English; it compares languages where the texts translate
    each other (XNLI, XCOPA, XQuAD, LAReQA), None without English.
    """

    task: Task
    language: str
    role: Role
    statistics: TokenStatistics
    premium: float | None = None


class Progress(Protocol):
    """Is told what has just been counted."""

    def __call__(self, task: Task, language: str) -> None:
        """Take note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyor:
    """Counts the tokens of a library; ``limit``: items a task, language and role, drawn by the seed."""

    library: Library
    counter: TokenCounter
    limit: int | None
    seed: int

    def rows(self, cells: Mapping[Task, Sequence[str]], *, progress: Progress) -> list[Row]:
        """Return a row for each task, language and role of ``cells``.

        Raises:
            DataError: a file is damaged.
        """
        rows: list[Row] = []
        for task, languages in cells.items():
            of_task: list[Row] = []
            for language in languages:
                for role, items in self._items_of(task, language):
                    of_task.append(_row(task, language, role, items, self.counter))
                progress(task, language)
            if task is Task.MEWSLIX and self.library.has_entities:
                of_task += self._entity_rows()
            for role in Role:
                rows += _with_premiums([row for row in of_task if row.role is role])
        return rows

    def _items_of(self, task: Task, language: str) -> Iterator[tuple[Role, list[Item]]]:
        portion = self.library.read(task, language)
        lot = Lot(seed=self.seed, task=task, language=language)
        chosen = sample(len(portion.examples), self.limit, lot)
        examples = [item_of(portion.examples[i], task, language, i, Deviations()) for i in chosen]
        yield examples[0].role, examples
        candidates = choose_candidates(portion.candidates, frozenset(), self.limit, lot)
        if candidates:
            yield (
                Role.CANDIDATE,
                [candidate_of(candidate, task, language, Deviations()) for candidate in candidates],
            )

    def _entity_rows(self) -> list[Row]:
        """Count Mewsli-X's candidates, a bounded sample a language."""
        task = Task.MEWSLIX
        languages = TASKS[task].candidate_languages
        by_language: dict[str, list[Item]] = {language: [] for language in languages}
        _, entities = self.library.entities()
        bound = DEFAULT_MAX_CANDIDATES if self.limit is None else self.limit
        for entity in choose_entities(entities, frozenset(), languages, bound, seed=self.seed):
            item = candidate_of(entity.candidate, task, entity.language, Deviations())
            by_language[entity.language].append(item)
        return [
            _row(task, language, Role.CANDIDATE, items, self.counter)
            for language, items in by_language.items()
            if items
        ]


def _row(task: Task, language: str, role: Role, items: Sequence[Item], counter: TokenCounter) -> Row:
    spec = TASKS[task]
    cap = parameters_of(spec, role, Deviations())["max_tokens"]
    statistics = summarise(lengths_of(items, counter), cap=cap, has_windows=spec.head is Head.SPAN)
    return Row(task=task, language=language, role=role, statistics=statistics)


def _with_premiums(rows: Sequence[Row]) -> list[Row]:
    found = premiums({row.language: row.statistics.uncapped_mean for row in rows})
    return [replace(row, premium=found.get(row.language)) for row in rows]
