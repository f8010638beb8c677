"""Dashboards against Grafana's own types, and queries against the grammar of Prometheus 3."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.grafana_tools import SOURCES, NodeTools, installed
from tests.deploy.panel_queries import load_dashboards, panel_queries
from tests.deploy.prometheus_rules import rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def node(project_root: Path) -> NodeTools:
    return installed(project_root / "var" / "cache")


def first(dashboard: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(panel for panel in dashboard["panels"] if panel["type"] == kind)
    return found


# One wrong key or value a copy of the service dashboard; all in one run, since the compiler starts slowly.
PLANTED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "board_key": (lambda d: d.update(titel="x"), "titel"),
    "schema_version": (lambda d: d.update(schemaVersion="41"), "'string' is not assignable"),
    "grid": (lambda d: first(d, "stat")["gridPos"].update(h="four"), "'string' is not assignable"),
    "panel_key": (lambda d: first(d, "stat").update(descripton="x"), "descripton"),
    "panel_option": (lambda d: first(d, "stat")["options"].update(colourMode="value"), "colourMode"),
    "option_value": (lambda d: first(d, "stat")["options"].update(colorMode="loud"), '"loud"'),
    "unit": (lambda d: first(d, "timeseries")["fieldConfig"]["defaults"].update(unit=7), "'number' is not"),
    "drawing": (
        lambda d: first(d, "timeseries")["fieldConfig"]["defaults"]["custom"].update(lineWith=2),
        "lineWith",
    ),
    "heat": (lambda d: first(d, "heatmap")["options"].update(calculat=False), "calculat"),
    "query_key": (lambda d: first(d, "heatmap")["targets"][0].update(legend="x"), "legend"),
    "query_format": (lambda d: first(d, "heatmap")["targets"][0].update(format="heat"), '"heat"'),
    "variable": (lambda d: d["templating"]["list"][1].update(includeall=True), "includeall"),
    "annotation": (lambda d: d["annotations"]["list"][0].update(title="x"), '"title"'),
    "row": (lambda d: first(d, "row").update(colapsed=False), "colapsed"),
    "link": (lambda d: d["links"][0].update(type="board"), '"board"'),
}


@pytest.mark.timeout(900)
def test_dashboards_have_grafanas_types_and_spoilt_ones_do_not(node: NodeTools, tmp_path: Path) -> None:
    dashboards = load_dashboards()
    spoilt = {}
    for name, (spoil, _) in PLANTED.items():
        copy = deepcopy(dashboards["service.json"])
        spoil(copy)
        spoilt[f"spoilt_{name}.json"] = copy
    errors = node.type_errors(dashboards | spoilt, tmp_path)
    assert [line for line in errors if not line.startswith("spoilt_")] == []
    for name, (_, complaint) in PLANTED.items():
        found = [line for line in errors if line.startswith(f"spoilt_{name}_board.ts")]
        assert len(found) == 1, f"{name}: {found}"
        assert complaint in found[0]


def test_queries_and_rules_are_promql_of_prometheus_3(node: NodeTools, tmp_path: Path) -> None:
    queries = [query.expr for query in panel_queries()] + [rule["expr"] for rule in rules()]
    planted = ["sum by (job (up)", "rate(up[5m]"]
    assert node.refused_queries([*queries, *planted], tmp_path) == planted


def test_the_lock_file_names_no_host() -> None:
    text = (SOURCES / "package-lock.json").read_text(encoding="utf-8")
    assert re.findall(r"https?://[^\"]+", text) == []
    assert text.count('"integrity"') == text.count('"node_modules/')
