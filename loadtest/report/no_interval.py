"""Why a figure has no interval, in words that go on after "none:". Pure.

Rule: a reason is given only where the record itself proves it; where it does not, as in one of another make,
no more is said than that there is none.
"""

from __future__ import annotations

from typing import assert_never

from loadtest.analysis.capacity import MIN_INTERVAL_BLOCKS, MIN_INTERVAL_PAIRS, MIN_INTERVAL_RUNS, Method
from loadtest.analysis.interval import SPREAD_UNITS
from loadtest.report.formats import plural
from loadtest.report.study_record import Capacity, Comparison, Offline, Probe

CAPACITY_MEASURE = "capacity"
UNKNOWN = "the record does not say why"


def why_no_interval(figure: Comparison | Capacity | Offline | Probe) -> str:
    """Return why a figure has no interval; nothing where it has one.

    Of a probe the interval is that of its latency; an offline rate has two, of inputs and of tokens, and
    lacks one where either is missing.
    """
    match figure:
        case Comparison():
            return "" if figure.interval else _comparison(figure)
        case Capacity():
            return "" if figure.interval else _capacity(figure)
        case Offline():
            return "" if figure.inputs_interval and figure.tokens_interval else _offline(figure)
        case Probe():
            return "" if figure.interval else _probe(figure)
        case _:
            assert_never(figure)


def num_probes(capacity: Capacity) -> int:
    """Return over how many runs a capacity was found."""
    return sum(probe.num_runs for probe in capacity.probes)


def _comparison(one: Comparison) -> str:
    if one.measure == CAPACITY_MEASURE:
        if one.log_ratio is None:
            return "no line was fitted to both arms' probes"
        least = MIN_INTERVAL_PAIRS
    else:
        if one.log_ratio is None:
            return "no valid pair has this figure in both runs"
        least = SPREAD_UNITS
    return _too_few(one.num_pairs, least, "pair") or UNKNOWN


def _capacity(one: Capacity) -> str:
    if one.method in (Method.ABOVE, Method.BELOW):
        return f"it lies {one.method}"
    if one.rate_per_s is None:
        return "no capacity was found"
    match one.method:
        case Method.LOGISTIC:
            too_few = _too_few(num_probes(one), MIN_INTERVAL_BLOCKS, "probe")
            return too_few or "its runs scatter too much"
        case Method.BRACKET:
            return "it lies too near to an end of the probed rates"
        case _:
            return UNKNOWN


def _offline(one: Offline) -> str:
    too_few = _too_few(one.num_runs, SPREAD_UNITS, "run")
    if too_few:
        return too_few
    return "a run answered nothing" if one.inputs_interval is None else "a run counted no tokens"


def _probe(one: Probe) -> str:
    if one.latency_s is None:
        return "a run has no such percentile"
    return _too_few(one.num_runs, MIN_INTERVAL_RUNS, "run") or UNKNOWN


def _too_few(num: int, least: int, noun: str) -> str:
    """Say that so many are too few for an interval; nothing where they are not."""
    return f"it takes {plural(least, noun)}, not {num:,}" if num < least else ""
