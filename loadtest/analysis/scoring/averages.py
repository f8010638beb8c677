"""Averages over languages and tasks, as XTREME-R reports them.

Rules: a task's figure is the unweighted mean over its languages (never over items); the overall figure is the
unweighted mean over tasks; a cell without a value takes no part and is named; an average over fewer languages
than the benchmark has says so, because it must not be compared with a published one.
For QA the mean of (EM + F1) / 2 over languages is the same number as (mean EM + mean F1) / 2.
Source: google-research/xtreme evaluate.py (which never scores LAReQA: its list of languages there is empty).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.datasets.tasks import TASKS, Metric, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loadtest.analysis.scoring.score import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAverage:
    """One task over its languages; ``missing`` are languages of the benchmark that have no value here."""

    task: Task
    metric: Metric
    value: float | None
    parts: Mapping[str, float]
    languages: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkAverage:
    """All tasks; ``is_complete`` when every task of the benchmark has every language."""

    value: float | None
    tasks: tuple[TaskAverage, ...]
    is_complete: bool


def average_scores(scores: Iterable[Score]) -> BenchmarkAverage:
    """Average at most one score a task and language by task, and then over tasks."""
    by_task: dict[Task, list[Score]] = {}
    for score in scores:
        by_task.setdefault(score.task, []).append(score)
    tasks = tuple(_average_task(task, by_task[task]) for task in TASKS if task in by_task)
    values = [task.value for task in tasks if task.value is not None]
    return BenchmarkAverage(
        value=sum(values) / len(values) if values else None,
        tasks=tasks,
        is_complete=len(tasks) == len(TASKS) and not any(task.missing for task in tasks),
    )


def _average_task(task: Task, cells: Sequence[Score]) -> TaskAverage:
    value_by_language = {cell.language: cell.value for cell in cells if cell.value is not None}
    parts: dict[str, list[float]] = {}
    for cell in cells:
        if cell.value is not None:
            for name, part in cell.parts.items():
                parts.setdefault(name, []).append(part)
    return TaskAverage(
        task=task,
        metric=TASKS[task].metric,
        value=sum(value_by_language.values()) / len(value_by_language) if value_by_language else None,
        parts={name: sum(found) / len(found) for name, found in parts.items()},
        languages=tuple(value_by_language),
        missing=tuple(code for code in TASKS[task].languages if code not in value_by_language),
    )
