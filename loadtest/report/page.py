"""What the page shows, put together before anything is written: figures, tables and words.

Rules: every number comes from the summary or from the study's record; the samples are read only for what is
drawn point by point (curves and the course of time). The page is complete without them being shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from loadtest.report import formats
from loadtest.report.chart_forest import forest_figure, is_cell
from loadtest.report.chart_latency import ArmCurves, latency_figure
from loadtest.report.chart_split import split_figure
from loadtest.report.chart_sweep import sweep_figure
from loadtest.report.chart_time import ArmSlices, time_figure
from loadtest.report.chart_tokens import tokens_figure
from loadtest.report.curves import latency_curve
from loadtest.report.headline import arm_tags, headline, percentiles_of
from loadtest.report.heat_map import heat_maps, task_title
from loadtest.report.numbers import downloads
from loadtest.report.ratio_map import ratio_map
from loadtest.report.records import Check
from loadtest.report.slices import time_slices
from loadtest.report.verdict import strip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loadtest.report.chart_style import Figure
    from loadtest.report.headline import ArmTag, TableRow
    from loadtest.report.heat_map import HeatMap
    from loadtest.report.numbers import Download
    from loadtest.report.records import Summary
    from loadtest.report.study_files import Pooling
    from loadtest.report.study_record import Comparison, StudyRecord
    from loadtest.report.verdict import Strip


FEW_ROWS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All that the template needs. ``figures`` by key; one that cannot be drawn is absent."""

    title: str
    strip: Strip
    summary: Summary
    study: StudyRecord | None
    checks: tuple[Check, ...]
    pooled: str
    arms_without_valid: tuple[str, ...]
    is_synthetic: bool
    unscored: tuple[str, ...]
    comparisons: tuple[tuple[str, tuple[Comparison, ...], bool], ...]
    arms: tuple[ArmTag, ...]
    tasks: tuple[tuple[str, tuple[TableRow, ...]], ...]
    percentiles: tuple[str, ...]
    figures: Mapping[str, Figure]
    maps: tuple[tuple[ArmTag | None, tuple[HeatMap, ...]], ...]
    design: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]
    redo: str
    downloads: tuple[Download, ...]


def build_page(  # noqa: PLR0913 - options by name
    summary: Summary,
    frame: pl.DataFrame,
    *,
    title: str,
    redo: str,
    study: StudyRecord | None = None,
    pooling: Pooling | None = None,
    told: Callable[[str, int, int], None] = lambda *_: None,
) -> Page:
    """Put a page together.

    ``frame``: the samples of ``examine``; ``redo``: the command that makes the page again; ``pooling``: which
    runs of a study are pooled into the figures.
    """
    tags = arm_tags(summary)
    return Page(
        title=title,
        strip=strip_of(summary, study),
        summary=summary,
        study=study,
        checks=summary.checks if study is None else _pooled_checks(summary.checks),
        pooled=pooling.sentence if pooling else "",
        arms_without_valid=pooling.arms_without_valid if pooling else (),
        is_synthetic=any(variant.synthetic for variant in summary.variants),
        unscored=_unscored(summary),
        comparisons=() if study is None else comparison_tables(study),
        arms=tags,
        tasks=headline(summary),
        percentiles=percentiles_of(summary),
        figures=_figures(summary, frame, study, told),
        maps=_maps(summary, tags, study),
        design=_flat(study.design) if study and study.design else (),
        provenance=_flat(summary.environment),
        redo=redo,
        downloads=downloads(summary, study),
    )


def _pooled_checks(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Say of each check in how many of a study's runs it passed."""
    pooled = []
    for name in dict.fromkeys(check.name for check in checks):
        same = [check for check in checks if check.name == name]
        known = [check for check in same if check.passed is not None]
        num_passed = sum(bool(check.passed) for check in known)
        worst = max((check for check in known if check.value is not None), key=_value, default=None)
        farthest = "" if worst is None else f", worst {worst.measured}"
        pooled.append(
            Check(
                name=name,
                passed=None if not known else num_passed == len(known),
                measured=f"in {num_passed} of {formats.plural(len(known), 'run')}{farthest}",
                allowed=same[0].allowed,
                sentence="",
            )
        )
    return tuple(pooled)


def _value(check: Check) -> float:
    return 0.0 if check.value is None else check.value


def _unscored(summary: Summary) -> tuple[str, ...]:
    """Say what the scores leave out."""
    qualities = [
        (task, group.quality)
        for arm in summary.by_arm.values()
        for task, group in arm.by_task.items()
        if group.quality is not None
    ]
    without_gold = sum(quality.num_without_gold for _, quality in qualities)
    unanswered = sum(quality.num_unanswered for _, quality in qualities)
    partial = sorted({task_title(task) for task, quality in qualities if quality.languages_missing})
    said = []
    if without_gold:
        said.append(f"{formats.plural(without_gold, 'answered item')} without gold: replayed and not scored.")
    if unanswered:
        said.append(f"{formats.plural(unanswered, 'item')} without an answer: scored as wrong.")
    if partial:
        said.append(
            f"Fewer languages than the benchmark's in {', '.join(partial)}: "
            "not comparable with published means."
        )
    return tuple(said)


def comparison_tables(study: StudyRecord) -> tuple[tuple[str, tuple[Comparison, ...], bool], ...]:
    """Return the tables of comparisons: a title, rows, and whether it is shown at once.

    Tasks and languages that no valid pair has a figure of are counted, not listed.
    """
    every = [one for one in study.comparisons if not is_cell(one)]
    every += filter(None, [study.capacity_ratio])
    whole = [one for one in every if one.log_ratio is not None or one.task is one.language is None]
    silent = len(every) - len(whole)
    without = f"; {_groups(silent)} without a figure in any valid pair" if silent else ""
    cells = [one for one in study.comparisons if is_cell(one)]
    tables = (
        (f"The same in numbers{without}", (*whole, *study.aa), len(whole) <= FEW_ROWS),
        ("Every task and language, to be explored", tuple(cells), False),
    )
    return tuple(table for table in tables if table[1])


def _groups(num: int) -> str:
    return formats.plural(num, "task or language", "tasks or languages")


def _figures(
    summary: Summary,
    frame: pl.DataFrame,
    study: StudyRecord | None,
    told: Callable[[str, int, int], None],
) -> dict[str, Figure]:
    by_arm = {name: frame.filter(pl.col("arm") == name) for name in summary.by_arm}
    builders: list[Callable[[], Figure | None]] = [
        lambda: latency_figure([_curves(name, rows, summary) for name, rows in by_arm.items()]),
        lambda: _split(summary),
        lambda: time_figure([_slices(name, rows) for name, rows in by_arm.items()]),
    ]
    if study is not None:
        builders += [
            lambda: forest_figure(study),
            lambda: sweep_figure(study.capacities),
            lambda: tokens_figure(study.token_fits),
        ]
    figures = {}
    for done, build in enumerate(builders):
        told("Drawing", done, len(builders))
        figure = build()
        if figure is not None:
            figures[figure.key] = figure
    return figures


def _split(summary: Summary) -> Figure | None:
    bands = {name: arm.bands for name, arm in summary.by_arm.items() if arm.bands}
    return split_figure(bands) if bands else None


def _curves(name: str, rows: pl.DataFrame, summary: Summary) -> ArmCurves:
    timed = rows.filter(~pl.col("failed"))
    sent = timed.filter(pl.col("service_s").is_not_null())
    group = summary.by_arm[name].overall
    return ArmCurves(
        arm=name,
        latency=latency_curve(timed["latency_s"].to_numpy(), timed["censored"].to_numpy()),
        service=latency_curve(sent["service_s"].to_numpy(), sent["censored"].to_numpy()),
        num_censored=group.num_censored,
        latency_s=group.latency_s,
        service_s=group.service_s,
    )


def _slices(name: str, rows: pl.DataFrame) -> ArmSlices:
    return ArmSlices(arm=name, slices=time_slices(rows, num_runs=rows["run"].n_unique()))


def _maps(
    summary: Summary, tags: tuple[ArmTag, ...], study: StudyRecord | None
) -> tuple[tuple[ArmTag | None, tuple[HeatMap, ...]], ...]:
    """Return the maps of each arm; a study's ratios first."""
    found: list[tuple[ArmTag | None, tuple[HeatMap, ...]]] = []
    if study is not None:
        ratios = [ratio_map(study.comparisons, tag.name) for tag in tags if tag.name != study.reference]
        found.append((None, tuple(filter(None, ratios))))
    for tag in tags:
        maps = heat_maps(summary.by_arm[tag.name].by_task_language, prefix=f"{tag.letter}-".lower())
        found.append((tag if len(tags) > 1 else None, maps))
    return tuple((tag, maps) for tag, maps in found if maps)


def _flat(value: object, prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Write nested values as lines of a name and a text; a table of plain values takes one line."""
    if isinstance(value, dict) and (not prefix or any(isinstance(one, dict) for one in value.values())):
        return tuple(line for key, inner in value.items() for line in _flat(inner, f"{prefix} {key}".strip()))
    return ((prefix.replace("_", " "), _plain(value)),)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1 else f"{value:,.2f}"
    return "not known" if value is None else str(value)
