"""One self-contained page: no script, no request to anywhere, light, dark and on paper.

Rules: everything is inside the file; a Content-Security-Policy forbids the rest; text from runs and traces is
escaped, only drawings are not: they come from chart_style, and Vega escapes their labels.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from loadtest.analysis.percentiles import MIN_BEYOND
from loadtest.report import formats
from loadtest.report.examine import examine
from loadtest.report.heat_map import task_title
from loadtest.report.measure import PERCENTILES
from loadtest.report.no_interval import num_probes, why_no_interval
from loadtest.report.page import build_page
from loadtest.report.run_files import read_reference, read_run
from loadtest.report.study_files import is_study, read_study
from loadtest.report.summary import save_summary, summarise
from loadtest.report.verdict import key_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtest.report.page import Page
    from loadtest.report.records import Summary

REPORT_FILE = "report.html"
TINY = re.compile(r"\d(\.\d+)?e-\d+ %")  # three digits take an exponent from 0.0001 down
UNIT = re.compile(r"(?<=\d) (?=(ms|s|%)(?!\w))")


def write_report(
    folder: Path,
    reference_dir: Path | None = None,
    *,
    objectives: Sequence[str] | None = None,
    told: Callable[[str, int, int], None] = lambda *_: None,
) -> Path:
    """Write ``summary.json`` and ``report.html`` of a run or of a study; return the page's path.

    ``reference_dir``: a run of the same arm against the unloaded server, for the mismatch of answers; a study
    names its own. ``objectives``: instead of those that the run was made with. ``told`` hears (what is being
    done, how much is done, of how much).

    Raises:
        ReportError: a file is missing or damaged, or an objective cannot be read.
    """
    told("Reading files", 0, 1)
    found = read_study(folder) if is_study(folder) else None
    runs = found.runs if found else (read_run(folder),)
    references = found.references if found else ()
    if reference_dir is not None:
        references = (read_reference(reference_dir, runs),)
    told("Reading files", 1, 1)
    examined = examine(runs, references, objectives, told)
    summary = summarise(runs, examined)
    save_summary(folder, summary)
    page = build_page(
        summary,
        examined.frame,
        title=found.record.name if found else _run_title(summary),
        redo=f"xlmr-load report {shlex.quote(folder.resolve().name)}",
        study=found.record if found else None,
        pooling=found.pooling if found else None,
        told=told,
    )
    return save_page(folder, page)


def _run_title(summary: Summary) -> str:
    return f"{', '.join(summary.by_arm)} on {summary.trace.get('name', 'an unknown trace')}"


def save_page(folder: Path, page: Page) -> Path:
    """Write a page and return its path."""
    path = folder / REPORT_FILE
    path.write_text(render(page), encoding="utf-8")
    return path


def render(page: Page) -> str:
    """Return the page as HTML."""
    environment = Environment(
        loader=PackageLoader("loadtest.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        seconds=formats.seconds,
        milliseconds=formats.milliseconds,
        number=formats.number,
        rate=formats.rate,
        count=formats.count,
        percent=formats.percent,
        score=formats.score,
        ratio=formats.ratio_change,
        plural=formats.plural,
        task=task_title,
        signs=signs,
        moment=formats.moment,
    )
    environment.globals.update(
        percentile=formats.percentile,
        percentile_ms=formats.percentile_ms,
        key_figures=key_figures,
        interval_head=formats.interval_head,
        why_no_interval=why_no_interval,
        write_number=formats.number,
        write_ratio=formats.ratio_change,
        num_probes=num_probes,
        percentiles_take=formats.takes(name for name, _ in PERCENTILES),
        min_beyond=MIN_BEYOND,
        missing=formats.MISSING,
    )
    return environment.get_template("report.html.j2").render(page=page)


def signs(text: str) -> str:
    """Write comparison signs and tiny shares as people do, and keep units with their numbers."""
    text = text.replace("<=", "\N{LESS-THAN OR EQUAL TO}").replace(">=", "\N{GREATER-THAN OR EQUAL TO}")
    return UNIT.sub(formats.THIN_SPACE, TINY.sub("< 0.0001 %", text))
