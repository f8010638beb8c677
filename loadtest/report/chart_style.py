"""How every chart looks, and how it becomes text inside the page.

Charts are drawn twice, for a wide screen and for a phone, as SVG without a script. Colours are
placeholders while Vega works and CSS variables in the page, so that one drawing serves light, dark and
paper. Legends are HTML, where they wrap; inside a drawing only axes have text.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


class Paint(StrEnum):
    """A colour of the page; the value is the CSS variable's name."""

    INK = "ink"
    MUTED = "muted"
    GRID = "grid"
    AXIS = "axis"
    CARD = "card"
    BAND = "band"
    GOOD = "good"
    BAD = "bad"
    SERIES_1 = "series-1"
    SERIES_2 = "series-2"
    SERIES_3 = "series-3"
    SERIES_4 = "series-4"
    LATENESS = "part-lateness"
    NETWORK = "part-network"
    TOKENIZE = "part-tokenize"
    QUEUE = "part-queue"
    INFER = "part-infer"
    DECODE = "part-decode"
    OTHER = "part-other"
    UNEXPLAINED = "part-unexplained"

    @property
    def placeholder(self) -> str:
        """A colour that nothing else uses, for Vega's eyes only."""
        return f"#fe00{list(Paint).index(self):02x}"


CHARACTER_WIDTH = 7.4
"""CSS pixels a character at 12 px in DejaVu Sans, the widest font that a reader is likely to have; Vega
measures with a narrower one, so room for labels is reserved rather than measured."""

FEW_DECADES = 2
FEWEST_TICKS = 3

SERIES = (Paint.SERIES_1, Paint.SERIES_2, Paint.SERIES_3, Paint.SERIES_4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """The room that a drawing has, in CSS pixels, axes included."""

    name: str
    width: int
    ticks: int
    narrow: bool


WIDE = Canvas(name="wide", width=880, ticks=8, narrow=False)
NARROW = Canvas(name="narrow", width=350, ticks=4, narrow=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendEntry:
    """One line of a legend: a swatch (``line``, ``dash``, ``box``, ``tick``) and what it means."""

    paint: Paint
    text: str
    swatch: str = "line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A finished chart: two drawings, a legend, and the same said in words."""

    key: str
    title: str
    caption: str
    alternative: str
    legend: tuple[LegendEntry, ...]
    wide: str
    narrow: str


def series_paint(position: int) -> Paint:
    """Return the colour of the arm at this position; more arms than colours start again."""
    return SERIES[position % len(SERIES)]


def arm_colors(num_arms: int) -> alt.Color:
    """Return the colour channel of charts whose rows number their arm under ``arm``."""
    places = list(range(num_arms))
    paints = [series_paint(place).placeholder for place in places]
    return alt.Color("arm:N", scale=alt.Scale(domain=places, range=paints), legend=None)


def arm_letter(position: int) -> str:
    """Return the letter that stands for the arm at this position where its name has no room."""
    return chr(ord("A") + position)


def label_room(labels: Iterable[str]) -> int:
    """Return the pixels that the longest of these labels may take."""
    return math.ceil(max(map(len, labels), default=0) * CHARACTER_WIDTH) + 10


def log_ticks(low: float, high: float, *, dense: bool = True) -> list[float]:
    """Return ticks at 1, 2 and 5 of each decade in ``low .. high``.

    At 1 alone where they would crowd, at every digit where else there would be fewer than three, and at even
    steps where those are too few, too.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    few = math.log10(high / low) <= FEW_DECADES
    steps = (1, 2, 5) if few or (dense and last - first <= 2 * FEW_DECADES) else (1,)
    ticks = _at(steps, range(first, last + 1), low, high)
    if len(ticks) < FEWEST_TICKS:
        ticks = _at(range(1, 10), range(first, last + 1), low, high)
    return ticks if len(ticks) >= FEWEST_TICKS else _even(low, high)


def _at(steps: Iterable[int], powers: Iterable[int], low: float, high: float) -> list[float]:
    ticks = [step * 10.0**power for power, step in itertools.product(powers, steps)]
    return [tick for tick in ticks if low <= tick <= high]


def _even(low: float, high: float) -> list[float]:
    """Return at least three ticks a 1, 2 or 5 of some decade apart."""
    widest = math.floor(math.log10(high - low))
    steps = (step * 10.0**power for power in (widest, widest - 1) for step in (5, 2, 1))
    for step in steps:
        ticks = [round(number * step, 12) for number in range(math.ceil(low / step), int(high / step) + 1)]
        if len(ticks) >= FEWEST_TICKS:
            return ticks
    return ticks


def draw(key: str, build: Callable[[Canvas], Any]) -> tuple[str, str]:
    """Build and draw for both canvases; ``key`` keeps ids apart on the page."""
    return svg(build(WIDE), f"{key}-wide"), svg(build(NARROW), f"{key}-narrow")


def svg(chart: Any, key: str) -> str:
    """Draw an Altair chart as an SVG element whose colours are the page's."""
    styled = _styled(chart).to_dict()
    return _inline(vl_convert.vegalite_to_svg(styled), key)


def _styled(chart: Any) -> Any:
    muted, grid, axis = Paint.MUTED.placeholder, Paint.GRID.placeholder, Paint.AXIS.placeholder
    return (
        chart.configure(
            background="transparent",
            font=FONT,
            aria=False,
            padding={"left": 2, "right": 8, "top": 6, "bottom": 2},
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=muted,
            titleColor=muted,
            gridColor=grid,
            domainColor=axis,
            tickColor=axis,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelPadding=5,
            titlePadding=8,
            tickSize=4,
            labelOverlap="greedy",
            labelSeparation=6,
        )
        .configure_header(labelColor=muted, titleColor=muted)
    )


_DIMENSIONS = re.compile(r'^<svg [^>]*?width="([\d.]+)" height="([\d.]+)"[^>]*>')
_EMPTY_PARTS = re.compile(r'<path class="(?:background|foreground)" aria-hidden="true" d="[^"]*"[^>]*?/>')
_ROLES = re.compile(r' (?:role|aria-roledescription|aria-hidden|pointer-events)="[^"]*"')
_UNLABELLED = re.compile(r"<text [^>]*?/>")
_IDS = re.compile(r'(id="|url\(#)([A-Za-z_]\w*)')
_FONT = re.compile(
    r' font-family="[^"]*"| font-weight="normal"| opacity="1"'
)  # said once, in the page's style
# Of coordinates; what stands between tags is read by people, and 0.002 s is not 0.00.
_LONG_NUMBER = re.compile(r">[^<]*<|(\d+\.\d{2})\d+")


def _inline(document: str, key: str) -> str:
    """Cut an SVG document down to an element of the page."""
    size = _DIMENSIONS.match(document)
    if size is None:
        raise AssertionError("Vega's SVG does not begin as expected. This is a bug.")
    width, height = float(size[1]), float(size[2])
    body = document[size.end() :]
    for pattern in (_EMPTY_PARTS, _ROLES, _UNLABELLED, _FONT):
        body = pattern.sub("", body)
    body = _LONG_NUMBER.sub(lambda found: found[1] or found[0], _IDS.sub(rf"\1{key}-\2", body))
    for paint in Paint:
        body = body.replace(paint.placeholder, f"var(--{paint})")
    head = (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        'aria-hidden="true" focusable="false">'
    )
    return head + body
