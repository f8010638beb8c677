"""Every query of every dashboard: known metrics, labels that they have, syntax, and an answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.deploy.metric_names import DESIGNED, TARGET_LABELS, exported_metrics, known_metrics
from tests.deploy.panel_queries import PanelQuery, load_dashboards, panel_queries, substitute
from tests.deploy.prometheus_rules import recorded_labels
from tests.deploy.promql import grouping_labels, selectors
from tests.deploy.synthetic_series import answers, evaluate

if TYPE_CHECKING:
    from pathlib import Path

QUERIES = panel_queries()
EVERY = pytest.mark.parametrize("query", QUERIES, ids=[query.where for query in QUERIES])


def readable() -> dict[str, frozenset[str]]:
    """Return the labels of every series that may be asked for."""
    scraped = {name: metric.labels_of(name) for name, metric in known_metrics().items()}
    return scraped | recorded_labels()


def test_designed_and_exported_metrics_agree() -> None:
    designed = {metric.name: metric for metric in DESIGNED}
    exported = {metric.name: metric for metric in exported_metrics()}
    both = designed.keys() & exported.keys()
    assert {name: designed[name] for name in both} == {name: exported[name] for name in both}


@EVERY
def test_a_query_reads_known_series_by_labels_that_they_have(query: PanelQuery) -> None:
    labels = readable()
    for selector in selectors(query.expr):
        assert selector.name in labels, f"{selector.name} is no metric of this project"
        assert selector.matchers.keys() <= labels[selector.name], f"{selector.name} has no such label"
    possible = frozenset().union(*(labels[selector.name] for selector in selectors(query.expr)))
    assert grouping_labels(query.expr) <= possible | TARGET_LABELS


def test_every_query_has_an_answer_where_every_metric_has_a_value(promtool: str, tmp_path: Path) -> None:
    values = {"lineage_a": "english", "lineage_b": "multilingual", "variant_a": "v1", "variant_b": "v2"}
    queries = panel_queries(rate_interval="20s", values=values)
    # An answer that is not a number does not equal itself, and is not counted.
    tests = [answers(f"({query.expr}) == ({query.expr})") for query in queries]
    result = evaluate(promtool, tmp_path, tests)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_join_on_labels_that_differ_has_no_answer(promtool: str, tmp_path: Path) -> None:
    wrong = "xlmr_canary_ok * on (job, instance) group_left (run) xlmr_load_run_info{run='other'}"
    assert evaluate(promtool, tmp_path, [answers(wrong)]).returncode != 0


def test_variables_are_all_filled_in() -> None:
    assert not [query.where for query in QUERIES if "$" in query.expr]
    filled = substitute('a{b=~"$c", d=~"${e}"}[$__rate_interval]', rate_interval="20s", values={"c": "x"})
    assert filled == 'a{b=~"x", d=~".*"}[20s]'


def test_the_list_of_queries_is_complete() -> None:
    text = "".join(json.dumps(dashboard) for dashboard in load_dashboards().values())
    assert len(QUERIES) == text.count('"expr": ') + text.count("label_values(")
    assert {query.kind for query in QUERIES} == {"panel", "variable", "annotation"}


def test_queries_say_what_they_need() -> None:
    needs = {query.dashboard: set[str]() for query in QUERIES}
    for query in QUERIES:
        if query.kind == "panel":
            needs[query.dashboard] |= query.needs
    assert needs == {
        "xlmr-service": set(),
        "xlmr-variants": set(),
        "xlmr-batching": set(),
        "xlmr-gpu": {"gpu", "dcgm"},
        "xlmr-load": {"load"},
    }
