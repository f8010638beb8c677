"""The committed dashboards: current, by the conventions, and where Grafana looks for them."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from scripts.dashboards.build import BOARDS, FOLDER, dashboard_files
from tests.deploy.dashboard_lint import faults
from tests.deploy.panel_queries import load_dashboards

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DASHBOARDS = load_dashboards()


def test_the_committed_files_are_those_that_the_code_writes() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == dict(dashboard_files())


def build(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.dashboards.build", *options]
    folder = FOLDER.parents[2]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, timeout=300)


def test_check_names_the_file_that_is_not_current(tmp_path: Path) -> None:
    assert build("--out", str(tmp_path)).returncode == 0
    (tmp_path / "gpu.json").write_text("{}")
    result = build("--out", str(tmp_path), "--check")
    assert result.returncode == 1
    assert "gpu.json is not current; run: python -m scripts.dashboards.build" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_keeps_the_conventions(name: str) -> None:
    assert faults(DASHBOARDS[name]) == []


def test_uids_and_titles_are_unique() -> None:
    for key in ("uid", "title"):
        assert len({dashboard[key] for dashboard in DASHBOARDS.values()}) == len(BOARDS)


def _panel(dashboard: dict[str, Any]) -> dict[str, Any]:
    panel: dict[str, Any] = dashboard["panels"][1]
    return panel


def _expr(text: str) -> Callable[[dict[str, Any]], None]:
    return lambda dashboard: _panel(dashboard)["targets"][0].update(expr=text)


BOUND = 'job=~"$job", instance=~"$instance"'
SPOILT: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "uid": (lambda d: d.update(uid="abc123"), "the uid is not stable"),
    "id": (lambda d: d.update(id=7), "an id is for Grafana to give"),
    "schema": (lambda d: d.update(schemaVersion=36), "the schema version"),
    "tag": (lambda d: d.update(tags=[]), "the tag xlmr is missing"),
    "title of the board": (lambda d: d.update(title=""), "a title or a description is missing"),
    "no data source": (lambda d: d["templating"]["list"].pop(0), "no variable `datasource`"),
    "no job": (lambda d: d["templating"]["list"].pop(1), "no variable `job`"),
    "single instance": (lambda d: d["templating"]["list"][2].update(multi=False), "no variable `instance`"),
    "stale variable": (lambda d: d["templating"]["list"][1].update(refresh=1), "is not read again"),
    "variable's source": (
        lambda d: d["templating"]["list"][1].update(datasource=None),
        "another data source",
    ),
    "nameless variable": (lambda d: d["templating"]["list"][1].pop("label"), "no label or description"),
    "unknown variable": (
        _expr(f'sum (xlmr_ready{{{BOUND}, x=~"$nowhere"}})'),
        "'nowhere' is used and not there",
    ),
    "twin ids": (lambda d: _panel(d).update(id=1), "ids are missing or not unique"),
    "no ids": (lambda d: _panel(d).pop("id"), "ids are missing or not unique"),
    "overlap": (lambda d: _panel(d)["gridPos"].update(w=20), "overlap or leave a gap"),
    "gap": (lambda d: _panel(d)["gridPos"].update(w=1), "overlap or leave a gap"),
    "untitled": (lambda d: _panel(d).update(title=""), "it has no title"),
    "unexplained": (lambda d: _panel(d).pop("description"), "its description is missing"),
    "own source": (lambda d: _panel(d).update(datasource={"uid": "x"}), "its data source is not the chosen"),
    "no unit": (lambda d: _panel(d)["fieldConfig"]["defaults"].pop("unit"), "its unit is missing"),
    "wrong unit": (lambda d: _panel(d)["fieldConfig"]["defaults"].update(unit="secs"), "its unit is missing"),
    "no query": (lambda d: _panel(d).update(targets=[]), "it has no query"),
    "twin letters": (
        lambda d: _panel(d)["targets"].append(_panel(d)["targets"][0]),
        "two queries have one letter",
    ),
    "query's source": (lambda d: _panel(d)["targets"][0].update(datasource=None), "query A: its data source"),
    "not PromQL": (_expr("sum (xlmr_ready"), "it does not parse"),
    "unbound": (_expr('sum (xlmr_ready{job=~"$job"})'), "xlmr_ready is not bound"),
    "fixed window": (_expr(f"sum (rate(xlmr_inputs_total{{{BOUND}}}[5m]))"), "[5m] is fixed"),
    "raw counter": (_expr(f"sum (xlmr_inputs_total{{{BOUND}}})"), "xlmr_inputs_total is not rated"),
    "single rates": (
        _expr(f"rate(xlmr_inputs_total{{{BOUND}}}[$__rate_interval])"),
        "the rate of xlmr_inputs_total is not summed",
    ),
    "no buckets": (
        _expr(
            "histogram_quantile(0.9, sum by (variant) "
            f"(rate(xlmr_request_duration_seconds_bucket{{{BOUND}}}[$__rate_interval])))"
        ),
        "summed over le",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_dashboard_is_found_out(name: str) -> None:
    spoil, complaint = SPOILT[name]
    dashboard = deepcopy(DASHBOARDS["service.json"])
    spoil(dashboard)
    found = faults(dashboard)
    assert [fault for fault in found if complaint in fault], found


def test_grafana_finds_the_dashboards_and_their_source(project_root: Path) -> None:
    folder = project_root / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "xlmr.yml").read_text())["providers"]
    scrape = yaml.safe_load((project_root / "deploy" / "prometheus" / "prometheus.yml").read_text())
    assert source["uid"] == "xlmr-prometheus"
    assert source["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]
    assert provider["allowUiUpdates"] is False
    compose = yaml.safe_load((project_root / "docker-compose.yml").read_text())
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
