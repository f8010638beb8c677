"""Tokens against service time, one point a language (and task): how far length explains differences."""

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
    series_paint,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.report.study_record import TokenFit

MILLI = 1e3
MAX_LABELS = 14


def tokens_figure(fits: Sequence[TokenFit]) -> Figure | None:
    """Draw each arm's points and line; None where no fit was made."""
    if not any(fit.points for fit in fits):
        return None
    wide, narrow = draw("tokens", lambda canvas: _chart(fits, canvas))
    return Figure(
        key="tokens",
        title="How much of the time tokens explain",
        caption=(
            "Mean service time against the mean number of tokens that the encoder was given, one point a "
            "language, held to the mean mix of tasks, with the line that fits them."
        ),
        alternative=" ".join(_words(fit) for fit in fits),
        legend=tuple(
            LegendEntry(paint=series_paint(i), text=f"{fit.arm}, R² {fit.r_squared:.2f}", swatch="dot")
            for i, fit in enumerate(fits)
        ),
        wide=wide,
        narrow=narrow,
    )


def _words(fit: TokenFit) -> str:
    return (
        f"{fit.arm}: {formats.seconds(fit.intercept_s)} and {formats.seconds(fit.slope_s)} a token; tokens "
        f"explain {fit.r_squared:.0%} of the variance between {len(fit.points)} points."
    )


def _chart(fits: Sequence[TokenFit], canvas: Canvas) -> Any:
    points: list[dict[str, Any]] = [
        {"arm": i, "tokens": p.tokens, "ms": p.service_s * MILLI, "language": p.language}
        for i, fit in enumerate(fits)
        for p in fit.points
    ]
    reach = max(point["tokens"] for point in points) * 1.05
    lines = [
        {"arm": i, "tokens": at, "ms": (fit.intercept_s + fit.slope_s * at) * MILLI}
        for i, fit in enumerate(fits)
        for at in (min(point["tokens"] for point in points), reach)
    ]
    color = arm_colors(len(fits))
    x = alt.X(
        "tokens:Q",
        title="mean tokens a request",
        scale=alt.Scale(zero=True, domainMax=reach, nice=False),
        axis=alt.Axis(tickCount=canvas.ticks),
    )
    y = alt.Y(
        "ms:Q",
        title="mean service time, ms",
        scale=alt.Scale(zero=True),
        axis=alt.Axis(tickCount=5, minExtent=label_room(["1,000"])),
    )
    dots = alt.Chart(alt.InlineData(values=points)).encode(x=x, y=y)
    line = alt.Chart(alt.InlineData(values=lines)).mark_line(strokeWidth=1.6, strokeDash=[5, 4])
    marks = dots.mark_point(filled=True, size=38, opacity=0.75).encode(color=color)
    labels = (
        dots.mark_text(dx=7, dy=-7, align="left", fontSize=11, color=Paint.MUTED.placeholder)
        .encode(text="language:N")
        .transform_filter("datum.arm == 0")
    )
    layers = line.encode(x=x, y=y, color=color) + marks
    if len(fits[0].points) <= MAX_LABELS:
        layers += labels
    return layers.properties(width=canvas.width, height=260)
