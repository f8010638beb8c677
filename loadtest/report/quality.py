"""How right the answers given under load were, by task and language.

Rules: a score is of distinct items, the first answer of each, so that it compares with the benchmark; right
answers a second are of requests, so that an item asked twice counts twice. An item that got no answer is
wrong; one without gold is counted and left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from loadtest.analysis.scoring import ScoringError, average_scores, score_task
from loadtest.datasets.tasks import Task
from loadtest.report.answers import retrieves
from loadtest.report.records import Quality

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loadtest.analysis.attainment import Scores
    from loadtest.analysis.scoring import Answer, Candidates, Score
    from loadtest.trace.items import GoldAnswer

Cell = tuple[str, str]
"""A task and a language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What right answers are: gold by item, and for each task how served labels read and what is searched."""

    gold: Mapping[str, GoldAnswer]
    labels: Mapping[str, Mapping[str, str]]
    candidates: Mapping[str, Candidates]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scores of one arm's cells, the rows that were answered right, and why cells could not be scored."""

    cells: Mapping[Cell, Score]
    correct: frozenset[int]
    problems: tuple[str, ...] = ()


def score_arm(
    frame: pl.DataFrame,
    answers: Mapping[int, Answer],
    key: Key,
    told: Callable[[int, int], None] | None = None,
) -> Scored:
    """Score every cell of one arm.

    ``frame`` needs the columns row, item, task, language, answer; ``answers`` are by row; ``told`` hears
    (cells done, cells in all).
    """
    cells: dict[Cell, Score] = {}
    correct: set[int] = set()
    problems: list[str] = []
    total = frame.select(pl.struct("task", "language").n_unique()).item()
    groups = frame.group_by(["task", "language"], maintain_order=True)
    for done, (names, rows) in enumerate(groups, start=1):
        task, language = (str(name) for name in names)
        if task in set(Task) and (not retrieves(task) or task in key.candidates):
            cell = _CellRows(task, language, rows.select("row", "item", "answer"), answers, key)
            try:
                cells[task, language] = cell.score()
            except ScoringError as error:
                problems.append(f"Not scored: {error}.")
                continue
            finally:
                if told is not None:
                    told(done, total)
            correct |= cell.correct()
    return Scored(cells=cells, correct=frozenset(correct), problems=tuple(problems))


@dataclass(frozen=True, slots=True)
class _CellRows:
    """The rows of one cell, with all that scoring them takes."""

    task: str
    language: str
    rows: pl.DataFrame
    answers: Mapping[int, Answer]
    key: Key

    def score(self) -> Score:
        """Score the first answer of each item."""
        gold = self.key.gold
        first: dict[str, Answer] = {}
        for row, item, _ in self.rows.iter_rows():
            if row in self.answers:
                first.setdefault(item, self.answers[row])
        asked = self.rows["item"].unique(maintain_order=True)
        return self._score(first, {item: gold[item] for item in asked if item in gold})

    def correct(self) -> set[int]:
        """Return the rows whose own answer was right; the same words about the same item are read once."""
        alike: dict[tuple[str, str], list[int]] = {}
        for row, item, text in self.rows.iter_rows():
            if row in self.answers:
                alike.setdefault((item, text), []).append(row)
        first = {str(rows[0]): rows for rows in alike.values()}
        answers = {name: self.answers[rows[0]] for name, rows in first.items()}
        gold = {
            str(rows[0]): self.key.gold[item] for (item, _), rows in alike.items() if item in self.key.gold
        }
        right = (score.item for score in self._score(answers, gold).items if score.is_correct)
        return {row for name in right for row in first[name]}

    def _score(self, answers: Mapping[str, Answer], gold: Mapping[str, GoldAnswer]) -> Score:
        return score_task(
            self.task,
            self.language,
            answers,
            gold,
            labels=self.key.labels.get(self.task),
            candidates=self.key.candidates.get(self.task),
        )


def cell_quality(score: Score, correct_per_s: float | None) -> Quality:
    """Return a cell's score as the summary gives it."""
    return Quality(
        metric=score.metric.value,
        score=score.value,
        num_scored=score.n_scored,
        num_without_gold=score.n_without_gold,
        num_unanswered=score.n_unanswered,
        num_malformed=score.n_malformed,
        parts=dict(score.parts),
        correct_per_s=correct_per_s,
    )


def pooled_quality(scores: Sequence[Score], correct_per_s: float | None) -> Quality | None:
    """Average scores as the benchmark does: over the languages of a task, then over tasks."""
    if not scores:
        return None
    average = average_scores(scores)
    tasks = average.tasks
    one = tasks[0] if len(tasks) == 1 else None
    return Quality(
        metric=one.metric.value if one else "mean over tasks",
        score=one.value if one else average.value,
        num_scored=sum(score.n_scored for score in scores),
        num_without_gold=sum(score.n_without_gold for score in scores),
        num_unanswered=sum(score.n_unanswered for score in scores),
        num_malformed=sum(score.n_malformed for score in scores),
        parts=dict(one.parts) if one else {},
        languages_missing=one.missing if one else (),
        correct_per_s=correct_per_s,
    )


def score_lookup(by_arm: Mapping[str, Mapping[Cell, Score]]) -> Scores:
    """Return a function from (metric, selection) to a score, as objectives ask for it.

    The metric is the task's own, one of the parts that it is made of, or ``f1`` for either of the two F1s.
    """

    def find(metric: str, where: Mapping[str, str]) -> float | None:
        chosen = [
            score
            for arm, cells in by_arm.items()
            for (task, language), score in cells.items()
            if where.get("arm", arm) == arm
            and where.get("task", task) == task
            and where.get("language", language) == language
        ]
        values = [value for score in chosen if (value := _named(score, metric)) is not None]
        return sum(values) / len(values) if values else None

    return find


def _named(score: Score, metric: str) -> float | None:
    if metric == score.metric.value or score.metric.value.endswith(f"_{metric}"):
        return score.value
    return score.parts.get(metric)
