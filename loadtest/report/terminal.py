"""The report in a terminal: a verdict, a table of arms and tasks, and what a reader must know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from loadtest.report import formats
from loadtest.report.headline import ALL_TASKS, PERCENTILES, arm_tags, headline
from loadtest.report.summary import read_summary
from loadtest.report.verdict import Tone, key_figures, strip_of

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from loadtest.report.headline import ArmTag, TableRow
    from loadtest.report.records import Summary
    from loadtest.report.study_record import StudyRecord

STYLES = {Tone.GOOD: "green", Tone.BAD: "red", Tone.WARN: "yellow", Tone.NEUTRAL: "blue"}
UNBOUNDED = 10_000  # columns, to ask a table for its natural width
CAPTION = (
    f"{formats.MISSING} too few requests: {formats.takes(PERCENTILES)}. "
    "rate: answered a second; failed: errors and unfinished"
)
ARM_STYLES = ("blue", "dark_orange", "green", "magenta")


def print_report(console: Console, summary: Summary, study: StudyRecord | None = None) -> None:
    """Print verdict, notes and the headline table; nothing wider than the console."""
    strip = strip_of(summary, study)
    style = STYLES[strip.tone]
    said = Text.assemble((f"{strip.word.upper()}  ", f"bold {style}"), strip.sentence, "\n")
    said.append(key_figures(summary, study), style="dim")
    console.print(Panel(said, border_style=style))
    for reason in summary.reasons:
        console.print(Text(f"not valid: {reason}", style="yellow"))
    for note in summary.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    console.print(headline_table(summary, console))


def print_study(record: StudyRecord, folder: Path, console: Console) -> None:
    """Print the table of arms and tasks of a study whose summary lies in ``folder``, and what to know of it.

    Raises:
        ReportError: the folder holds no summary.
    """
    summary = read_summary(folder)
    for note in (*summary.notes, *record.reasons):
        console.print(Text(f"note: {note}", style="yellow"))
    console.print(headline_table(summary, console))


def headline_table(summary: Summary, console: Console) -> Table:
    """Return the table of arms and tasks in the fullest form that fits the console."""
    unbounded = console.options.update(width=UNBOUNDED)
    for named in (True, False):
        table = _table(summary, named=named, figures=("mean", *PERCENTILES))
        if console.measure(table, options=unbounded).maximum <= console.width:
            return table
    return _table(summary, named=False, figures=PERCENTILES)


def _table(summary: Summary, *, named: bool, figures: tuple[str, ...]) -> Table:
    """Build the table; where arms are not named, letters stand for them."""
    tags = arm_tags(summary)
    several = len(tags) > 1
    table = Table(
        title="Latency and throughput by task",
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in ("task", "arm") if several else ("task",):
        table.add_column(name, no_wrap=True)
    for name in ("n", *figures, "rate", "failed", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    for task, rows in headline(summary):
        if task == ALL_TASKS:
            table.add_section()
        for place, row in enumerate(rows):
            arm = (_arm(row.arm, named=named),) if several else ()
            style = "bold" if task == ALL_TASKS else None
            table.add_row(task if place == 0 else "", *arm, *_figures(row, figures), style=style)
    legend = "  ".join(f"{tag.letter}: {tag.name}" for tag in tags)
    table.caption = CAPTION if named or not several else f"{legend}\n{CAPTION}"
    table.caption_justify = "left"
    return table


def _arm(tag: ArmTag, *, named: bool) -> Text:
    style = ARM_STYLES[(ord(tag.letter) - ord("A")) % len(ARM_STYLES)]
    return Text(tag.name if named else tag.letter, style=style)


def _figures(row: TableRow, shown: tuple[str, ...]) -> tuple[str, ...]:
    group = row.group
    return (
        formats.count(group.n),
        *(formats.percentile(group.latency_s, name) for name in shown),
        formats.rate(group.throughput_per_s),
        formats.count(group.errors.num + group.num_censored),
        formats.score(group.quality.score if group.quality else None),
    )
