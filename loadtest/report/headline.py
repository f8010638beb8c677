"""The headline table: arms in tasks. One source for the page, Markdown and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.report.chart_style import Paint, arm_letter, series_paint
from loadtest.report.heat_map import task_order, task_title

if TYPE_CHECKING:
    from loadtest.report.records import Group, Summary

ALL_TASKS = "all tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTag:
    """How an arm is called and coloured throughout the page."""

    name: str
    letter: str
    paint: Paint


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One arm in one task (or in all); bars are shares of the slowest row's figure."""

    task: str
    arm: ArmTag
    group: Group
    p50_ratio: float
    p95_ratio: float


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
    slowest50 = max((g.latency_s.p50 or 0 for rows in groups.values() for _, g in rows), default=0) or 1
    slowest95 = max((g.latency_s.p95 or 0 for rows in groups.values() for _, g in rows), default=0) or 1
    return tuple(
        (
            task,
            tuple(
                TableRow(
                    task=task,
                    arm=tag,
                    group=group,
                    p50_ratio=(group.latency_s.p50 or 0) / slowest50,
                    p95_ratio=(group.latency_s.p95 or 0) / slowest95,
                )
                for tag, group in rows
            ),
        )
        for task, rows in groups.items()
    )
