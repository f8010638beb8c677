"""Every query of the committed dashboards, with Grafana's variables filled in.

``panel_queries()`` is for tests that ask a real Prometheus; what a query needs to have data
(a GPU, NVIDIA's exporter, a load test) stands with it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DASHBOARDS = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards"
NEEDS = {"xlmr_gpu_": "gpu", "DCGM_": "dcgm", "xlmr_load_": "load"}
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_LABEL_VALUES = re.compile(r"label_values\((?P<metric>.+), (?P<label>\w+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelQuery:
    """A query as Grafana would send it.

    ``kind``: panel, variable or annotation. ``where``: dashboard, title and letter, for messages.
    ``raw``: as it stands in the file. ``needs``: what it has no data without: gpu, dcgm, load, or
    alert (one that fires).
    """

    dashboard: str
    kind: str
    where: str
    raw: str
    expr: str
    instant: bool
    needs: frozenset[str]


def load_dashboards(folder: Path = DASHBOARDS) -> dict[str, dict[str, Any]]:
    """Read the dashboards by file name."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every panel that is no row, those inside collapsed rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def substitute(
    expr: str, *, rate_interval: str = "1m", shown: str = "10m", values: Mapping[str, str] | None = None
) -> str:
    """Fill Grafana's variables in: ``values`` by name, else everything (`.*`)."""
    known = {"__rate_interval": rate_interval, "__interval": "5s", "__range": shown}
    known |= values or {}
    return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], ".*"), expr)


def panel_queries(
    *,
    rate_interval: str = "1m",
    shown: str = "10m",
    values: Mapping[str, str] | None = None,
    folder: Path = DASHBOARDS,
) -> tuple[PanelQuery, ...]:
    """Return every query of panels, variables and annotations.

    ``rate_interval``: what ``$__rate_interval`` becomes; Grafana takes at least four scrape intervals.
    ``shown``: what ``$__range`` becomes, the time that a dashboard shows.
    ``values``: what other variables become, such as ``{"lineage_a": "english-intermediate"}``.
    """
    found = []
    for dashboard in load_dashboards(folder).values():
        for kind, where, raw, instant in _queries(dashboard):
            found.append(
                PanelQuery(
                    dashboard=dashboard["uid"],
                    kind=kind,
                    where=f"{dashboard['uid']}: {where}",
                    raw=raw,
                    expr=substitute(raw, rate_interval=rate_interval, shown=shown, values=values),
                    instant=instant,
                    needs=_needs(kind, raw),
                )
            )
    return tuple(found)


def _needs(kind: str, raw: str) -> frozenset[str]:
    found = {need for prefix, need in NEEDS.items() if prefix in raw}
    return frozenset(found | {"alert"} if kind == "annotation" and raw.startswith("ALERTS") else found)


def _queries(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            where = f"panel {panel['title']!r}, query {target['refId']}"
            yield "panel", where, target["expr"], bool(target.get("instant", False))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield "variable", f"variable {variable['name']!r}", label_query(variable["query"]["query"]), True
    for annotation in dashboard["annotations"]["list"]:
        yield "annotation", f"annotation {annotation['name']!r}", annotation["expr"], False


def label_query(text: str) -> str:
    """Turn ``label_values(metric, label)`` into the PromQL that finds the same values."""
    found = _LABEL_VALUES.fullmatch(text)
    assert found is not None, f"not label_values(metric, label): {text}"
    return f"group by ({found['label']}) ({found['metric']})"
