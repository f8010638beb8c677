"""The kinds of panel that the dashboards use, with the choices that all of one kind share.

Rules: a panel has a title, a description that says what to read from it, and a unit; its
data source is the dashboard's variable. Widths are of the grid's 24 columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models import heatmap as heatmap_options
from grafana_foundation_sdk.models import prometheus as formats
from grafana_foundation_sdk.models import table as table_options
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scripts.dashboards.queries import Query

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
# Legends of lines that are drawn as limits: dashed and red.
LIMITS = ("objective", "limit")
_HEIGHT = 8
_STAT_HEIGHT = 4
_LINE_WIDTH = 1
_FILL_PERCENT = 8
_STACK_FILL_PERCENT = 30

Panel = TypeVar("Panel", stat.Panel, timeseries.Panel, heatmap.Panel, table.Panel)


class _Table(table.Panel):
    """A table without the footer that the SDK gives it and that Grafana 13 no longer knows."""

    def build(self) -> dashboard.Panel:
        panel = super().build()
        assert isinstance(panel.options, table_options.Options), (
            "A table has a table's options. This is a bug."
        )
        panel.options.footer = None
        return panel


def series(  # noqa: PLR0913 - a panel has that many sides, and each is named where it is used
    title: str,
    description: str,
    unit: str,
    queries: Iterable[Query],
    *,
    width: int = 8,
    stacked: bool = False,
    at_most: float | None = None,
) -> timeseries.Panel:
    """Draw lines over time, from zero; ``at_most`` is the top of the axis where a unit has one."""
    panel = _base(timeseries.Panel(), title, description, unit, queries).span(width).height(_HEIGHT)
    panel = (
        panel.min(0)
        .line_width(_LINE_WIDTH)
        .fill_opacity(_STACK_FILL_PERCENT if stacked else _FILL_PERCENT)
        .show_points(options.VisibilityMode.NEVER)
        .tooltip(_tooltip())
        .legend(_legend())
    )
    if at_most is not None:
        panel = panel.axis_soft_max(at_most)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    for name in LIMITS:
        panel = panel.override_by_name(name, _limit_style())
    return panel


def figure(  # noqa: PLR0913 - as above
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    width: int = 4,
    steps: Mapping[float | None, str] | None = None,
) -> stat.Panel:
    """Show one number, coloured from each of ``steps`` on; without steps it stays plain."""
    panel = _base(stat.Panel(), title, description, unit, [query]).span(width).height(_STAT_HEIGHT)
    return (
        panel.thresholds(_thresholds({None: "green"} if steps is None else steps))
        .color_mode(options.BigValueColorMode.NONE if steps is None else options.BigValueColorMode.VALUE)
        .graph_mode(options.BigValueGraphMode.NONE)
        .text_mode(options.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
        .no_value("no data")
    )


def heat(title: str, description: str, unit: str, query: Query, *, width: int = 8) -> heatmap.Panel:
    """Draw how many fell into each bucket of a histogram, over time."""
    panel = _base(heatmap.Panel(), title, description, unit, [query]).span(width).height(_HEIGHT)
    colours = (
        heatmap.HeatmapColorOptions()
        .mode(heatmap_options.HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .scale(heatmap_options.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
        .fill("dark-orange")
        .reverse(reverse=False)
    )
    return (
        panel.calculate(calculate=False)
        .cell_gap(1)
        .color(colours)
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(options.AxisPlacement.LEFT))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(options.HeatmapCellLayout.LE))
        .show_value(options.VisibilityMode.NEVER)
        .mode(options.TooltipDisplayMode.SINGLE)
        .exemplars_color("rgba(255,0,255,0.7)")
        .show_legend()
    )


def listing(  # noqa: PLR0913 - as above
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    columns: Mapping[str, str],
    units: Mapping[str, str],
    width: int = 24,
) -> table.Panel:
    """Show labels and values as rows; ``columns``: field -> heading, in order; others are left out.

    ``units``: heading -> unit, for columns that hold numbers.
    """
    panel = _base(_Table(), title, description, "short", queries).span(width).height(_HEIGHT)
    keep = {
        "include": {"names": list(columns)},
    }
    order = {
        "indexByName": {name: index for index, name in enumerate(columns)},
        "renameByName": dict(columns),
    }
    panel = (
        panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(DataTransformerConfig(id_val="filterFieldsByName", options=keep))
        .with_transformation(DataTransformerConfig(id_val="organize", options=order))
        .cell_height(options.TableCellHeight.SM)
        .show_header(show_header=True)
    )
    for heading, unit in units.items():
        panel = panel.override_by_name(heading, [DynamicConfigValue(id_val="unit", value=unit)])
    return panel


def _base(panel: Panel, title: str, description: str, unit: str, queries: Iterable[Query]) -> Panel:
    panel = panel.title(title).description(description).datasource(SOURCE).unit(unit)
    for number, query in enumerate(queries):
        panel = panel.with_target(
            _target(query, chr(ord("A") + number), is_table=isinstance(panel, table.Panel))
        )
    return panel


def _target(query: Query, ref_id: str, *, is_table: bool) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .ref_id(ref_id)
        .datasource(SOURCE)
        .expr(query.expr)
        .legend_format(query.legend or "__auto")
        .editor_mode(formats.QueryEditorMode.CODE)
        .format(_format(query, is_table=is_table))
    )
    if query.exemplars:
        target = target.exemplar(exemplar=True)
    return target.instant() if query.instant else target.range()


def _format(query: Query, *, is_table: bool) -> formats.PromQueryFormat:
    if is_table:
        return formats.PromQueryFormat.TABLE
    return formats.PromQueryFormat.HEATMAP if query.heatmap else formats.PromQueryFormat.TIME_SERIES


def _thresholds(steps: Mapping[float | None, str]) -> builders.ThresholdsConfig:
    return (
        builders.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in steps.items()])
    )


def _tooltip() -> common.VizTooltipOptions:
    return (
        common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING)
    )


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(options.LegendDisplayMode.LIST)
        .placement(options.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs([])
    )


def _limit_style() -> list[DynamicConfigValue]:
    return [
        DynamicConfigValue(id_val="color", value={"mode": FieldColorModeId.FIXED.value, "fixedColor": "red"}),
        DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 8]}),
        DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        DynamicConfigValue(id_val="custom.stacking", value={"group": "A", "mode": "none"}),
    ]
