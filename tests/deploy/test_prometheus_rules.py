"""Scrape configuration and rules, held against Prometheus' own tool and against the service."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from service.observability.metrics import SECONDS_EDGES
from tests.deploy.metric_names import known_metrics
from tests.deploy.panel_queries import load_dashboards
from tests.deploy.prometheus_rules import (
    FOLDER,
    RULE_FILES,
    alerts,
    groups,
    read_names,
    recorded,
    recorded_labels,
    rules,
    write_hurried_rules,
)
from tests.deploy.promql import calls, selectors
from tests.deploy.synthetic_series import answers, evaluate, silent

CASES = sorted((Path(__file__).parent / "promtool").glob("*.yml"))
ALERTS = alerts()
EACH_ALERT = pytest.mark.parametrize("name", ALERTS)
HOURS = {"5m": 1 / 12, "30m": 0.5, "1h": 1, "2h": 2, "6h": 6, "1d": 24, "3d": 72}
MONTH_H = 30 * 24


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def test_prometheus_accepts_its_configuration(promtool: str) -> None:
    result = run(promtool, "check", "config", str(FOLDER / "prometheus.yml"))
    assert result.returncode == 0, result.stderr
    assert f"{len(RULE_FILES)} rule files found" in result.stdout


def test_a_broken_rule_is_refused(promtool: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "prometheus")
    file = tmp_path / "prometheus" / "rules" / "alerts.yml"
    file.write_text(file.read_text().replace("xlmr_ready == 0", "xlmr_ready = 0"))
    assert run(promtool, "check", "config", str(tmp_path / "prometheus" / "prometheus.yml")).returncode != 0


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_rules_do_what_their_cases_say(promtool: str, case: Path) -> None:
    result = run(promtool, "test", "rules", str(case))
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_a_case_where_it_fires_and_one_where_it_keeps_still() -> None:
    fires, still = set[str](), set[str]()
    for case in CASES:
        for test in yaml.safe_load(case.read_text())["tests"]:
            for expected in test["alert_rule_test"]:
                (fires if expected["exp_alerts"] else still).add(expected["alertname"])
    assert fires == set(ALERTS)
    assert still == set(ALERTS)


def test_cases_evaluate_groups_in_the_order_in_which_they_depend() -> None:
    # promtool takes groups in any order where none is given, which makes a case pass by chance.
    for case in CASES:
        assert yaml.safe_load(case.read_text())["group_eval_order"] == groups(), case.name


def test_rules_read_known_series_by_labels_that_they_have() -> None:
    labels = {name: metric.labels_of(name) for name, metric in known_metrics().items()} | recorded_labels()
    for rule in rules():
        for selector in selectors(rule["expr"]):
            assert selector.name in labels, f"{selector.name} is no metric of this project"
            assert selector.matchers.keys() <= labels[selector.name]


def test_outcomes_and_reasons_in_rules_exist() -> None:
    from service.api.problems import REASONS  # noqa: PLC0415 - only here
    from service.domain import Result  # noqa: PLC0415 - only here

    known = {
        "outcome": {result.value for result in Result},
        "reason": set(REASONS),
        "result": {"ok", "failed"},
    }
    for rule in rules():
        for selector in selectors(rule["expr"]):
            for label in known.keys() & selector.matchers.keys():
                assert set(selector.matchers[label].split("|")) <= known[label]


def test_every_recorded_series_is_read_by_a_rule_or_a_dashboard() -> None:
    text = " ".join(rule["expr"] for rule in rules()) + " ".join(map(str, load_dashboards().values()))
    assert [name for name in recorded() if text.count(name) == 0] == []


def test_the_latency_threshold_is_one_number_and_a_bucket_edge() -> None:
    (expr,) = recorded()["xlmr:objective_latency:seconds"]
    (vector,) = calls(expr, "vector")
    threshold = vector.args[0].val
    assert threshold in SECONDS_EDGES
    edges = [
        selector.matchers["le"]
        for rule in rules()
        for selector in selectors(rule["expr"])
        if "le" in selector.matchers
    ]
    assert edges == [str(threshold)]


@pytest.mark.parametrize("kind", ["availability", "latency"])
def test_burn_rates_and_windows_are_those_of_the_workbook(kind: str) -> None:
    # Share of a month's budget that is spent in the long window when the alert fires.
    expected = {"Fast": {"1h": 0.02, "6h": 0.05}, "Slow": {"1d": 0.10, "3d": 0.10}}
    for pace, budgets in expected.items():
        expr = ALERTS[f"Xlmr{kind.capitalize()}Burn{pace}"]["expr"]
        found = re.findall(rf'job:xlmr_slo_burn:rate(\w+){{slo="{kind}"}} > ([\d.]+)', expr)
        long, short = found[::2], found[1::2]
        assert {window for window, _ in long} == budgets.keys()
        for (window, rate), (short_window, short_rate) in zip(long, short, strict=True):
            assert float(rate) == pytest.approx(budgets[window] * MONTH_H / HOURS[window])
            assert short_rate == rate
            assert HOURS[short_window] == pytest.approx(HOURS[window] / 12)


def test_a_recorded_window_is_the_window_in_its_name() -> None:
    for name, expressions in recorded().items():
        window = re.search(r":(?:ratio_)?rate(\d+[mhd])$", name)
        if window is None:
            continue
        for expr in expressions:
            assert set(re.findall(r"\[(\w+)\]", expr)) == {window[1]}, name
            assert all(read.endswith(window[1]) for read in read_names(expr) if read.startswith("job:")), name


def test_recorded_series_have_the_labels_that_their_names_promise(promtool: str, tmp_path: Path) -> None:
    tests = []
    for name, labels in recorded_labels().items():
        tests += [answers(name)]
        tests += [silent(f'{name}{{{label}=""}}') for label in labels]
        tests += [silent(f"count by ({', '.join(sorted(labels))}) ({name}) unless {name}")] if labels else []
    result = evaluate(promtool, tmp_path, tests)
    assert result.returncode == 0, result.stdout + result.stderr


@EACH_ALERT
def test_an_alert_says_what_happened_and_where_to_look(name: str, project_root: Path) -> None:
    alert = ALERTS[name]
    assert alert["labels"] == {"severity": alert["labels"]["severity"]}
    assert alert["labels"]["severity"] in {"page", "ticket"}
    notes = alert["annotations"]
    assert notes.keys() == {"summary", "description", "runbook", "dashboard"}
    assert notes["summary"].endswith(".")
    assert notes["description"].endswith(".")
    path, _, anchor = notes["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (project_root / path).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor == name.lower()
    assert anchor in {heading.strip("` ").lower() for heading in headings}
    uids = {dashboard["uid"] for dashboard in load_dashboards().values()}
    assert notes["dashboard"].removeprefix("/d/") in uids


def test_hurried_rules_are_the_same_rules(promtool: str, tmp_path: Path) -> None:
    write_hurried_rules(tmp_path, hold="2s", interval="1s")
    files = sorted(tmp_path.iterdir())
    assert run(promtool, "check", "rules", *map(str, files)).returncode == 0
    hurried = [
        rule
        for file in files
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]
    assert [rule["expr"] for rule in hurried] == [rule["expr"] for rule in rules()]
    assert {rule["for"] for rule in hurried if "for" in rule} == {"2s"}


def test_the_service_and_the_load_tester_are_scraped() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    assert jobs >= {"xlmr-serve", "xlmr-load"}
    named = set(re.findall(r'job="([\w-]+)"', " ".join(rule["expr"] for rule in rules())))
    assert named <= jobs
