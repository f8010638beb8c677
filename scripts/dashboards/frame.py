"""What every dashboard has: variables, annotations, links to the others, rows of panels.

Rules: a dashboard's uid never changes, since links and alerts name it; no panel says which
data source, job or instance it reads, its variables do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    DashboardCursorSync,
    DashboardLinkType,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from scripts.dashboards.panels import SOURCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

TAG = "xlmr"
_ALL = VariableOption(selected=True, text=["All"], value=["$__all"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A titled row, and its panels from left to right."""

    title: str
    panels: Sequence[Builder[Panel]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable(Builder[VariableModel]):
    """A choice of label values. ``several``: any number of them, all at first; else the first one.

    ``descending``: the last one stands first.
    """

    name: str
    label: str
    description: str
    metric: str
    value: str
    several: bool = True
    descending: bool = False

    def build(self) -> VariableModel:
        """Make the variable, filled when the time range changes."""
        builder = (
            builders.QueryVariable(self.name)
            .label(self.label)
            .description(self.description)
            .datasource(SOURCE)
            .query({"query": f"label_values({self.metric}, {self.value})", "refId": f"{self.name}-values"})
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_DESC if self.descending else VariableSort.ALPHABETICAL_ASC)
            .multi(self.several)
            .include_all(self.several)
        )
        return builder.current(_ALL).build() if self.several else builder.build()


JOB = Variable(
    name="job", label="Job", description="Scrape jobs of the service.", metric="xlmr_ready", value="job"
)
INSTANCE = Variable(
    name="instance",
    label="Instance",
    description="Replicas of the service.",
    metric='xlmr_ready{job=~"$job"}',
    value="instance",
)


class _Annotation(AnnotationQuery):
    """A Prometheus query for events; Grafana keeps its options beside the query, the SDK knows only some."""

    def __init__(self, *, name: str, expr: str, colour: str, options: Mapping[str, object]) -> None:
        super().__init__(name=name, datasource=SOURCE, icon_color=colour, expr=expr)
        self._options = options

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), **self._options}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Builder[AnnotationQuery]):
    """Events from Prometheus. ``title``, ``text``: templates of labels.

    ``at_value``: the series' value is the event's time, in milliseconds; else an event lasts
    while the series is there and above zero.
    """

    name: str
    expr: str
    colour: str
    title: str
    text: str
    at_value: bool = False

    def build(self) -> AnnotationQuery:
        """Make the annotation."""
        options = {"titleFormat": self.title, "textFormat": self.text, "useValueForTime": self.at_value}
        return _Annotation(name=self.name, expr=self.expr, colour=self.colour, options=options)


ALERTS = Event(
    name="Alerts",
    expr='ALERTS{alertname=~"Xlmr.*", alertstate="firing"}',
    colour="red",
    title="{{alertname}}",
    text="{{severity}} {{instance}} {{variant}}",
)
RUN_LABELS = "* on (job, instance) group_left (run, arm, trace) xlmr_load_run_info"
RUN_START = Event(
    name="Load test starts",
    expr=f"xlmr_load_run_start_timestamp_seconds {RUN_LABELS} * 1000",
    colour="green",
    title="{{run}} starts",
    text="arm {{arm}}, trace {{trace}}",
    at_value=True,
)
RUN_END = Event(
    name="Load test ends",
    # Zero until the run has ended.
    expr=f"(xlmr_load_run_end_timestamp_seconds > 0) {RUN_LABELS} * 1000",
    colour="blue",
    title="{{run}} ends",
    text="arm {{arm}}, trace {{trace}}",
    at_value=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard: what it is called, what can be chosen, and what it shows."""

    uid: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]
    events: Sequence[Event] = (ALERTS, RUN_START, RUN_END)
    span: str = "now-30m"

    def build(self) -> Dashboard:
        """Lay the panels out and number them in order."""
        board = (
            builders.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([TAG])
            .time(self.span, "now")
            .timezone("browser")
            .refresh("10s")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .with_variable(
                builders.DatasourceVariable("datasource")
                .label("Data source")
                .description("The Prometheus that scrapes the service.")
                .type("prometheus")
            )
            .link(
                builders.DashboardLink("Other dashboards")
                .type(DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .as_dropdown(as_dropdown=True)
                .keep_time(keep_time=True)
                .icon("external link")
                .tooltip("The other dashboards of this service")
            )
        )
        for variable in self.variables:
            board = board.with_variable(variable)
        for event in self.events:
            board = board.annotation(event)
        for row in self.rows:
            board = board.with_row(builders.Row(row.title))
            for panel in row.panels:
                board = board.with_panel(panel)
        return _numbered(board.build())


def _numbered(board: Dashboard) -> Dashboard:
    # The SDK writes an interval's options into every variable; Grafana's schema knows no such keys.
    for variable in (board.templating.list_val if board.templating else None) or ():
        variable.auto = variable.auto_min = variable.auto_count = None
    for number, panel in enumerate(board.panels or (), start=1):
        panel.id_val = number
    return board
