"""Task by language: ratios of one arm to the reference, from a study's record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.report import formats
from loadtest.report.heat_map import LEVELS, HeatCell, HeatMap, language_order, task_order, task_title

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadtest.report.study_record import Comparison


def ratio_map(comparisons: Iterable[Comparison], arm: str) -> HeatMap | None:
    """Return the ratios of an arm to the reference by task and language, marked where they stay different."""
    found = {
        (comparison.task, comparison.language): comparison
        for comparison in comparisons
        if comparison.task and comparison.language and comparison.arm == arm
    }
    known = [abs(c.log_ratio) for c in found.values() if c.log_ratio is not None]
    if not known:
        return None
    tasks = task_order({task for task, _ in found if task})
    languages = language_order({language for _, language in found if language})
    largest = max(known) or 1.0

    def cell(task: str, language: str) -> HeatCell | None:
        comparison = found.get((task, language))
        return None if comparison is None else _cell(comparison, largest)

    return HeatMap(
        key="ratio",
        title="ratio of latency",
        caption=f"{arm} to the reference; * stays different from 1 after correction; n counts pairs",
        scale="both",
        tasks=tasks,
        rows=tuple((language, tuple(cell(task, language) for task in tasks)) for language in languages),
        low=formats.ratio_change(-largest),
        high=formats.ratio_change(largest),
    )


def _cell(comparison: Comparison, largest: float) -> HeatCell:
    """Shade a ratio between the largest either way; no difference is in the middle."""
    ratio = comparison.log_ratio
    text = formats.ratio_change(ratio)
    place = f"{task_title(comparison.task or '')}, {comparison.language}"
    corrected = " after correction" if comparison.marked else ""
    return HeatCell(
        text=text,
        n=comparison.num_pairs,
        level=None if ratio is None else round((ratio / largest + 1) / 2 * (LEVELS - 1)),
        mark="*" if comparison.marked else "",
        words=f"{place}: ratio {text}, {comparison.word}{corrected}",
    )
