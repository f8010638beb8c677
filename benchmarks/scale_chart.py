"""The growth of cost in one drawing, in the look of the load tester's reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

from benchmarks.scale_report import TITLES, lines_of
from loadtest.report.chart_style import FONT

if TYPE_CHECKING:
    from collections.abc import Mapping

# The report's colours on a light ground, where a file by itself has no style sheet.
_FIRST, _SECOND = "#0b62a8", "#c1500a"
_MUTED, _GRID, _AXIS = "#596474", "#e7eaee", "#9aa4b1"
_WIDTH, _HEIGHT = 300, 170
_AXES = {
    "load": ("share", "offered load / closed loop", ("p50_ms", "p95_ms"), "latency, ms"),
    "variants": ("variants", "variants at equal load", ("per_s",), "requests/s"),
    "length": ("length", "tokens a text", ("cpu_us",), "CPU a request, ms"),
    "workers": ("workers", "HTTP processes", ("per_s",), "requests/s"),
}
_DIVISORS = {"cpu_us": 1e3}
_NAMES = {"p50_ms": "p50", "p95_ms": "p95", "per_s": "requests/s", "cpu_us": "CPU"}


def chart(parts: Mapping[str, Any]) -> str:
    """Return an SVG document with a panel for each part that was measured."""
    panels = [_panel(part, parts[part]["cells"]) for part in TITLES if part in parts]
    drawing = (
        alt.concat(*panels, columns=2)
        .resolve_scale(color="independent")  # each panel has lines of its own, and its own legend
        .configure(background="#ffffff", font=FONT, padding=10)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_MUTED, titleColor=_MUTED, gridColor=_GRID, domainColor=_AXIS, titleFontWeight="normal"
        )
    )
    return str(vl_convert.vegalite_to_svg(drawing.to_dict()))


def _panel(part: str, cells: list[dict[str, Any]]) -> Any:
    key, along, fields, up = _AXES[part]
    rows = [
        {"x": line[key], "y": line[field] / _DIVISORS.get(field, 1.0), "line": _name(part, line, field)}
        for line in lines_of(part, cells)
        for field in fields
        if line[field] is not None
    ]
    names = list(dict.fromkeys(row["line"] for row in rows))
    logarithmic = part == "length"
    scale = alt.Scale(type="log", base=2) if logarithmic else alt.Scale(zero=True)
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]  # altair leaves it untyped
    base = alt.Chart(data, title=TITLES[part], width=_WIDTH, height=_HEIGHT).encode(
        x=alt.X("x:Q", title=along, scale=scale, axis=alt.Axis(values=sorted({row["x"] for row in rows}))),
        y=alt.Y(
            "y:Q",
            title=up,
            scale=alt.Scale(type="log") if logarithmic else alt.Scale(zero=True),
            axis=alt.Axis(tickCount=5),
        ),
        color=alt.Color(
            "line:N",
            scale=alt.Scale(domain=names, range=[_FIRST, _SECOND]),
            legend=alt.Legend(title=None, orient="top-left") if len(names) > 1 else None,
        ),
    )
    return base.mark_line(point=True)


def _name(part: str, line: Mapping[str, Any], field: str) -> str:
    return f"{line['at_once']} at once" if part == "length" else _NAMES[field]
