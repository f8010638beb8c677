"""What a user writes for a law of arrivals, and what he is told when it cannot be read."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from loadtest.trace.arrivals.law import Law, LawError
from loadtest.trace.arrivals.modulated import OnOff, Piecewise, Sine
from loadtest.trace.arrivals.renewal import Constant, Gamma, Poisson
from loadtest.trace.arrivals.replay import Replay
from loadtest.trace.arrivals.together import Closed, Offline

GRAMMAR = """\
constant:RATE                                   one each 1/RATE seconds
poisson:RATE                                    independent arrivals, RATE a second
gamma:RATE:CV                                   gaps with a coefficient of variation; CV > 1 clusters
onoff:RATE_ON:RATE_OFF:MEAN_ON_S:MEAN_OFF_S     bursts: phases of exponential length
piecewise:RATE@FROM_S,RATE@FROM_S,...           steps; the first from 0, the last to the end
sine:MEAN:AMPLITUDE:PERIOD_S                    a rate that swings; AMPLITUDE at most MEAN
replay:FILE[:SPEED]                             recorded arrivals (Azure, BurstGPT, Mooncake, access log)
offline                                         every item once, as fast as answers come
closed:N                                        every item once, N clients that wait for their answers"""

if TYPE_CHECKING:
    from collections.abc import Callable

# Below, a gamma law is a grid; above, thousands of arrivals share an instant.
MIN_CV, MAX_CV = 0.01, 100

_FORMS = {line.split(":")[0].split()[0]: line.split()[0] for line in GRAMMAR.splitlines()}


def parse_law(text: str) -> Law:
    """Return the law that a text names; a replayed law still has to be loaded from its file.

    Raises:
        LawError: the text is not in the grammar, which the error quotes.
    """
    name, _, rest = text.strip().partition(":")
    readers: dict[str, Callable[[str, str], Law]] = {
        "constant": _constant,
        "poisson": _poisson,
        "gamma": _gamma,
        "onoff": _on_off,
        "piecewise": _piecewise,
        "sine": _sine,
        "replay": _replay,
        "offline": _offline,
        "closed": _closed,
    }
    if name not in readers:
        raise LawError(f"{text!r} is not a law of arrivals. Write one of:\n{GRAMMAR}")
    return readers[name](text, rest)


def _constant(text: str, rest: str) -> Constant:
    (rate,) = _numbers(text, rest, 1)
    return Constant(rate_per_s=_positive(text, "RATE", rate))


def _poisson(text: str, rest: str) -> Poisson:
    (rate,) = _numbers(text, rest, 1)
    return Poisson(rate_per_s=_positive(text, "RATE", rate))


def _gamma(text: str, rest: str) -> Gamma:
    rate, cv = _numbers(text, rest, 2)
    if not MIN_CV <= cv <= MAX_CV:
        raise LawError(f"{text!r}: CV must lie between {MIN_CV} and {MAX_CV}; below, write constant:RATE.")
    return Gamma(rate_per_s=_positive(text, "RATE", rate), cv=cv)


def _offline(text: str, rest: str) -> Offline:
    if rest:
        raise LawError(f"{text!r}: offline takes no numbers; every item is sent once.")
    return Offline()


def _on_off(text: str, rest: str) -> OnOff:
    on, off, mean_on_s, mean_off_s = _numbers(text, rest, 4)
    if on < 0 or off < 0 or on + off <= 0:
        raise LawError(f"{text!r}: rates must not be negative, nor both 0. Write {_FORMS['onoff']}.")
    return OnOff(
        on_per_s=on,
        off_per_s=off,
        mean_on_s=_positive(text, "MEAN_ON_S", mean_on_s),
        mean_off_s=_positive(text, "MEAN_OFF_S", mean_off_s),
    )


def _piecewise(text: str, rest: str) -> Piecewise:
    steps = [step.partition("@") for step in rest.split(",")]
    rates = tuple(_number(text, rate) for rate, _, _ in steps)
    starts = tuple(_number(text, start) for _, _, start in steps)
    rising = all(a < b for a, b in pairwise(starts))
    if starts[0] != 0 or not rising:
        raise LawError(f"{text!r}: FROM_S must begin at 0 and rise, as in piecewise:10@0,40@30,10@90.")
    if min(rates) < 0 or max(rates) == 0:
        raise LawError(f"{text!r}: rates must not be negative, nor all 0. Write {_FORMS['piecewise']}.")
    return Piecewise(rates_per_s=rates, starts_s=starts)


def _sine(text: str, rest: str) -> Sine:
    mean, amplitude, period_s = _numbers(text, rest, 3)
    if not 0 <= amplitude <= mean:
        raise LawError(f"{text!r}: AMPLITUDE must lie between 0 and MEAN, so that no rate is negative.")
    return Sine(
        mean_per_s=_positive(text, "MEAN", mean),
        amplitude_per_s=amplitude,
        period_s=_positive(text, "PERIOD_S", period_s),
    )


def _replay(text: str, rest: str) -> Replay:
    # A file's name may hold colons; only a number after the last one is a speed.
    file, colon, last = rest.rpartition(":")
    try:
        speed = float(last) if colon else None
    except ValueError:
        speed = None
    if speed is None:
        file, speed = rest, 1.0
    if not file:
        raise LawError(f"{text!r} names no file. Write {_FORMS['replay']}.")
    return Replay(file=file, speed=_positive(text, "SPEED", speed))


def _closed(text: str, rest: str) -> Closed:
    if not (rest.isascii() and rest.isdigit() and int(rest) > 0):
        raise LawError(f"{text!r}: N must be a whole number of clients, at least 1, as in closed:8.")
    return Closed(num_clients=int(rest))


def _numbers(text: str, rest: str, count: int) -> tuple[float, ...]:
    parts = rest.split(":") if rest else []
    if len(parts) != count:
        form = _FORMS[text.strip().partition(":")[0]]
        raise LawError(f"{text!r} has {len(parts)} of {count} numbers. Write {form}.")
    return tuple(_number(text, part) for part in parts)


def _number(text: str, part: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        form = _FORMS[text.strip().partition(":")[0]]
        raise LawError(f"{text!r}: {part!r} is not a number. Write {form}.")
    return value


def _positive(text: str, name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise LawError(f"{text!r}: {name} must be above 0.")
    return value
