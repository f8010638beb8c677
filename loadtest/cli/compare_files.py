"""A comparison with a baseline as files for CI pages: Markdown for people, JUnit XML for the list of tests.

Rules: a regression is a failure, a measure that is worse than the caller's own factor too; what is
inconclusive or could not be compared is skipped, never passed.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from loadtest.analysis.equivalence import Verdict
from loadtest.report import formats
from loadtest.report.junit import add_suite
from loadtest.report.markdown import escape, table

if TYPE_CHECKING:
    from collections.abc import Collection

    from loadtest.study.against_baseline import Against, Change

SUITE = "comparison with the baseline"
HEAD = ("measure", "ratio", "95 % interval", "margin", "verdict")


def markdown_of(found: Against, worse: Collection[Change]) -> str:
    """Return a comparison as GitHub-flavoured Markdown; ``worse``: what fails the command."""
    sign = "❌ REGRESSION" if worse else "ℹ️ INCONCLUSIVE" if found.open else "✅ NO REGRESSION"  # noqa: RUF001 - a sign
    rows = [(change.measure.value, *cells(change)) for change in found.changes]
    blocks = [
        f"## {sign}: B over A, {formats.plural(found.num_pairs, 'pair')}",
        "\n".join(f"> compared: {escape(text)}" for text in found.arms),
        "\n".join(f"> unlike: {escape(text)}" for text in found.unlike),
        "\n".join(f"> note: {escape(text)}" for text in found.notes),
        table(HEAD, rows, numbers=slice(1, 4)),
        "Above 1 is slower for a latency, and faster for a rate. All share one chance of a false alarm.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def junit_of(found: Against, worse: Collection[Change]) -> str:
    """Return a comparison as a JUnit document; ``worse``: what fails the command."""
    root = ET.Element("testsuites", name="xlmr-load")
    cases = [_case(change, is_worse=change in worse) for change in found.changes]
    add_suite(root, SUITE, [*_unlike(found), *cases])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _unlike(found: Against) -> list[ET.Element]:
    """Return a case that is skipped, and says so, where the runs were compared although they are unlike."""
    if not found.unlike:
        return []
    case = ET.Element("testcase", classname="comparison", name="two measurements of one thing")
    ET.SubElement(case, "skipped", message=f"unlike: {'; '.join(found.unlike)}")
    return [case]


def cells(change: Change) -> tuple[str, str, str, str]:
    """Return ratio, interval, margin and verdict of one measure as words."""
    if change.ratio is None or change.found is None:
        return "-", "-", "-", "too few"
    ends, margins = change.found.interval, change.found.margins
    interval = "none: one pair" if ends is None else f"{math.exp(ends.low):.3f} to {math.exp(ends.high):.3f}"
    margin = f"{math.exp(margins.low):.3f} to {math.exp(margins.high):.3f}"
    return f"{change.ratio:.3f}", interval, margin, change.found.verdict.value


def _case(change: Change, *, is_worse: bool) -> ET.Element:
    case = ET.Element("testcase", classname="comparison", name=change.measure.value)
    ratio, interval, _, verdict = cells(change)
    said = f"{verdict}: {ratio} times the baseline's (95 % interval {interval})"
    if is_worse:
        ET.SubElement(case, "failure", message=said, type="regression")
    elif change.found is None or change.found.verdict is Verdict.INCONCLUSIVE:
        ET.SubElement(case, "skipped", message=said)
    return case
