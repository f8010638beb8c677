"""docs/observability.md: every alert and dashboard stands in it, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.deploy.metric_names import DESIGNED, exported_metrics
from tests.deploy.panel_queries import load_dashboards
from tests.deploy.prometheus_rules import alerts

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)


def test_every_alert_has_its_lines_and_no_lines_are_of_an_alert_that_is_gone() -> None:
    assert [heading for heading in HEADINGS if heading.startswith("Xlmr")] == list(alerts())


def test_every_dashboard_is_explained() -> None:
    assert set(re.findall(r"`/d/([\w-]+)`", TEXT)) == {board["uid"] for board in load_dashboards().values()}


ROW = re.compile(r"^\| `(xlmr_\w+)` \| (\w+) \| ([\w, ]*?) ?\| (.+) \|$", re.MULTILINE)


def test_the_table_of_metrics_is_that_of_the_service() -> None:
    """Name, type and labels; the load tester's own have a table of theirs."""
    told = {
        name: (kind, frozenset(filter(None, labels.split(", "))))
        for name, kind, labels, _ in ROW.findall(TEXT)
    }
    known = {
        metric.name: (metric.kind, frozenset(metric.labels))
        for metric in (*exported_metrics(), *DESIGNED)
        if metric.name.startswith("xlmr_") and not metric.name.startswith("xlmr_load_")
    }
    assert told == known


def test_links_within_the_page_lead_somewhere() -> None:
    anchors = {heading.lower().replace(" ", "-").replace(":", "").replace(",", "") for heading in HEADINGS}
    links = re.findall(r"\]\(#([\w-]+)\)", TEXT)
    assert links
    assert set(links) <= anchors


def test_files_that_it_names_exist() -> None:
    named = set(re.findall(r"\b(?:deploy|docs|scripts|tests|examples)/[\w./-]*[\w/]", TEXT))
    assert len(named) > 10
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_panels_that_it_names_exist() -> None:
    titles = {panel["title"] for board in load_dashboards().values() for panel in board["panels"]}
    # Panels stand in italics; so do a book and a page of Prometheus.
    named = set(re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", TEXT.replace("\n", " ")))
    assert named - titles == {"The Site Reliability Workbook", "Status > Targets"}
