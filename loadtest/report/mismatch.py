"""Answers under load against those that the unloaded server gave for the same items, cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.analysis.scoring import Agreement, agreement
from loadtest.report.records import Mismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl

    from loadtest.analysis.scoring import Answer, Tolerance
    from loadtest.report.quality import Cell


def unloaded_answers(frame: pl.DataFrame, answers: Mapping[int, Answer]) -> dict[str, Answer]:
    """Return the first answer of each item of the unloaded run."""
    first: dict[str, Answer] = {}
    for row, item in frame.select("row", "item").iter_rows():
        if row in answers:
            first.setdefault(item, answers[row])
    return first


def compare_cells(
    frame: pl.DataFrame,
    answers: Mapping[int, Answer],
    unloaded: Mapping[str, Answer],
    tolerances: Mapping[str, Tolerance],
) -> dict[Cell, Agreement]:
    """Compare every answer given under load with the unloaded one of its item, by task and language.

    ``tolerances``: by variant, of those that are not held to the usual bound.
    """
    found: dict[Cell, Agreement] = {}
    for names, rows in frame.group_by(["task", "language"], maintain_order=True):
        task, language = (str(name) for name in names)
        pairs = (
            (item, answers[row]) for row, item in rows.select("row", "item").iter_rows() if row in answers
        )
        tolerance = tolerances.get(str(rows["variant"][0]))
        found[task, language] = agreement(unloaded, pairs, tolerance)
    return found


def pooled_mismatch(agreements: Iterable[Agreement]) -> Mismatch | None:
    """Add up cells; None where there are none."""
    cells = list(agreements)
    if not cells:
        return None
    compared = sum(cell.n_compared for cell in cells)
    different = sum(len(cell.mismatched) for cell in cells)
    return Mismatch(
        num_compared=compared,
        num_without_reference=sum(cell.n_without_reference for cell in cells),
        num_different=different,
        ratio=different / compared if compared else None,
        largest_difference=max(cell.largest_difference for cell in cells),
    )
