"""Numbers as people read them: three significant digits, a unit that fits, one dash for nothing.

Rules: the same number is written the same way on the page, in Markdown and in the terminal; a missing
figure is a dash, never 0; a lower bound carries its sign.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loadtest.analysis.percentiles import least

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from loadtest.report.records import Distribution
    from loadtest.report.study_record import Interval

MISSING = "\N{EN DASH}"
THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
AT_LEAST = "\N{GREATER-THAN OR EQUAL TO}"
SIGNIFICANT_DIGITS = 3
ONE_AFTER_ROUNDING = 0.9995  # from here on, three digits of the smaller unit would read 1,000
LEAST_PERCENT_SHOWN = 1e-4


def number(value: float | None, digits: int = SIGNIFICANT_DIGITS) -> str:
    """Write with at least ``digits`` significant digits, never dropping a digit before the point."""
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    decimals = max(0, digits - 1 - magnitude)
    text = f"{value:,.{decimals}f}"
    carried = math.floor(math.log10(abs(float(text.replace(",", ""))))) if float(text.replace(",", "")) else 0
    return f"{value:,.{max(0, digits - 1 - carried)}f}" if carried != magnitude else text


def seconds(value: float | None, *, at_least: bool = False) -> str:
    """Write a duration in µs, ms or s; ``at_least`` marks a lower bound."""
    if value is None:
        return MISSING
    sign = AT_LEAST + THIN_SPACE if at_least else ""
    size = abs(value)
    if size and size < ONE_AFTER_ROUNDING * 1e-3:
        return f"{sign}{number(value * 1e6)}{THIN_SPACE}µs"
    if size < ONE_AFTER_ROUNDING:
        return f"{sign}{number(value * 1e3)}{THIN_SPACE}ms"
    return f"{sign}{number(value)}{THIN_SPACE}s"


def milliseconds(value: float | None) -> str:
    """Write seconds as a bare number of milliseconds, for columns whose head names the unit."""
    return MISSING if value is None else number(value * 1e3)


def rate(value: float | None) -> str:
    """Write a rate a second."""
    return MISSING if value is None else f"{number(value)}/s"


def count(value: int | None) -> str:
    """Write a whole number with separators."""
    return MISSING if value is None else f"{value:,}"


def percent(ratio: float | None) -> str:
    """Write a ratio in 0..1 as per cent; anything above 0 is never written as 0."""
    if ratio is None:
        return MISSING
    if ratio == 0:
        return f"0{THIN_SPACE}%"
    if ratio < LEAST_PERCENT_SHOWN:
        return f"<{THIN_SPACE}0.01{THIN_SPACE}%"
    return f"{number(ratio * 100)}{THIN_SPACE}%"


def score(value: float | None) -> str:
    """Write a score in 0..1 with three decimals."""
    return MISSING if value is None else f"{value:.3f}"


def ratio_change(log_ratio: float | None) -> str:
    """Write a log ratio as the ratio itself, three decimals."""
    return MISSING if log_ratio is None else f"{math.exp(log_ratio):.3f}"


def confidence(level: float) -> str:
    """Write how often an interval holds the truth: 95%, 97.5%."""
    return f"{level * 100:.3g}%"


def interval_head(intervals: Iterable[Interval | None]) -> str:
    """Name a column of intervals, with their level where it is one."""
    levels = {confidence(one.confidence) for one in intervals if one is not None}
    return f"{levels.pop()} interval" if len(levels) == 1 else "interval"


def capital(text: str) -> str:
    """Begin a sentence: the first letter large, the others as they are."""
    return f"{text[0].upper()}{text[1:]}"


def plural(count_: int, noun: str, many: str | None = None) -> str:
    """Write a count with its noun in the right number."""
    return f"{count_:,} {noun if count_ == 1 else many or noun + 's'}"


def takes(names: Iterable[str]) -> str:
    """Say how many requests percentiles take, named as p50, p95: "a p50 takes 20, a p95 takes 200"."""
    return ", ".join(f"a {name} takes {count(least(int(name[1:]) / 100))}" for name in names)


def moment(instant: datetime) -> str:
    """Write an instant to the minute, in UTC."""
    return instant.strftime("%-d %B %Y, %H:%M UTC")


def percentile(distribution: Distribution, name: str) -> str:
    """Write one figure of a distribution; a lower bound carries its sign, too few samples a dash."""
    value: float | None = getattr(distribution, name)
    return seconds(value, at_least=name in distribution.lower_bounds)


def percentile_ms(distribution: Distribution, name: str) -> str:
    """Write one figure of a distribution in bare milliseconds, a lower bound with its sign."""
    value: float | None = getattr(distribution, name)
    sign = AT_LEAST if value is not None and name in distribution.lower_bounds else ""
    return f"{sign}{milliseconds(value)}"
