"""Task by language, as tables: a figure a cell, shaded by its size, with the number of requests behind it.

Rules: a map is a table, so that it can be read aloud, copied, and printed; a cell that has too few requests
for its figure says so and has no shade; shades are seven steps between the smallest and the largest figure
of the map, on a log scale for durations and tokens; durations are written in the unit in which the longest
of the map fits into a cell on a phone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.datasets.tasks import LANGUAGES, TASKS, Task
from loadtest.report import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from loadtest.report.records import Group

LEVELS = 7
LONG_S = 10.0  # from here on, milliseconds take five digits, which a phone's cell is too narrow for
Cells = dict[str, dict[str, "Group"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One cell: what it shows, behind how many requests, in which shade (0 to 6, None for no figure)."""

    text: str
    n: int | None
    level: int | None
    mark: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """One map; ``scale`` names its colours (heat, cool, good, bad)."""

    key: str
    title: str
    caption: str
    scale: str
    tasks: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell | None, ...]], ...]
    low: str
    high: str

    @property
    def task_titles(self) -> tuple[str, ...]:
        """The tasks as the benchmark writes them."""
        return tuple(task_title(task) for task in self.tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a map shows of a cell, and how it is written; a duration's ``write`` gives way to its unit's."""

    key: str
    title: str
    caption: str
    scale: str
    value: Callable[[Group], float | None]
    write: Callable[[float | None], str]
    count: Callable[[Group], int]
    logarithmic: bool = False
    is_duration: bool = False


def _quality(group: Group) -> float | None:
    return group.quality.score if group.quality else None


def _num_scored(group: Group) -> int:
    return group.quality.num_scored if group.quality else 0


def _mismatch(group: Group) -> float | None:
    return group.mismatch.ratio if group.mismatch else None


def _num_compared(group: Group) -> int:
    return group.mismatch.num_compared if group.mismatch else 0


def _n(group: Group) -> int:
    return group.latency_s.n


MEASURES = (
    Measure(
        key="p95",
        title="p95 latency",
        caption=f"{formats.takes(['p95'])} requests a cell",
        scale="heat",
        value=lambda group: group.latency_s.p95,
        write=formats.milliseconds,
        count=_n,
        logarithmic=True,
        is_duration=True,
    ),
    Measure(
        key="p50",
        title="median latency",
        caption=f"{formats.takes(['p50'])} requests a cell",
        scale="heat",
        value=lambda group: group.latency_s.p50,
        write=formats.milliseconds,
        count=_n,
        logarithmic=True,
        is_duration=True,
    ),
    Measure(
        key="mean",
        title="mean latency",
        caption="a mean of few requests is mostly chance",
        scale="heat",
        value=lambda group: group.latency_s.mean,
        write=formats.milliseconds,
        count=_n,
        logarithmic=True,
        is_duration=True,
    ),
    Measure(
        key="tokens",
        title="tokens a request",
        caption="mean tokens that the encoder was given, over windows and choices",
        scale="cool",
        value=lambda group: group.tokens.mean,
        write=formats.number,
        count=lambda group: group.num_answered,
        logarithmic=True,
    ),
    Measure(
        key="quality",
        title="quality",
        caption="the benchmark's score of each task, 0 to 1, over distinct items",
        scale="good",
        value=_quality,
        write=formats.score,
        count=_num_scored,
    ),
    Measure(
        key="mismatch",
        title="mismatch",
        caption="share of answers that differ from the unloaded server's; 0 is expected",
        scale="bad",
        value=_mismatch,
        write=formats.percent,
        count=_num_compared,
    ),
)


def heat_maps(cells: Mapping[str, Mapping[str, Group]], prefix: str = "") -> tuple[HeatMap, ...]:
    """Return the maps that have at least one figure."""
    maps = (heat_map(measure, cells, prefix) for measure in MEASURES)
    return tuple(found for found in maps if found is not None)


def heat_map(measure: Measure, cells: Mapping[str, Mapping[str, Group]], prefix: str = "") -> HeatMap | None:
    """Return one map; None where no cell has the figure."""
    values = [measure.value(group) for row in cells.values() for group in row.values()]
    known = [value for value in values if value is not None]
    if not known:
        return None
    tasks, languages = task_order(cells), language_order({code for row in cells.values() for code in row})
    shade = _shader(known, logarithmic=measure.logarithmic)
    write, caption = _written(measure, max(known))

    def cell(task: str, language: str) -> HeatCell | None:
        group = cells[task].get(language)
        if group is None:
            return None
        value, n = measure.value(group), measure.count(group)
        text = write(value)
        if measure.key in group.latency_s.lower_bounds and value is not None:
            text = f"{formats.AT_LEAST}{text}"
        words = f"{task_title(task)}, {language}: {text}, n {n:,}"
        return HeatCell(text=text, n=n, level=None if value is None else shade(value), words=words)

    return HeatMap(
        key=f"{prefix}{measure.key}",
        title=measure.title,
        caption=caption,
        scale=measure.scale,
        tasks=tasks,
        rows=tuple((language, tuple(cell(task, language) for task in tasks)) for language in languages),
        low=write(min(known)),
        high=write(max(known)),
    )


def _written(measure: Measure, longest: float) -> tuple[Callable[[float | None], str], str]:
    """Return how the figures of a map are written, and the caption that says so."""
    if not measure.is_duration:
        return measure.write, measure.caption
    if longest < LONG_S:
        return measure.write, f"milliseconds; {measure.caption}"
    return formats.number, f"seconds; {measure.caption}"


def task_title(task: str) -> str:
    """Return a task's name as the benchmark writes it."""
    return TASKS[Task(task)].title if task in set(Task) else task


def task_order(tasks: Iterable[str]) -> tuple[str, ...]:
    """Put tasks in the benchmark's order, unknown ones last."""
    order = [task.value for task in Task]
    return tuple(sorted(tasks, key=lambda task: (order.index(task) if task in order else len(order), task)))


def language_order(languages: Iterable[str]) -> tuple[str, ...]:
    """Put languages in alphabetical order of their codes, unknown ones last."""
    return tuple(sorted(languages, key=lambda code: (code not in LANGUAGES, code)))


def _shader(known: Sequence[float], *, logarithmic: bool) -> Callable[[float], int]:
    low, high = min(known), max(known)
    if logarithmic and low > 0:
        low, high = math.log(low), math.log(high)

    def shade(value: float) -> int:
        place = math.log(value) if logarithmic and value > 0 and min(known) > 0 else value
        return 0 if high == low else round((place - low) / (high - low) * (LEVELS - 1))

    return shade
