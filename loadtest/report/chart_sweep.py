"""The rate sweep: latency at the objective's percentile against offered rate, and what capacity it leaves."""

from __future__ import annotations

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
from loadtest.report.no_interval import why_no_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.report.study_record import Capacity

MILLI = 1e3
SHORTFALL = (
    " The lower chart: requests answered within the objective; where they leave the dashed line, which "
    "stands for all that is offered, more load is answered late."
)


def sweep_figure(capacities: Sequence[Capacity]) -> Figure | None:
    """Draw every arm's probes, the objective as a line, and each capacity with its interval; None if none."""
    probes = [probe for capacity in capacities for probe in capacity.probes]
    if not any(probe.latency_s is not None for probe in probes):
        return None
    room = label_room(["10,000"])
    upper = draw("sweep-latency", lambda canvas: _latency(capacities, canvas, room))
    has_goodput = any(probe.goodput_per_s is not None for probe in probes)
    lower = (
        draw("sweep-goodput", lambda canvas: _goodput(capacities, canvas, room)) if has_goodput else ("", "")
    )
    return Figure(
        key="sweep",
        title="Rate sweep and capacity",
        caption=_caption(capacities) + (SHORTFALL if has_goodput else ""),
        alternative=" ".join(_words(capacity) for capacity in capacities),
        legend=(
            *(LegendEntry(paint=series_paint(i), text=c.arm) for i, c in enumerate(capacities)),
            LegendEntry(paint=Paint.INK, text="objective", swatch="dash"),
            *(
                (LegendEntry(paint=Paint.MUTED, text="all that is offered", swatch="dash"),)
                if has_goodput
                else ()
            ),
        ),
        wide=upper[0] + lower[0],
        narrow=upper[1] + lower[1],
    )


def _caption(capacities: Sequence[Capacity]) -> str:
    """Say what is drawn, and why what a reader would look for is not."""
    every = [probe for capacity in capacities for probe in capacity.probes]
    drawn = [probe for probe in every if probe.latency_s is not None]
    some = any(probe.interval for probe in drawn)
    said = ["Latency at the objective's percentile against the offered rate."]
    if some:
        said.append("A bar is an interval over the runs at that rate.")
    reasons = dict.fromkeys(filter(None, map(why_no_interval, drawn)))
    said += [f"{'Some points' if some else 'Points'} have no interval: {reason}." for reason in reasons]
    if len(drawn) < len(every):
        said.append("A rate has no point where one of its runs has no such percentile.")
    said.append(f"The dashed line is the objective{_marks(capacities)}.")
    said += [
        f"{capacity.arm} has no interval of its capacity: {why_no_interval(capacity)}."
        for capacity in capacities
        if capacity.interval is None
    ]
    return " ".join(said)


def _marks(capacities: Sequence[Capacity]) -> str:
    """Say what stands for a capacity, where any was found."""
    if not any(capacity.rate_per_s is not None for capacity in capacities):
        return ""
    if not any(capacity.interval for capacity in capacities):
        return ", a dotted one each arm's capacity"
    return ", a dotted one each arm's capacity, and the shaded strip around it its interval"


def _words(capacity: Capacity) -> str:
    if capacity.rate_per_s is None:
        return f"{capacity.arm}: no rate met {capacity.objective}."
    met = f"{capacity.arm}: meets {capacity.objective} up to {formats.rate(capacity.rate_per_s)}"
    interval = capacity.interval
    if interval is None:
        return f"{met}."
    ends = f"{formats.number(interval.low)} to {formats.rate(interval.high)}"
    return f"{met} ({formats.confidence(interval.confidence)} interval {ends})."


def _rows(capacities: Sequence[Capacity]) -> list[dict[str, Any]]:
    rows = []
    for place, capacity in enumerate(capacities):
        for probe in sorted(capacity.probes, key=lambda probe: probe.rate_per_s):
            band, good = probe.interval, probe.goodput_interval
            rows.append(
                {
                    "arm": place,
                    "rate": probe.rate_per_s,
                    "ms": None if probe.latency_s is None else probe.latency_s * MILLI,
                    "low": None if band is None else band.low * MILLI,
                    "high": None if band is None else band.high * MILLI,
                    "goodput": probe.goodput_per_s,
                    "good_low": None if good is None else good.low,
                    "good_high": None if good is None else good.high,
                }
            )
    return rows


def _limits(capacities: Sequence[Capacity]) -> list[dict[str, Any]]:
    return [
        {
            "arm": place,
            "rate": capacity.rate_per_s,
            "low": capacity.interval.low if capacity.interval else capacity.rate_per_s,
            "high": capacity.interval.high if capacity.interval else capacity.rate_per_s,
            "objective": capacity.objective_s * MILLI,
        }
        for place, capacity in enumerate(capacities)
    ]


def _rate_axis(
    capacities: Sequence[Capacity], canvas: Canvas, title: str | None, *, field: str = "rate"
) -> alt.X:
    rates = [probe.rate_per_s for capacity in capacities for probe in capacity.probes]
    return alt.X(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=[0, max(rates, default=1) * 1.05], nice=False),
        axis=alt.Axis(tickCount=canvas.ticks, labels=title is not None, ticks=title is not None),
    )


def _domain(capacities: Sequence[Capacity]) -> list[float]:
    """Return the reach of the latency axis, in ms: every probe, its interval and the objective."""
    rows = _rows(capacities)
    values = [row[key] for row in rows for key in ("ms", "low", "high") if row[key]]
    values += [capacity.objective_s * MILLI for capacity in capacities]
    return [min(values) * 0.8, max(values) * 1.25]


def _latency(capacities: Sequence[Capacity], canvas: Canvas, room: int) -> Any:
    has_lower = any(p.goodput_per_s is not None for c in capacities for p in c.probes)
    title = None if has_lower else "offered rate, requests a second"
    x, color = _rate_axis(capacities, canvas, title), arm_colors(len(capacities))
    domain = _domain(capacities)
    y = alt.Y(
        "ms:Q",
        title="latency, ms (log)",
        scale=alt.Scale(type="log", domain=domain, nice=False),
        axis=alt.Axis(minExtent=room, format=",~g", values=log_ticks(*domain)),
    )
    base = alt.Chart(alt.InlineData(values=_rows(capacities)))
    limits = alt.Chart(alt.InlineData(values=_limits(capacities)))
    # Every layer names the scale's reach: one that does not brings its own, and the others follow it.
    low = _rate_axis(capacities, canvas, title, field="low")
    strips = limits.mark_rect(opacity=0.16, clip=True).encode(x=low, x2="high:Q", color=color)
    capacity = limits.mark_rule(strokeWidth=1.6, strokeDash=[2, 2], clip=True).encode(x=x, color=color)
    objective = limits.mark_rule(strokeWidth=1.4, strokeDash=[6, 4], color=Paint.INK.placeholder).encode(
        y="objective:Q"
    )
    whiskers = base.mark_rule(strokeWidth=1.4).encode(x=x, y="low:Q", y2="high:Q", color=color)
    lines = base.mark_line(strokeWidth=1.8, point={"filled": True, "size": 40}).encode(x=x, y=y, color=color)
    return (strips + capacity + objective + whiskers + lines).properties(width=canvas.width, height=220)


def _goodput(capacities: Sequence[Capacity], canvas: Canvas, room: int) -> Any:
    x, color = _rate_axis(capacities, canvas, "offered rate, requests a second"), arm_colors(len(capacities))
    base = alt.Chart(alt.InlineData(values=_rows(capacities)))
    whiskers = base.mark_rule(strokeWidth=1.4).encode(x=x, y="good_low:Q", y2="good_high:Q", color=color)
    lines = base.mark_line(strokeWidth=1.8, point={"filled": True, "size": 40}).encode(
        x=x,
        y=alt.Y(
            "goodput:Q",
            title="goodput, /s",
            scale=alt.Scale(zero=True),
            axis=alt.Axis(minExtent=room, tickCount=4),
        ),
        color=color,
    )
    reach = max(probe.rate_per_s for capacity in capacities for probe in capacity.probes)
    ends = [{"rate": at, "goodput": at} for at in (0.0, reach)]
    all_ = alt.Chart(alt.InlineData(values=ends)).mark_line(
        strokeWidth=1.2, strokeDash=[6, 4], color=Paint.MUTED.placeholder
    )
    return (all_.encode(x=x, y="goodput:Q") + whiskers + lines).properties(width=canvas.width, height=130)
