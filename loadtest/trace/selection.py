"""Which tasks and languages go into a trace.

``all`` is what is there, and the rest is named; what was asked for by name and is absent
is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from loadtest.datasets.layouts import ENTITIES
from loadtest.datasets.tasks import LANGUAGES, TASKS, Task
from loadtest.trace.items import TraceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtest.datasets.library import Library

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Languages by task, in the order of the tables.

    ``asked``: the languages that were asked for. ``absent``: sentences on what is not there.
    """

    cells: Mapping[Task, tuple[str, ...]]
    asked: tuple[str, ...]
    absent: tuple[str, ...]

    def candidate_languages(self, task: Task) -> tuple[str, ...]:
        """Return the asked languages in which a task has something to be found."""
        return tuple(code for code in TASKS[task].candidate_languages if code in self.asked)


def parse_tasks(text: str) -> tuple[Task, ...] | None:
    """Return the tasks of a comma-separated list, None for ``all``.

    Raises:
        TraceError: a name is unknown.
    """
    if text.strip() == ALL:
        return None
    return tuple(Task(name) for name in _names(text, [task.value for task in Task], "task"))


def parse_languages(text: str) -> tuple[str, ...] | None:
    """Return the languages of a comma-separated list, None for ``all``.

    Raises:
        TraceError: a code is none of the fifty.
    """
    if text.strip() == ALL:
        return None
    return _names(text, LANGUAGES, "language")


def select(library: Library, tasks: Sequence[Task] | None, languages: Sequence[str] | None) -> Selection:
    """Return what of the asked is there.

    Raises:
        TraceError: a task or language was asked for by name and is not there, or nothing is.
        DataError: a file is damaged.
    """
    cells: dict[Task, tuple[str, ...]] = {}
    absent: list[str] = []
    for task in Task:
        if tasks is not None and task not in tasks:
            continue
        wanted = [code for code in TASKS[task].languages if languages is None or code in languages]
        there = tuple(code for code in wanted if library.find(task, code) is not None)
        missing = [code for code in wanted if code not in there]
        if tasks is not None and (not there or (languages is not None and missing)):
            raise TraceError(_why_not(task, languages, missing, library))
        if there:
            cells[task] = there
        if missing and not there and languages is None:
            absent.append(f"{task}: not there")
        elif missing:
            absent.append(f"{task}: not there in {' '.join(missing)}")
        if task is Task.MEWSLIX and there and not library.has_entities:
            absent.append(f"{task}: no {ENTITIES}, so that its queries have no candidates and no gold")
    found = {code for codes in cells.values() for code in codes}
    nowhere = [code for code in languages or () if code not in found]
    if nowhere or not cells:
        which = f"in {' '.join(nowhere)}" if nowhere else "of the benchmark"
        raise TraceError(
            f"{library.folder}: nothing is there {which}; see 'xlmr-load data check {library.folder}'."
        )
    return Selection(cells=cells, asked=tuple(languages or LANGUAGES), absent=tuple(absent))


def _names(text: str, known: Sequence[str], what: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise TraceError(f"No {what} is named; give 'all' or some of {' '.join(known)}.")
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]}?" if close else "."
            raise TraceError(f"Unknown {what} {name!r}; known are {' '.join(known)}{hint}")
    return names


def _why_not(task: Task, languages: Sequence[str] | None, missing: Sequence[str], library: Library) -> str:
    spec = TASKS[task]
    if not missing:
        return f"{spec.title} has none of the asked languages; it has {' '.join(spec.languages)}."
    where = "" if languages is None else f" in {' '.join(missing)}"
    return (
        f"{library.folder}: {spec.title} is not there{where}; 'xlmr-load data check {library.folder}' "
        "says from where it comes."
    )
