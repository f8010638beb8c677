"""How the run went: latency of the requests due in each slice of time, and how many were in flight.

Rules: a slice shows its median and its slowest finished request, which need no minimum count to be honest;
in flight counts requests that were due and not yet done, averaged over the runs of an arm; where all
requests were due at once, latency has no course and only what was in flight is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from loadtest.report import formats
from loadtest.report.chart_style import (
    Canvas,
    Figure,
    LegendEntry,
    Paint,
    arm_colors,
    draw,
    label_room,
    log_ticks,
    series_paint,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MILLI = 1e3
FEW_SLICES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One slice of a run, from its start; latencies of answered requests that were due in it."""

    start_s: float
    end_s: float
    num_due: int
    num_failed: int
    median_s: float | None
    slowest_s: float | None
    in_flight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSlices:
    """The slices of one arm, averaged over its runs."""

    arm: str
    slices: tuple[Slice, ...]


def time_figure(arms: Sequence[ArmSlices]) -> Figure:
    """Draw latency over time above requests in flight over time, on one time axis."""
    if all(_due_at_once(arm) for arm in arms):
        return _flight_figure(arms)
    room = label_room([*(formats.number(s.in_flight) for arm in arms for s in arm.slices), "0.001"])
    upper = draw("time-latency", lambda canvas: _latency(arms, canvas, room))
    lower = draw("time-flight", lambda canvas: _in_flight(arms, canvas, room))
    failed = sum(s.num_failed for arm in arms for s in arm.slices)
    return Figure(
        key="time",
        title="Latency and requests in flight over time",
        caption=(
            "Above: the median (solid) and the slowest request (dashed) of those due in each slice of time. "
            "Below: requests that were due and not yet done. A queue that only grows means that the rate "
            "was above capacity." + (" Crosses mark slices with errors." if failed else "")
        ),
        alternative=" ".join(_words(arm) for arm in arms),
        legend=_legend(arms, has_errors=failed > 0),
        wide=upper[0] + lower[0],
        narrow=upper[1] + lower[1],
    )


def _due_at_once(arm: ArmSlices) -> bool:
    return len(arm.slices) > 1 and sum(piece.num_due > 0 for piece in arm.slices) == 1


def _flight_figure(arms: Sequence[ArmSlices]) -> Figure:
    room = label_room([formats.number(s.in_flight) for arm in arms for s in arm.slices])
    wide, narrow = draw("time-flight", lambda canvas: _in_flight(arms, canvas, room))
    names = [LegendEntry(paint=series_paint(i), text=arm.arm) for i, arm in enumerate(arms)]
    return Figure(
        key="time",
        title="Requests in flight over time",
        caption="Requests not yet done. All were due at once, so that their latency has no course to draw.",
        alternative=" ".join(
            f"{arm.arm}: {formats.plural(sum(s.num_due for s in arm.slices), 'request')} due at once, "
            f"the last done after {formats.seconds(arm.slices[-1].end_s)}."
            for arm in arms
        ),
        legend=tuple(names) if len(arms) > 1 else (),
        wide=wide,
        narrow=narrow,
    )


def _legend(arms: Sequence[ArmSlices], *, has_errors: bool) -> tuple[LegendEntry, ...]:
    several = len(arms) > 1
    names = [LegendEntry(paint=series_paint(i), text=arm.arm) for i, arm in enumerate(arms)]
    paint = Paint.MUTED if several else series_paint(0)
    kinds = (LegendEntry(paint=paint, text="median"), LegendEntry(paint=paint, text="slowest", swatch="dash"))
    errors = (LegendEntry(paint=Paint.BAD, text="errors", swatch="cross"),) if has_errors else ()
    return (*(names if several else ()), *kinds, *errors)


def _words(arm: ArmSlices) -> str:
    slowest = max((s for s in arm.slices if s.slowest_s is not None), key=_slowest, default=None)
    if slowest is None:
        return f"{arm.arm}: no request was answered."
    most = max(arm.slices, key=lambda s: s.in_flight)
    return (
        f"{arm.arm}: the slowest request took {formats.seconds(slowest.slowest_s)} and was due "
        f"{formats.number(slowest.start_s)} to {formats.number(slowest.end_s)} s after the start; at most "
        f"{formats.number(most.in_flight)} requests in flight, {formats.number(most.start_s)} s after it."
    )


def _slowest(piece: Slice) -> float:
    return piece.slowest_s or 0.0


def _rows(arms: Sequence[ArmSlices]) -> list[dict[str, Any]]:
    return [
        {
            "arm": place,
            "t": (piece.start_s + piece.end_s) / 2,
            "kind": kind,
            "ms": None if value is None else value * MILLI,
            "failed": piece.num_failed,
        }
        for place, arm in enumerate(arms)
        for piece in arm.slices
        for kind, value in (("median", piece.median_s), ("slowest", piece.slowest_s))
    ]


def _time_axis(arms: Sequence[ArmSlices], canvas: Canvas, title: str | None) -> alt.X:
    end = max((piece.end_s for arm in arms for piece in arm.slices), default=1.0)
    return alt.X(
        "t:Q",
        title=title,
        scale=alt.Scale(domain=[0, end], nice=False),
        axis=alt.Axis(tickCount=canvas.ticks, labels=title is not None, ticks=title is not None),
    )


def _points(arms: Sequence[ArmSlices]) -> alt.OverlayMarkDef | bool:
    """Mark the slices themselves where there are so few that a line would hide, or be, nothing."""
    few = max((len(arm.slices) for arm in arms), default=0) <= FEW_SLICES
    return alt.OverlayMarkDef(filled=True, size=36) if few else False


def _latency(arms: Sequence[ArmSlices], canvas: Canvas, room: int) -> Any:
    rows = _rows(arms)
    known = [row["ms"] for row in rows if row["ms"]]
    domain = [min(known, default=1.0) * 0.8, max(known, default=10.0) * 1.6]
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=_time_axis(arms, canvas, None))
    lines = base.mark_line(strokeWidth=1.8, strokeJoin="round", point=_points(arms)).encode(
        y=alt.Y(
            "ms:Q",
            title="latency, ms (log)",
            scale=alt.Scale(type="log", domain=domain, nice=False),
            axis=alt.Axis(minExtent=room, format=",~g", values=log_ticks(*domain)),
        ),
        color=arm_colors(len(arms)),
        strokeDash=alt.StrokeDash(
            "kind:N",
            scale=alt.Scale(domain=["median", "slowest"], range=[[1, 0], [4, 3]]),
            legend=None,
        ),
        opacity=alt.Opacity(
            "kind:N", scale=alt.Scale(domain=["median", "slowest"], range=[1, 0.7]), legend=None
        ),
    )
    errors = (
        base.transform_filter("datum.failed > 0 && datum.kind == 'median'")
        .mark_point(shape="cross", size=50, angle=45, filled=True, color=Paint.BAD.placeholder)
        .encode(y=alt.value(6))
    )
    return (lines + errors).properties(width=canvas.width, height=200)


def _in_flight(arms: Sequence[ArmSlices], canvas: Canvas, room: int) -> Any:
    rows = [
        {"arm": place, "t": (piece.start_s + piece.end_s) / 2, "in_flight": piece.in_flight}
        for place, arm in enumerate(arms)
        for piece in arm.slices
    ]
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(strokeWidth=1.8, interpolate="step", point=_points(arms))
        .encode(
            x=_time_axis(arms, canvas, "seconds since the start"),
            y=alt.Y(
                "in_flight:Q",
                title="in flight",
                scale=alt.Scale(zero=True, nice=True),
                axis=alt.Axis(minExtent=room, tickCount=3),
            ),
            color=arm_colors(len(arms)),
        )
        .properties(width=canvas.width, height=110)
    )
