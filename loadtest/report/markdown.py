"""The report in Markdown, for the summary page of a CI job."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from loadtest.report import formats
from loadtest.report.headline import ALL_TASKS, PERCENTILES, headline
from loadtest.report.no_interval import why_no_interval
from loadtest.report.verdict import Tone, key_figures, strip_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from loadtest.report.records import Summary
    from loadtest.report.study_record import StudyRecord

SIGNS = {Tone.GOOD: "✅", Tone.BAD: "❌", Tone.WARN: "⚠️", Tone.NEUTRAL: "ℹ️"}  # noqa: RUF001 - signs
NO_COLUMN = slice(0, 0)
MET = {True: "✅ met", False: "❌ missed", None: "cannot be told"}


def markdown_of(summary: Summary, title: str, study: StudyRecord | None = None) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    strip = strip_of(summary, study)
    blocks = [
        f"## {SIGNS[strip.tone]} {strip.word.upper()}: {escape(title)}",
        f"**{escape(strip.sentence)}**",
        escape(study.verdict.paragraph) if study else "",
        escape(key_figures(summary, study)),
        "\n>\n".join(f"> {escape(note)}" for note in summary.notes),
        "\n".join(_reasons(summary)),
        _objectives(summary),
        _headline(summary),
        _comparisons(study) if study else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _reasons(summary: Summary) -> Iterator[str]:
    if summary.reasons:
        yield "### Why the run is not valid\n"
        yield from (f"- {escape(reason)}" for reason in summary.reasons)


def _objectives(summary: Summary) -> str:
    if not summary.objectives:
        return ""
    rows = [(_code(one.objective), MET[one.met], escape(one.sentence)) for one in summary.objectives]
    return "### Objectives\n\n" + table(("objective", "result", "what was found"), rows)


def _headline(summary: Summary) -> str:
    several = len(summary.by_arm) > 1
    rows, shown = [], ("mean", *PERCENTILES)
    for task, arms in headline(summary):
        for row in arms:
            group = row.group
            cells = (
                escape(task),
                *((escape(row.arm.name),) if several else ()),
                formats.count(group.n),
                *(formats.percentile(group.latency_s, name) for name in shown),
                formats.rate(group.throughput_per_s),
                formats.count(group.errors.num + group.num_censored),
                formats.score(group.quality.score if group.quality else None),
            )
            rows.append(tuple(f"**{cell}**" for cell in cells) if task == ALL_TASKS else cells)
    head = ("task", *(("arm",) if several else ()), "n", *shown, "rate", "failed", "score")
    return "### Tasks\n\n" + table(head, rows, numbers=slice(2 if several else 1, None))


def _comparisons(study: StudyRecord) -> str:
    shown = [one for one in study.comparisons if one.task is None or one.language is None]
    shown = [one for one in shown if one.log_ratio is not None or one.task is one.language is None]
    shown += filter(None, [study.capacity_ratio])
    if not shown:
        return ""
    rows = [
        (
            escape(one.name),
            formats.ratio_change(one.log_ratio),
            f"{formats.ratio_change(one.interval.low)} to {formats.ratio_change(one.interval.high)}"
            if one.interval
            else escape(f"none: {why_no_interval(one)}"),
            str(one.num_pairs),
            one.word.value,
        )
        for one in shown
    ]
    interval = formats.interval_head(one.interval for one in shown)
    head = ("comparison", "ratio", interval, "pairs", "verdict")
    return f"### Ratios to {escape(study.reference)}\n\n" + table(head, rows, numbers=slice(1, 4))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: slice = NO_COLUMN) -> str:
    """Write a table; the columns of ``numbers`` are set to the right."""
    rule = ["---"] * len(head)
    rule[numbers] = ["---:"] * len(rule[numbers])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def escape(text: str) -> str:
    """Keep text of runs and traces from being read as Markdown or HTML."""
    for sign in "\\`*_{}[]|#~":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(html.escape(text, quote=False).split())


def _code(text: str) -> str:
    """Set text in a code span that a table can hold."""
    return f"`{text.replace('`', chr(39)).replace('|', '/')}`"
