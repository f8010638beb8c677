"""The page's numbers as tables in CSV, kept inside the page: whoever has the file can compute with them.

Rules: times in seconds, rates a second, unrounded; a figure that cannot be given is an empty field, never a
zero. One row a group of requests, or a comparison.
"""

from __future__ import annotations

import base64
import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.report.records import Group, Summary
    from loadtest.report.study_record import Comparison, StudyRecord

PERCENTILES = ("mean", "p50", "p95", "p99", "max")
GROUP_HEAD = (
    *("arm", "task", "language", "n", "answered", "errors", "unfinished"),
    *(f"latency_{name}_s" for name in PERCENTILES),
    *("latency_lower_bounds", "service_p50_s", "throughput_per_s", "mean_tokens", "metric", "score"),
)
COMPARISON_HEAD = (
    *(
        "comparison",
        "measure",
        "arm",
        "reference",
        "task",
        "language",
        "primary",
        "pairs",
        "ratio",
        "low",
        "high",
        "confidence",
    ),
    *("margin_low", "margin_high", "p_value", "p_equivalence", "correction", "verdict"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file inside the page: ``href`` is a data URL that a browser saves as ``name``."""

    name: str
    title: str
    href: str


def downloads(summary: Summary, study: StudyRecord | None) -> tuple[Download, ...]:
    """Return the tables of a page: its groups of requests, and a study's comparisons."""
    tables = [("groups.csv", "every arm, task and language", csv_of(GROUP_HEAD, _groups(summary)))]
    if study is not None:
        compared = [*study.comparisons, *filter(None, [study.capacity_ratio]), *study.aa]
        rows = map(_comparison, compared)
        tables.append(("comparisons.csv", "every comparison", csv_of(COMPARISON_HEAD, rows)))
    return tuple(Download(name=name, title=title, href=_data_url(text)) for name, title, text in tables)


def csv_of(head: Sequence[str], rows: Iterator[tuple[object, ...]]) -> str:
    """Return a table as CSV (RFC 4180); None is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()


def _groups(summary: Summary) -> Iterator[tuple[object, ...]]:
    for arm, figures in summary.by_arm.items():
        yield _group(arm, "", "", figures.overall)
        for task, group in figures.by_task.items():
            yield _group(arm, task, "", group)
        for language, group in figures.by_language.items():
            yield _group(arm, "", language, group)
        for task, cells in figures.by_task_language.items():
            for language, group in cells.items():
                yield _group(arm, task, language, group)


def _group(arm: str, task: str, language: str, group: Group) -> tuple[object, ...]:
    quality = group.quality
    return (
        *(arm, task, language, group.n, group.num_answered, group.errors.num, group.num_censored),
        *(getattr(group.latency_s, name) for name in PERCENTILES),
        *(" ".join(group.latency_s.lower_bounds), group.service_s.p50),
        *(group.throughput_per_s, group.tokens.mean),
        *((None, None) if quality is None else (quality.metric, quality.score)),
    )


def _comparison(one: Comparison) -> tuple[object, ...]:
    interval, margin = one.interval, one.margin
    return (
        *(one.name, one.measure, one.arm, one.reference, one.task, one.language),
        *("yes" if one.primary else "no", one.num_pairs),
        None if one.log_ratio is None else math.exp(one.log_ratio),
        *((None,) * 3 if interval is None else (*_ends(interval.low, interval.high), interval.confidence)),
        *((None,) * 2 if margin is None else _ends(margin.low, margin.high)),
        *(one.p_value, one.p_equivalence, one.correction.value, one.word.value),
    )


def _ends(low: float, high: float) -> tuple[float, float]:
    return math.exp(low), math.exp(high)


def _data_url(text: str) -> str:
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(text.encode()).decode('ascii')}"
