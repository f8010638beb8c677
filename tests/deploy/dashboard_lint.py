"""The conventions that a dashboard keeps; each fault in one line.

The rules are those of grafana/dashboard-linter that fit, and a few of our own: a panel
explains itself, lines of panels fill the grid, uids are stable.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import promql_parser

from tests.deploy.metric_names import known_metrics
from tests.deploy.panel_queries import panels, substitute
from tests.deploy.promql import calls, selectors

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA_VERSIONS = range(39, 43)
GRID_COLUMNS = 24
ON_TIME_RANGE_CHANGED = 2
UNITS = {"none", "short", "s", "bytes", "watt", "percentunit", "reqps", "ops", "cps", "dateTimeAsIso"}
RATES = ("rate", "irate", "increase")
WINDOWS = {"$__rate_interval", "$__range:$__interval"}
# Not scraped from the service: constants and alerts, which have no target.
WITHOUT_TARGET = re.compile(r"xlmr:.*|ALERTS")


def faults(dashboard: dict[str, Any]) -> list[str]:
    """Return what is wrong with a dashboard; nothing if it keeps every convention."""
    found = [*_board_faults(dashboard), *_variable_faults(dashboard), *_layout_faults(dashboard)]
    for panel in panels(dashboard):
        found += [f"panel {panel.get('title')!r}: {fault}" for fault in _panel_faults(panel)]
    return found


def _board_faults(dashboard: dict[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"xlmr-[a-z]+", dashboard.get("uid", "")):
        yield "the uid is not stable: xlmr-NAME"
    if dashboard.get("id") is not None:
        yield "an id is for Grafana to give"
    if dashboard.get("schemaVersion") not in SCHEMA_VERSIONS:
        yield "the schema version is not a classic one that Grafana 11 to 13 read"
    if "xlmr" not in dashboard.get("tags", ()):
        yield "the tag xlmr is missing, by which dashboards find each other"
    if not dashboard.get("title") or not dashboard.get("description", "").endswith("."):
        yield "a title or a description is missing"


def _variable_faults(dashboard: dict[str, Any]) -> Iterator[str]:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    source = variables.get("datasource")
    if source is None or (source["type"], source["query"]) != ("datasource", "prometheus"):
        yield "there is no variable `datasource` of type prometheus"
    for name in ("job", "instance"):
        if name not in variables or not variables[name].get("multi"):
            yield f"there is no variable `{name}` of several values"
    for name, variable in variables.items():
        if not variable.get("label") or not variable.get("description"):
            yield f"variable {name!r} has no label or description"
        if variable["type"] != "query":
            continue
        if variable.get("datasource") != SOURCE:
            yield f"variable {name!r} has another data source than the chosen one"
        if variable.get("refresh") != ON_TIME_RANGE_CHANGED:
            yield f"variable {name!r} is not read again when the time range changes"
    used = set(re.findall(r"\$\{?(\w+)", str(dashboard["panels"])))
    for name in used - variables.keys() - {"__rate_interval", "__range", "__interval"}:
        yield f"variable {name!r} is used and not there"


def _layout_faults(dashboard: dict[str, Any]) -> Iterator[str]:
    every = [*dashboard["panels"], *(inner for one in dashboard["panels"] for inner in one.get("panels", ()))]
    if len({panel.get("id") for panel in every} - {None}) != len(every):
        yield "panel ids are missing or not unique"
    lines: dict[int, list[tuple[int, int]]] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        lines.setdefault(place["y"], []).append((place["x"], place["x"] + place["w"]))
    for y, places in sorted(lines.items()):
        edges = [0, *(edge for place in sorted(places) for edge in place), GRID_COLUMNS]
        if any(edges[index] != edges[index + 1] for index in range(0, len(edges), 2)):
            yield f"the panels at y={y} overlap or leave a gap"


def _panel_faults(panel: dict[str, Any]) -> Iterator[str]:
    if not panel.get("title"):
        yield "it has no title"
    if not panel.get("description", "").endswith("."):
        yield "its description is missing or no sentence"
    if panel.get("datasource") != SOURCE:
        yield "its data source is not the chosen one"
    if panel.get("fieldConfig", {}).get("defaults", {}).get("unit") not in UNITS:
        yield "its unit is missing or unknown"
    targets = panel.get("targets", [])
    if not targets:
        yield "it has no query"
    if any(count > 1 for count in Counter(target.get("refId") for target in targets).values()):
        yield "two queries have one letter"
    for target in targets:
        if target.get("datasource") != SOURCE:
            yield f"query {target['refId']}: its data source is not the chosen one"
        yield from (f"query {target['refId']}: {fault}" for fault in _query_faults(target["expr"]))


def _query_faults(raw: str) -> Iterator[str]:
    expr = substitute(raw)
    try:
        reads = selectors(expr)
    except ValueError as error:
        yield f"it does not parse: {error}"
        return
    for selector in reads:
        wanted = {"job"} if selector.name.startswith("job:") else {"job", "instance"}
        if not WITHOUT_TARGET.fullmatch(selector.name) and not wanted <= selector.matchers.keys():
            yield f"{selector.name} is not bound to the chosen job and instance"
    for window in re.findall(r"\[([^\]]+)\]", raw):
        if window not in WINDOWS:
            yield f"[{window}] is fixed; $__rate_interval fits every resolution"
    for call in calls(expr, "histogram_quantile"):
        if "le" not in _labels_kept(call.args[1]):
            yield "a quantile is taken of buckets summed over le"
    yield from _counter_faults(expr)


def _labels_kept(node: object) -> list[str]:
    inner = _bare(node)
    assert isinstance(inner, promql_parser.AggregateExpr), f"a quantile of {inner}"
    return [] if inner.modifier is None else inner.modifier.labels


def _counter_faults(expr: str) -> Iterator[str]:
    plain, rated, summed = Counter[str](), Counter[str](), Counter[str]()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector) and _grows(node.name):
            plain[str(node.name)] += 1
        if isinstance(node, promql_parser.Call) and (name := _rated_counter(node)):
            rated[name] += 1
        if isinstance(node, promql_parser.AggregateExpr) and (name := _rated_counter(_bare(node.expr))):
            summed[name] += 1

    promql_parser.walk(promql_parser.parse(expr), pre_visit=visit)
    yield from (f"the counter {name} is not rated" for name in plain - rated)
    yield from (f"the rate of {name} is not summed" for name in rated - summed)


def _rated_counter(node: object) -> str | None:
    if not isinstance(node, promql_parser.Call) or node.func.name not in RATES:
        return None
    name = node.args[0].vector_selector.name
    return str(name) if _grows(name) else None


def _grows(name: str | None) -> bool:
    metric = known_metrics().get(name or "")
    return metric is not None and metric.kind != "gauge"


def _bare(node: object) -> object:
    while isinstance(node, promql_parser.ParenExpr):
        node = node.expr
    return node
