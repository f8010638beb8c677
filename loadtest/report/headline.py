"""The headline table: arms in tasks. One source for the page, Markdown and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.report.chart_style import Paint, arm_letter, series_paint
from loadtest.report.heat_map import task_order, task_title

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.report.records import Group, Summary

ALL_TASKS = "all tasks"
PERCENTILES = ("p50", "p95")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTag:
    """How an arm is called and coloured throughout the page."""

    name: str
    letter: str
    paint: Paint


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One arm in one task (or in all); ``shares`` are those of the slowest row's percentiles."""

    task: str
    arm: ArmTag
    group: Group
    shares: Mapping[str, float]


def arm_tags(summary: Summary) -> tuple[ArmTag, ...]:
    """Return the arms with their letters and colours, in the order in which they appear."""
    return tuple(
        ArmTag(name=name, letter=arm_letter(place), paint=series_paint(place))
        for place, name in enumerate(summary.by_arm)
    )


def headline(summary: Summary) -> tuple[tuple[str, tuple[TableRow, ...]], ...]:
    """Return the rows of each task, all tasks together last."""
    arms = [(tag, summary.by_arm[tag.name]) for tag in arm_tags(summary)]
    groups = {
        task_title(task): [(tag, arm.by_task[task]) for tag, arm in arms if task in arm.by_task]
        for task in task_order(summary.by_task)
    }
    if len(groups) != 1:
        groups[ALL_TASKS] = [(tag, arm.overall) for tag, arm in arms]
    slowest = {
        name: max(
            (getattr(group.latency_s, name) or 0 for rows in groups.values() for _, group in rows), default=0
        )
        for name in PERCENTILES
    }
    return tuple(
        (task, tuple(_row(task, tag, group, slowest) for tag, group in rows)) for task, rows in groups.items()
    )


def percentiles_of(summary: Summary) -> tuple[str, ...]:
    """Return the percentiles that any row of the table has enough requests for."""
    rows = [row.group.latency_s for _, rows in headline(summary) for row in rows]
    return tuple(name for name in PERCENTILES if any(getattr(row, name) is not None for row in rows))


def _row(task: str, tag: ArmTag, group: Group, slowest: Mapping[str, float]) -> TableRow:
    shares = {
        name: (getattr(group.latency_s, name) or 0) / slowest[name] if slowest[name] else 0.0
        for name in PERCENTILES
    }
    return TableRow(task=task, arm=tag, group=group, shares=shares)
