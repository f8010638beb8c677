"""The forest plot: every comparison as a ratio with its interval, against the margin declared in advance.

Rules: the axis is the ratio on a log scale, 1 in the middle; the thick bar is the interval that an
equivalence test looks at, the thin one the usual 95 %; pairs of an arm with itself (A/A) are ticks of their
own row, in the same scale: what they spread over is noise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import altair as alt

from loadtest.analysis.interval import SPREAD_UNITS
from loadtest.report import formats
from loadtest.report.chart_style import (
    Canvas,
    Figure,
    LegendEntry,
    Paint,
    draw,
    label_room,
)
from loadtest.report.study_record import VerdictWord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.report.study_record import Comparison, Interval, StudyRecord

ROW_HEIGHT = 26
MAX_NAME_ROOM = 330
NARROW_FONT = 0.84  # Vega cuts labels by a font that is this much narrower than the widest likely one
BREATHING = 1.08  # room, on the log scale, between the outermost mark and the axis' end
LEAST_REACH = 1.04  # an axis never shows less than 4 % either way: less would magnify noise
WORD_PAINT = {
    VerdictWord.FASTER: Paint.GOOD,
    VerdictWord.BETTER: Paint.GOOD,
    VerdictWord.SLOWER: Paint.BAD,
    VerdictWord.WORSE: Paint.BAD,
    VerdictWord.EQUIVALENT: Paint.SERIES_1,
    VerdictWord.INCONCLUSIVE: Paint.MUTED,
    VerdictWord.INVALID: Paint.MUTED,
}


def forest_figure(study: StudyRecord) -> Figure | None:
    """Draw the comparisons of a study, the A/A control last; None where there are none."""
    whole = [comparison for comparison in study.comparisons if not is_cell(comparison)]
    compared = [*whole, *filter(None, [study.capacity_ratio]), *_control(study)]
    shown = [comparison for comparison in compared if comparison.log_ratio is not None]
    if not shown and not study.aa:
        return None
    wide, narrow = draw("forest", lambda canvas: _chart(shown, study.aa, canvas))
    return Figure(
        key="forest",
        title="Ratios between the arms",
        caption=(
            f"Each row is a ratio of an arm to {study.reference}; 1 means no difference"
            f"{_directions([*shown, *study.aa])}. The point is the "
            "estimate, the thick bar the interval that must lie inside the shaded margin to call the arms "
            f"equivalent, the thin bar the {formats.interval_head(one.interval for one in shown)}."
            f"{_noise(study.aa)}"
        ),
        alternative=" ".join(_words(comparison) for comparison in (*shown, *study.aa)),
        legend=_legend(shown, study),
        wide=wide,
        narrow=narrow,
    )


def _directions(shown: Sequence[Comparison]) -> str:
    """Say on which side of 1 an arm is slower, of the measures that are drawn."""
    timed = any(_is_time(comparison) for comparison in shown)
    counted = any(not _is_time(comparison) for comparison in shown)
    said = []
    if timed:
        said.append("of latencies, an arm to the right of it is slower")
    if counted:
        said.append("of rates, goodput and capacity, an arm to the left of it is slower")
    return f": {'; '.join(said)}" if said else ""


def _noise(aa: Sequence[Comparison]) -> str:
    """Say what the ticks are, and from how many pairs: a spread over few is hardly known."""
    nums = sorted({len(comparison.pair_log_ratios) for comparison in aa if comparison.pair_log_ratios})
    if not nums:
        return ""
    pairs = formats.plural(nums[0], "pair") if len(nums) == 1 else f"{nums[0]} to {nums[-1]} pairs"
    spread = (
        "their spread is the noise" if nums[-1] >= SPREAD_UNITS else "one has no spread to tell the noise by"
    )
    return f" Ticks in the A/A rows are {pairs} of the same arm with itself: {spread}."


def _is_time(comparison: Comparison) -> bool:
    return "latency" in comparison.measure


def is_cell(comparison: Comparison) -> bool:
    """Whether a comparison is of one task in one language; hundreds of them belong on a map, not here."""
    return comparison.task is not None and comparison.language is not None


def _control(study: StudyRecord) -> list[Comparison]:
    return [study.positive_control.comparison] if study.positive_control else []


def _legend(shown: Sequence[Comparison], study: StudyRecord) -> tuple[LegendEntry, ...]:
    words = [word for word in VerdictWord if any(comparison.word == word for comparison in shown)]
    entries = [LegendEntry(paint=WORD_PAINT[word], text=word.value, swatch="dot") for word in words]
    if any(comparison.margin for comparison in shown):
        entries.append(LegendEntry(paint=Paint.BAND, text="margin declared in advance", swatch="box"))
    if any(comparison.pair_log_ratios for comparison in study.aa):
        entries.append(LegendEntry(paint=Paint.MUTED, text="A/A pair", swatch="tick"))
    return tuple(entries)


def _words(comparison: Comparison) -> str:
    interval = comparison.interval
    between = (
        f", {formats.confidence(interval.confidence)} interval {formats.ratio_change(interval.low)} to "
        f"{formats.ratio_change(interval.high)}"
        if interval
        else ""
    )
    return (
        f"{comparison.name}: ratio {formats.ratio_change(comparison.log_ratio)}{between}, {comparison.word}."
    )


def _row(comparison: Comparison) -> dict[str, Any]:
    def ends(interval: Interval | None, key: str) -> dict[str, float | None]:
        low, high = (interval.low, interval.high) if interval else (None, None)
        return {
            f"{key}_low": None if low is None else math.exp(low),
            f"{key}_high": None if high is None else math.exp(high),
        }

    margin = comparison.margin
    return {
        "name": comparison.name,
        "word": comparison.word.value,
        "ratio": None if comparison.log_ratio is None else math.exp(comparison.log_ratio),
        **ends(comparison.interval, "thin"),
        **ends(comparison.equivalence_interval, "thick"),
        "margin_low": math.exp(margin.low) if margin else None,
        "margin_high": math.exp(margin.high) if margin else None,
    }


def _aa_rows(aa: Sequence[Comparison]) -> list[dict[str, Any]]:
    return [
        {"name": comparison.name, "ratio": math.exp(log_ratio)}
        for comparison in aa
        for log_ratio in comparison.pair_log_ratios
    ]


def _reach(rows: Sequence[dict[str, Any]]) -> float:
    """Return the ratio that the axis must reach either way."""
    keys = ("ratio", "thin_low", "thin_high", "thick_low", "thick_high", "margin_low", "margin_high")
    values = [row[key] for row in rows for key in keys if row.get(key) is not None]
    farthest = max([math.log(LEAST_REACH), *(abs(math.log(value)) for value in values)])
    return math.exp(farthest * BREATHING)


def _chart(shown: Sequence[Comparison], aa: Sequence[Comparison], canvas: Canvas) -> Any:
    rows, aa_rows = [_row(comparison) for comparison in shown], _aa_rows(aa)
    if canvas.narrow:
        shorten(rows, aa_rows)
    names = list(dict.fromkeys(row["name"] for row in (*rows, *aa_rows)))
    x = _ratio_axis(_reach([*rows, *aa_rows]), canvas)
    y = _name_axis(names, canvas)
    color = alt.Color("word:N", scale=_word_scale(), legend=None)
    base = alt.Chart(alt.InlineData(values=rows)).encode(y=y)
    one = (
        alt.Chart(alt.InlineData(values=[{}]))
        .mark_rule(color=Paint.AXIS.placeholder, strokeWidth=1.5)
        .encode(x=alt.XDatum(1))
    )
    ticks = (
        alt.Chart(alt.InlineData(values=aa_rows))
        .mark_tick(thickness=2, size=ROW_HEIGHT - 10, color=Paint.MUTED.placeholder, opacity=0.8)
        .encode(x=x, y=y)
    )
    layers = (
        base.mark_bar(height=ROW_HEIGHT - 2, color=Paint.BAND.placeholder).encode(
            x="margin_low:Q", x2="margin_high:Q"
        ),
        one,
        base.mark_rule(strokeWidth=1.5).encode(x="thin_low:Q", x2="thin_high:Q", color=color),
        base.mark_rule(strokeWidth=5).encode(x="thick_low:Q", x2="thick_high:Q", color=color),
        base.mark_point(size=70, stroke=Paint.CARD.placeholder, strokeWidth=1.2, opacity=1).encode(
            x=x, fill=alt.Fill("word:N", scale=_word_scale(), legend=None)
        ),
        ticks,
    )
    return alt.layer(*layers).properties(width=canvas.width, height=alt.Step(ROW_HEIGHT))


def shorten(*tables: list[dict[str, Any]]) -> None:
    """Put what tells rows apart first, since narrow labels are cut at their ends; never make two alike."""
    short = {row["name"]: _short(row["name"]) for table in tables for row in table}
    if len(set(short.values())) == len(short):
        for table in tables:
            for row in table:
                row["name"] = short[row["name"]]


def _short(name: str) -> str:
    measure, _, where = name.partition(", ")
    measure = measure.replace(" latency at ", " at ").removesuffix(" load")
    return f"{where}: {measure}" if where else measure


def _ratio_axis(reach: float, canvas: Canvas) -> alt.X:
    return alt.X(
        "ratio:Q",
        title="ratio to the reference (log scale)",
        scale=alt.Scale(type="log", domain=[1 / reach, reach], nice=False, clamp=True),
        axis=alt.Axis(values=_ticks(reach, canvas.ticks), format=".3~g", grid=True),
    )


def _name_axis(names: list[str], canvas: Canvas) -> alt.Y:
    room = min(canvas.width // 2 - 20 if canvas.narrow else MAX_NAME_ROOM, label_room(names))
    return alt.Y(
        "name:N",
        sort=names,
        title=None,
        scale=alt.Scale(domain=names),
        axis=alt.Axis(ticks=False, domain=False, grid=False, labelLimit=room * NARROW_FONT, minExtent=room),
    )


def _word_scale() -> alt.Scale:
    return alt.Scale(
        domain=[word.value for word in VerdictWord],
        range=[WORD_PAINT[word].placeholder for word in VerdictWord],
    )


def _ticks(reach: float, wanted: int) -> list[float]:
    """Ratios that are the same step up and down: 1, 1.05 and 1/1.05 are as far from each other."""
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
    step = next((s for s in steps if math.log(reach) / math.log1p(s) <= wanted / 2), steps[-1])
    count = math.floor(math.log(reach) / math.log1p(step))
    return [(1 + step) ** k for k in range(-count, count + 1)]
