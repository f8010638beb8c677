"""Figures of every group of requests: all, by task, by language, by both, by arm.

Rules: each group is measured from its own samples, never from other groups' figures; scores and mismatches
are added up from their cells. Over several arms no overall score is given: it would average them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from loadtest.report.bands import time_bands
from loadtest.report.measure import Window, measure
from loadtest.report.mismatch import pooled_mismatch
from loadtest.report.quality import cell_quality, pooled_quality
from loadtest.report.records import ArmSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadtest.analysis.scoring import Agreement, Score
    from loadtest.report.quality import Cell
    from loadtest.report.records import Group, Mismatch, Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What is known of one arm's answers: scores and agreement by cell."""

    scores: Mapping[Cell, Score]
    agreements: Mapping[Cell, Agreement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """The samples of one or more runs, and all that a group's figures need besides them.

    ``frame``: with durations and ``correct``, which is null where an answer could not be scored.
    """

    frame: pl.DataFrame
    window_of: Callable[[pl.DataFrame], Window]
    verdicts: Mapping[str, Verdicts]
    objective_s: float | None

    def overall(self) -> Group:
        """Measure all requests."""
        return self._group(self.frame, self._window())

    def by(self, column: str) -> dict[str, Group]:
        """Measure each value of a column, in alphabetical order."""
        window = self._window()
        return {name: self._group(rows, window) for name, rows in _parts(self.frame, column)}

    def by_task_language(self) -> dict[str, dict[str, Group]]:
        """Measure each cell."""
        window = self._window()
        return {
            task: {language: self._group(cell, window) for language, cell in _parts(rows, "language")}
            for task, rows in _parts(self.frame, "task")
        }

    def by_arm(self) -> dict[str, ArmSummary]:
        """Measure each arm by itself, in the order in which arms appear."""
        found = {}
        for arm in self.frame["arm"].unique(maintain_order=True):
            one = Grouping(
                frame=self.frame.filter(pl.col("arm") == arm),
                window_of=self.window_of,
                verdicts={arm: self.verdicts[arm]} if arm in self.verdicts else {},
                objective_s=self.objective_s,
            )
            found[str(arm)] = ArmSummary(
                overall=one.overall(),
                by_task=one.by("task"),
                by_language=one.by("language"),
                by_task_language=one.by_task_language(),
                bands=time_bands(one.frame),
            )
        return found

    def _window(self) -> Window:
        return self.window_of(self.frame)

    def _group(self, rows: pl.DataFrame, window: Window) -> Group:
        cells = set(rows.select("task", "language").unique().iter_rows())
        return measure(
            rows,
            window,
            objective_s=self.objective_s,
            quality=self._quality(rows, cells, window),
            mismatch=self._mismatch(cells),
        )

    def _quality(self, rows: pl.DataFrame, cells: set[Cell], window: Window) -> Quality | None:
        if len(self.verdicts) != 1:
            return None
        (verdicts,) = self.verdicts.values()
        scores = [verdicts.scores[cell] for cell in sorted(cells) if cell in verdicts.scores]
        right = rows.filter(pl.col("answered") & pl.col("correct"))
        if self.objective_s is not None:
            right = right.filter(pl.col("latency_s") <= self.objective_s)
        correct_per_s = right.height / window.makespan_s if window.makespan_s and scores else None
        if len(scores) == 1:
            return cell_quality(scores[0], correct_per_s)
        return pooled_quality(scores, correct_per_s)

    def _mismatch(self, cells: set[Cell]) -> Mismatch | None:
        found = [
            verdicts.agreements[cell]
            for verdicts in self.verdicts.values()
            for cell in sorted(cells)
            if cell in verdicts.agreements
        ]
        return pooled_mismatch(found)


def _parts(frame: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    parts = frame.partition_by(column, as_dict=True)
    return sorted((str(key), rows) for (key,), rows in parts.items())
