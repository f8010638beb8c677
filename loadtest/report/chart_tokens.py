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

    from loadtest.report.study_record import TokenFit, TokenPoint

MILLI = 1e3
MAX_LABELS = 14
NUM_ENDS = 2
HEIGHT = 260
LABEL_WIDTH, LABEL_HEIGHT = 24, 16  # px, of two or three letters, with room for the axes' labels


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
            "language, held to the mean mix of tasks, with the line that fits them. R² is the share of the "
            "differences between languages that the line explains; one language far from the others can "
            "raise it alone, so it is given without that one too."
        ),
        alternative=" ".join(_words(fit) for fit in fits),
        legend=tuple(
            LegendEntry(paint=series_paint(i), text=_legend(fit), swatch="dot") for i, fit in enumerate(fits)
        ),
        wide=wide,
        narrow=narrow,
    )


def _legend(fit: TokenFit) -> str:
    rest = "" if fit.without is None else f" ({fit.without.r_squared:.2f} without {fit.without.language})"
    return f"{fit.arm}: {len(fit.points)} languages, R² {fit.r_squared:.2f}{rest}"


def _words(fit: TokenFit) -> str:
    rest = "" if fit.without is None else f", {fit.without.r_squared:.0%} without {fit.without.language}"
    return (
        f"{fit.arm}: {formats.seconds(fit.intercept_s)} and {formats.seconds(fit.slope_s)} a token; tokens "
        f"explain {fit.r_squared:.0%} of the variance between {len(fit.points)} points{rest}."
    )


def _named(fit: TokenFit, reach: tuple[float, float], canvas: Canvas) -> list[str]:
    """Return the languages to write beside their points: all where they are few, else the ends of the row.

    One whose label would lie on another's has none. ``reach``: tokens and seconds at the ends of the axes.
    """
    by_tokens = sorted(fit.points, key=lambda point: point.tokens)
    if len(by_tokens) > MAX_LABELS:
        by_tokens = [*by_tokens[:NUM_ENDS], *by_tokens[-NUM_ENDS:]]
    wide, high = reach[0] * LABEL_WIDTH / canvas.width, reach[1] * LABEL_HEIGHT / HEIGHT
    named: list[TokenPoint] = []
    for point in by_tokens:
        if all(
            abs(point.tokens - other.tokens) > wide or abs(point.service_s - other.service_s) > high
            for other in named
        ):
            named.append(point)
    return [point.language for point in named]


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
    named = _named(fits[0], (reach, max(point["ms"] for point in points) / MILLI), canvas)
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
        dots.mark_text(dx=5, dy=9, align="left", fontSize=11, color=Paint.MUTED.placeholder)
        .encode(text="language:N")
        .transform_filter(alt.FieldOneOfPredicate(field="language", oneOf=named))
        .transform_filter("datum.arm == 0")
    )
    layers = line.encode(x=x, y=y, color=color) + marks + labels
    return layers.properties(width=canvas.width, height=HEIGHT)
