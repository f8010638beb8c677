"""What a folder of data sets holds, task by task and language by language."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from loadtest.datasets.examples import DataError
from loadtest.datasets.layouts import ENTITIES
from loadtest.datasets.sources import ORIGINS, address_of
from loadtest.datasets.tasks import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.datasets.library import Library


class State(StrEnum):
    """Whether a task is there in a language."""

    THERE = "there"
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """One task in one language.

    ``detail``: the files where it is there, what is wrong where it is damaged, where to get it where it is
    missing. ``gold``: whether its files hold right answers.
    """

    task: Task
    language: str
    state: State
    num_items: int
    gold: bool
    detail: str


def take_stock(library: Library, tasks: Sequence[Task]) -> Iterator[Stock]:
    """Yield what is there of each task in each of its languages; every file is read to its end."""
    for task in tasks:
        for language in TASKS[task].languages:
            yield _stock_of(library, task, language)


def lacks_candidates(library: Library) -> str | None:
    """Return where Mewsli-X's candidates come from where they are missing."""
    return None if library.has_entities else f"{ENTITIES} is missing: {ORIGINS[Task.MEWSLIX].page}"


def _stock_of(library: Library, task: Task, language: str) -> Stock:
    try:
        if library.find(task, language) is None:
            state, num_items, gold, detail = State.MISSING, 0, False, address_of(task, language)
        else:
            portion = library.read(task, language)
            names = " ".join(file.name for file in portion.files)
            state, num_items, gold, detail = State.THERE, len(portion.examples), portion.has_gold, names
    except DataError as error:
        state, num_items, gold, detail = State.DAMAGED, 0, False, str(error)
    return Stock(task=task, language=language, state=state, num_items=num_items, gold=gold, detail=detail)
