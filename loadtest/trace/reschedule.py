"""The same items under another schedule: what pairs, probes and offline runs of a study replay.

Items and gold are linked, not copied, where the file system can; the hashes in the header
stay those of the base. Open laws draw tasks and languages by a mix; other laws ask for each item once.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loadtest.trace.arrivals import draw_items
from loadtest.trace.items import Role, TraceError
from loadtest.trace.mix import ITEMS, NATURAL, Cell, Mix, Weights, draw
from loadtest.trace.schedule import GOLD_FILE, ITEMS_FILE, SCHEDULE_FILE, Arrival, write_schedule
from loadtest.trace.seeds import stream_keys, streams
from loadtest.trace.writer import new_folder

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.trace.arrivals import Law
    from loadtest.trace.schedule import Header, Trace


PLAIN = Mix(tasks=Weights(text=ITEMS), languages=Weights(text=ITEMS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When to ask: a law, the text it was read from, for how long, from which seed.

    ``max_arrivals``: keep the first so many; None keeps all. It bounds runs that ask each item once.
    ``mix``: of open laws; never ``natural``, since a trace does not hold how large its data sets were.
    """

    name: str
    law: Law
    law_text: str
    duration_s: float
    seed: int
    max_arrivals: int | None = None
    mix: Mix = PLAIN


def reschedule(base: Trace, schedule: Schedule, out: Path) -> Header:
    """Write a trace in ``out`` with the items of ``base`` and arrivals of its own; return its header.

    Raises:
        TraceError: the law makes no arrival, the mix cannot be drawn, or ``out`` cannot be written.
        LawError: the law cannot make such a schedule.
    """
    if NATURAL in (schedule.mix.tasks.text, schedule.mix.languages.text):
        raise TraceError(
            "A trace does not hold how large its data sets were; give items, uniform or weights."
        )
    arrivals = _arrivals(base, schedule)
    header = replace(
        base.header,
        name=schedule.name,
        law=schedule.law_text,
        duration_s=schedule.duration_s,
        seed=schedule.seed,
        seeds=stream_keys(schedule.seed),
        num_arrivals=len(arrivals),
        mix={"tasks": schedule.mix.tasks.text, "languages": schedule.mix.languages.text},
    )
    with new_folder(out, replace=True) as folder:
        _link(base.folder / ITEMS_FILE, folder / ITEMS_FILE)
        _link(base.gold_path, folder / GOLD_FILE)
        write_schedule(folder / SCHEDULE_FILE, header, arrivals)
    return header


def _arrivals(base: Trace, schedule: Schedule) -> list[Arrival]:
    cells, ids = cells_of(base)
    random = streams(schedule.seed)
    if schedule.law.is_open:
        times = schedule.law.times_us(schedule.duration_s, random.arrivals)
        numbers = draw(cells, len(times), schedule.mix, random.items)
    else:
        numbers = draw_items(len(ids), len(ids), random.items)
        times = schedule.law.times_us(schedule.duration_s, random.arrivals, num_items=len(ids))
    pairs = list(zip(times, numbers, strict=True))[: schedule.max_arrivals]
    if not pairs:
        raise TraceError(f"{schedule.law_text} makes no arrival in {schedule.duration_s:g} s; lengthen it.")
    return [Arrival(i=i, t_us=int(t), item=ids[n]) for i, (t, n) in enumerate(pairs)]


def cells_of(base: Trace) -> tuple[list[Cell], list[str]]:
    """Return the trace's cells, and the ids of their items in the cells' order."""
    by_cell: dict[tuple[str, str], list[str]] = {}
    for item in base.items.values():
        if item.role is not Role.CANDIDATE:
            by_cell.setdefault((item.task, item.language), []).append(item.id)
    cells = [
        Cell(task=task, language=language, num_items=len(ids), num_natural=len(ids))
        for (task, language), ids in by_cell.items()
    ]
    return cells, [item for ids in by_cell.values() for item in ids]


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
