"""The latency chart: how many requests were answered by when, the tail stretched so that it can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from loadtest.analysis.percentiles import MIN_BEYOND
from loadtest.report import formats
from loadtest.report.chart_style import (
    Canvas,
    Figure,
    LegendEntry,
    Paint,
    arm_colors,
    draw,
    log_ticks,
    series_paint,
)
from loadtest.report.curves import CurvePoint, tail_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.report.records import Distribution

SHARES = (0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999)
DASH = [5, 4]
THIN_OPACITY = 0.45
MILLI = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCurves:
    """What one arm contributes: two curves and the figures that the words quote."""

    arm: str
    latency: tuple[CurvePoint, ...]
    service: tuple[CurvePoint, ...]
    num_censored: int
    latency_s: Distribution
    service_s: Distribution


def latency_figure(arms: Sequence[ArmCurves]) -> Figure | None:
    """Draw latency (from the intended instant) and service time (from the send); None if nothing finished."""
    if not any(arm.latency for arm in arms):
        return None
    wide, narrow = draw("latency", lambda canvas: _chart(arms, canvas))
    return Figure(
        key="latency",
        title="Latency and service time",
        caption=(
            "Share of requests answered within a time; the vertical axis is stretched towards 100 % so "
            "that the tail can be read. Latency counts from the instant a request was due, service time "
            "from when it was sent: where the two part, requests waited to be sent. Pale ends have fewer "
            f"than {MIN_BEYOND} requests beyond them." + _unfinished(arms)
        ),
        alternative=" ".join(_words(arm) for arm in arms),
        legend=_legend(arms),
        wide=wide,
        narrow=narrow,
    )


def _legend(arms: Sequence[ArmCurves]) -> tuple[LegendEntry, ...]:
    if len(arms) == 1:
        paint = series_paint(0)
        return (
            LegendEntry(
                paint=paint, text=f"latency (done - intended), n = {formats.count(arms[0].latency_s.n)}"
            ),
            LegendEntry(paint=paint, text="service (done - sent)", swatch="dash"),
        )
    named = tuple(
        LegendEntry(paint=series_paint(i), text=f"{arm.arm} (n = {formats.count(arm.latency_s.n)})")
        for i, arm in enumerate(arms)
    )
    return (
        *named,
        LegendEntry(paint=Paint.MUTED, text="solid: latency"),
        LegendEntry(paint=Paint.MUTED, text="dashed: service", swatch="dash"),
    )


def _unfinished(arms: Sequence[ArmCurves]) -> str:
    num = sum(arm.num_censored for arm in arms)
    return f" {formats.plural(num, 'unfinished request')} would lie beyond the curves' ends." if num else ""


def _words(arm: ArmCurves) -> str:
    latency, service = arm.latency_s, arm.service_s
    return (
        f"{arm.arm}: latency p50 {formats.seconds(latency.p50)}, p95 {formats.seconds(latency.p95)}, "
        f"p99 {formats.seconds(latency.p99)}, slowest {formats.seconds(latency.max)}; "
        f"service p50 {formats.seconds(service.p50)}, p95 {formats.seconds(service.p95)}."
    )


def _rows(arms: Sequence[ArmCurves]) -> list[dict[str, Any]]:
    """One row a point; the thin end of a curve starts at the last firm point, so that the line is whole."""
    rows = []
    for place, arm in enumerate(arms):
        for kind, points in (("latency", arm.latency), ("service", arm.service)):
            firm = [point for point in points if not point.thin]
            thin = [*firm[-1:], *(point for point in points if point.thin)]
            for part, chosen in (("firm", firm), ("thin", thin)):
                rows += [
                    {
                        "curve": f"{place}{kind}{part}",
                        "arm": place,
                        "kind": kind,
                        "part": part,
                        "ms": max(point.seconds, 1e-6) * MILLI,
                        "tail": point.tail,
                    }
                    for point in chosen
                ]
    return rows


def _chart(arms: Sequence[ArmCurves], canvas: Canvas) -> Any:
    rows = _rows(arms)
    kinds = alt.Scale(domain=["latency", "service"], range=[[1, 0], DASH])
    parts = alt.Scale(domain=["firm", "thin"], range=[1, THIN_OPACITY])
    ticks = alt.Axis(values=log_ticks(*_domain(rows), dense=not canvas.narrow), format=",~g")
    lines = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(interpolate="step-after", strokeWidth=2, strokeJoin="round")
        .encode(
            x=alt.X(
                "ms:Q",
                title="milliseconds (log scale)",
                scale=alt.Scale(type="log", domain=_domain(rows), nice=False),
                axis=ticks,
            ),
            y=_tail_axis(max(row["tail"] for row in rows)),
            color=arm_colors(len(arms)),
            detail="curve:N",
            strokeDash=alt.StrokeDash("kind:N", scale=kinds, legend=None),
            opacity=alt.Opacity("part:N", scale=parts, legend=None),
        )
    )
    layers = lines + _labels(arms[0]) if len(arms) == 1 else lines
    return layers.properties(width=canvas.width, height=300 if canvas.narrow else 340)


def _tail_axis(top: float) -> alt.Y:
    """Return the stretched axis, labelled with the shares that its positions stand for."""
    shares = [share for share in SHARES if tail_of(share) <= top]
    labels = ", ".join(f"'{tail_of(share):.4f}': '{share * 100:g} %'" for share in shares)
    return alt.Y(
        "tail:Q",
        title="requests answered",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(
            values=[tail_of(share) for share in shares],
            labelExpr=f"{{{labels}}}[format(datum.value, '.4f')]",
        ),
    )


def _labels(arm: ArmCurves) -> Any:
    """Name the percentiles on the curve itself; above and left of a rising curve there is always room."""
    known = {name: getattr(arm.latency_s, name) for name in ("p50", "p95", "p99")}
    rows = [
        {
            "ms": value * MILLI,
            "tail": tail_of(int(name[1:]) / 100),
            "text": f"{name} {formats.percentile(arm.latency_s, name)}",
        }
        for name, value in known.items()
        if value is not None
    ]
    base = alt.Chart(alt.InlineData(values=rows)).encode(x="ms:Q", y="tail:Q")
    dots = base.mark_point(
        filled=True, size=60, color=series_paint(0).placeholder, stroke=Paint.CARD.placeholder, opacity=1
    )
    texts = base.mark_text(align="right", dx=-10, dy=-8, fontSize=13, color=Paint.INK.placeholder)
    return dots + texts.encode(text="text:N")


def _domain(rows: Sequence[dict[str, Any]]) -> list[float]:
    low = min((row["ms"] for row in rows), default=1.0)
    high = max((row["ms"] for row in rows), default=10.0)
    return [low * 0.95, max(high, low * 1.5) * 1.05]
