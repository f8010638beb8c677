"""The time split: what a request's time was spent on, for the quick half and for the slow tail.

Rules: the parts of a bar are means over the same requests and add up to their mean latency; a part that the
server did not report is not drawn as zero but named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from loadtest.report import formats
from loadtest.report.chart_style import Canvas, Figure, LegendEntry, Paint, arm_letter, draw, label_room

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtest.report.records import Band, TimeSplit

PARTS = (
    ("lateness", "lateness (generator)", Paint.LATENESS),
    ("network", "network and HTTP", Paint.NETWORK),
    ("tokenize", "tokenize", Paint.TOKENIZE),
    ("queue", "queue", Paint.QUEUE),
    ("infer", "infer", Paint.INFER),
    ("decode", "decode", Paint.DECODE),
    ("server_other", "server, rest", Paint.OTHER),
    ("unexplained", "no split reported", Paint.UNEXPLAINED),
)
ROW_HEIGHT = 32
BAR_HEIGHT = 22


def split_figure(bands_by_arm: Mapping[str, Sequence[Band]]) -> Figure:
    """Draw one bar a band of latency percentiles and arm, cut by what the time was spent on."""
    rows = _rows(bands_by_arm)
    wide, narrow = draw("split", lambda canvas: _chart(rows, canvas))
    shown = {row["part"] for row in rows if row["ms"] > 0}
    return Figure(
        key="split",
        title="Where the time goes",
        caption=(
            "Each bar holds the requests between two percentiles of latency; its parts are mean shares of "
            "their latency. The number beside a bar is their mean latency."
        ),
        alternative=" ".join(_words(arm, bands) for arm, bands in bands_by_arm.items()),
        legend=tuple(
            LegendEntry(paint=paint, text=text, swatch="box") for key, text, paint in PARTS if key in shown
        ),
        wide=wide,
        narrow=narrow,
    )


def band_name(band: Band) -> str:
    """Name a band by its percentiles."""
    if band.low == 0 and band.high == 1:
        return "all requests"
    high = "max" if band.high == 1 else f"p{band.high * 100:g}"
    return f"p{band.low * 100:g} to {high}" if band.low else f"up to {high}"


def part_seconds(split: TimeSplit, key: str) -> float:
    """Return the mean seconds of one part; a part that was not reported took none of the explained time."""
    value = getattr(split, f"{key}_s")
    return 0.0 if value is None else float(value)


def _words(arm: str, bands: Sequence[Band]) -> str:
    sentences = []
    for band in bands:
        largest = max(PARTS, key=lambda part: part_seconds(band.split, part[0]))
        sentences.append(
            f"{band_name(band)} {formats.seconds(band.split.latency_s)}, most of it {largest[1]} "
            f"({formats.seconds(part_seconds(band.split, largest[0]))})"
        )
    return f"{arm}: {'; '.join(sentences)}."


def _rows(bands_by_arm: Mapping[str, Sequence[Band]]) -> list[dict[str, Any]]:
    """One row a bar and part. Lateness can be a hair below zero (a timer that fires early): drawn as zero."""
    rows: list[dict[str, Any]] = []
    for place, bands in enumerate(bands_by_arm.values()):
        for band in bands:
            name = band_name(band)
            bar = name if len(bands_by_arm) == 1 else f"{name} {arm_letter(place)}"
            parts = {key: max(0.0, part_seconds(band.split, key)) for key, _, _ in PARTS}
            whole = sum(parts.values()) or 1.0
            rows += [
                {
                    "bar": bar,
                    "low": band.low,
                    "part": key,
                    "order": order,
                    "ms": parts[key] * 1e3,
                    "share": parts[key] / whole,
                    "total": formats.seconds(band.split.latency_s),
                }
                for order, (key, _, _) in enumerate(PARTS)
            ]
    return sorted(rows, key=lambda row: float(row["low"]))


def _chart(rows: list[dict[str, Any]], canvas: Canvas) -> Any:
    bars = list(dict.fromkeys(row["bar"] for row in rows))
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y(
            "bar:N",
            sort=bars,
            title=None,
            axis=alt.Axis(ticks=False, domain=False, labelPadding=8, minExtent=label_room(bars)),
        )
    )
    stacked = base.mark_bar(height=BAR_HEIGHT, stroke=Paint.CARD.placeholder, strokeWidth=1).encode(
        x=alt.X(
            "share:Q",
            stack="zero",
            title="share of mean latency",
            scale=alt.Scale(domain=[0, 1], nice=False),
            axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1], grid=False),
        ),
        color=alt.Color(
            "part:N",
            scale=alt.Scale(
                domain=[key for key, _, _ in PARTS], range=[paint.placeholder for _, _, paint in PARTS]
            ),
            legend=None,
        ),
        order=alt.Order("order:Q"),
    )
    totals = (
        base.transform_filter("datum.order == 0")
        .mark_text(align="left", dx=8, fontSize=12, color=Paint.INK.placeholder)
        .encode(x=alt.XDatum(1), text="total:N")
    )
    room = label_room(row["total"] for row in rows) + 8
    return (stacked + totals).properties(
        width=canvas.width,
        height=alt.Step(ROW_HEIGHT),
        padding={"left": 2, "right": room, "top": 6, "bottom": 2},
    )
