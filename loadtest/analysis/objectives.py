"""Objectives as a user declares them, parsed; ``attainment.py`` holds samples against them.

::

    [WHAT][{task=T,language=L}] [STATISTIC] OP VALUE

    p95<200ms                                          latency over all requests
    latency{task=xnli,language=sw} p95<200ms           ... of some
    service mean<40ms       lag p99<5ms                done - sent; sent - intended
    goodput>=35/s           throughput>=40/s           answered in time; answered
    error_rate<0.1%                                    errors and unfinished requests
    quality{task=xcopa} accuracy>=0.98*unloaded        against the unloaded server's score
    quality{task=panx} f1>=0.7                         against a fixed score

Several are separated by commas or semicolons. STATISTIC is ``pNN``, ``mean`` or ``max``
of a duration, or the name of a quality metric; the others have none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

GRAMMAR = """\
p95<200ms                                       latency of all requests
latency{task=xnli,language=sw} p95<200ms        latency of some
service mean<40ms, lag p99<5ms                  done - sent; sent - intended
goodput>=35/s, throughput>=40/s                 answered in time; answered
error_rate<0.1%                                 errors and unfinished requests
quality{task=xcopa} accuracy>=0.98*unloaded     against the unloaded server
quality{task=panx} f1>=0.7                      against a fixed score"""

SELECTORS = ("task", "language", "variant", "arm")


class ObjectiveError(ValueError):
    """An objective cannot be read; the sentence says what to write."""


class What(StrEnum):
    """What an objective is about."""

    LATENCY = "latency"
    SERVICE = "service"
    LATENESS = "lateness"
    GOODPUT = "goodput"
    THROUGHPUT = "throughput"
    ERROR_RATE = "error_rate"
    QUALITY = "quality"

    @property
    def unit(self) -> str:
        """Seconds, a second, or a share in 0..1."""
        if self in _DURATIONS:
            return "s"
        return "/s" if self in _RATES else "ratio"


_DURATIONS = (What.LATENCY, What.SERVICE, What.LATENESS)
_RATES = (What.GOODPUT, What.THROUGHPUT)
# Decimal, so that 950ms is the double that a measured 0.95 s is, which 950 * 0.001 is not.
_UNITS = {
    "": Decimal(1),
    "s": Decimal(1),
    "ms": Decimal("1e-3"),
    "us": Decimal("1e-6"),
    "min": Decimal(60),
    "/s": Decimal(1),
    "%": Decimal("1e-2"),
}
_UNITS_OF = {"s": ("s", "ms", "us", "min"), "/s": ("/s",), "ratio": ("", "%")}


class Operator(StrEnum):
    """How the measured value must lie to the allowed one."""

    BELOW = "<"
    AT_MOST = "<="
    ABOVE = ">"
    AT_LEAST = ">="

    def holds(self, measured: float, allowed: float) -> bool:
        """Say whether a measured value is allowed."""
        match self:
            case Operator.BELOW:
                return measured < allowed
            case Operator.AT_MOST:
                return measured <= allowed
            case Operator.ABOVE:
                return measured > allowed
            case Operator.AT_LEAST:
                return measured >= allowed

    @property
    def wants_small(self) -> bool:
        """Whether smaller is better."""
        return self in (Operator.BELOW, Operator.AT_MOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One objective. ``allowed`` is in seconds, a second, or a share; a factor where ``of_unloaded``.

    ``statistic``: ``mean``, ``max`` or a percentile's name for durations, a metric's name for quality, else
    empty. ``percentile``: the percentile's share in (0, 1), where it is one.
    """

    text: str
    what: What
    statistic: str
    percentile: float | None
    operator: Operator
    allowed: float
    of_unloaded: bool = False
    where: Mapping[str, str] = field(default_factory=dict)


_OBJECTIVE = re.compile(
    r"""\s*(?P<what>latency|service|lateness|lag|goodput|throughput|error_rate|quality)?
        \s*(?:\{(?P<where>[^{}]*)\})?
        \s*(?P<statistic>[A-Za-z][\w.@+-]*)?
        \s*(?P<operator><=|>=|<|>)
        \s*(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
        \s*(?P<unit>min|ms|us|s|/s|%)?
        \s*(?P<unloaded>\*\s*unloaded)?\s*""",
    re.VERBOSE,
)
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")
_SEPARATOR = re.compile(r"[,;](?![^{}]*\})")


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Return the objectives of a text, separated by commas or semicolons outside braces.

    Raises:
        ObjectiveError: one of them is not in the grammar, which the error quotes.
    """
    return tuple(_parse(part.strip()) for part in _SEPARATOR.split(text))


def latency_limit_s(
    objectives: tuple[Objective, ...], where: Mapping[str, str] | None = None
) -> float | None:
    """Return the time within which an answer counts for goodput ``where``: the first latency objective's.

    One over these requests alone goes before one over more of them, and any of those before one over others.
    """
    wanted = (where or {}).items()

    def distance(objective: Objective) -> tuple[bool, int]:
        holds = objective.where.items() <= wanted
        return not holds, -len(objective.where) if holds else 0

    limits = [o for o in objectives if o.what is What.LATENCY and o.operator.wants_small]
    return min(limits, key=distance).allowed if limits else None


def _parse(text: str) -> Objective:
    found = _OBJECTIVE.fullmatch(text)
    if found is None:
        raise ObjectiveError(f"{text!r} is not an objective. Write one such as:\n{GRAMMAR}")
    name = found["what"] or "latency"
    what = What.LATENESS if name == "lag" else What(name)
    statistic = found["statistic"] or ""
    percentile = _statistic(text, what, statistic)
    unit = found["unit"] or ""
    allowed_units = _UNITS_OF[what.unit]
    if unit not in allowed_units:
        shown = " or ".join(u or "a bare share in 0..1" for u in allowed_units)
        raise ObjectiveError(f"{text!r}: {what} is given in {shown}, as in {_EXAMPLES[what]}.")
    if found["unloaded"] and what is not What.QUALITY:
        raise ObjectiveError(f"{text!r}: only quality is held against the unloaded server.")
    return Objective(
        text=text,
        what=what,
        statistic=statistic,
        percentile=percentile,
        operator=Operator(found["operator"]),
        allowed=float(Decimal(found["number"]) * _UNITS[unit]),
        of_unloaded=bool(found["unloaded"]),
        where=_where(text, found["where"]),
    )


def _statistic(text: str, what: What, statistic: str) -> float | None:
    """Check that the statistic fits what is measured; return a percentile's share."""
    if what is What.QUALITY:
        if not statistic:
            raise ObjectiveError(f"{text!r} names no metric; write one, as in {_EXAMPLES[what]}.")
        return None
    if what not in _DURATIONS:
        if statistic:
            raise ObjectiveError(f"{text!r}: {what} has no {statistic!r}; write it as in {_EXAMPLES[what]}.")
        return None
    percentile = _PERCENTILE.fullmatch(statistic)
    if percentile is not None and float(percentile[1]) > 0:
        return float(Decimal(percentile[1]) * _UNITS["%"])
    if statistic not in ("mean", "max"):
        raise ObjectiveError(f"{text!r}: {statistic!r} is no statistic; write p50, p95, p99.9, mean or max.")
    return None


def _where(text: str, inside: str | None) -> dict[str, str]:
    where: dict[str, str] = {}
    for part in (inside or "").split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not part.strip():
            continue
        if key not in SELECTORS or not equals or not value or key in where:
            raise ObjectiveError(
                f"{text!r}: {part.strip()!r} selects nothing; write {{task=xnli,language=sw}} "
                f"with each of {', '.join(SELECTORS)} at most once."
            )
        where[key] = value
    return where


_EXAMPLES = {
    What.LATENCY: "latency p95<200ms",
    What.SERVICE: "service p95<150ms",
    What.LATENESS: "lag p99<5ms",
    What.GOODPUT: "goodput>=35/s",
    What.THROUGHPUT: "throughput>=40/s",
    What.ERROR_RATE: "error_rate<0.1%",
    What.QUALITY: "quality{task=xcopa} accuracy>=0.98*unloaded",
}
