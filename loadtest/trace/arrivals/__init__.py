"""When requests arrive: laws of arrivals as values, drawn from a seed. No clock, no I/O.

``parse_law("poisson:40")`` gives a frozen record; ``law.times_us(duration_s, rng)``
gives sorted integer microseconds in ``[0, duration)``. Rules:

- Draws use inverse transforms of ``rng.random()`` alone, so that a schedule depends
  on the generator's bits and not on the sampling algorithms of a numpy release.
- A longer duration extends a schedule and never changes its beginning.
- Nothing is rescaled: the number of arrivals is as random as the law says.
- ``law.uniforms(times_us)`` maps instants to values that are independent and uniform
  on (0, 1) exactly when the instants follow the law, so that what was *sent* can be
  tested against what was *asked for*; None where the law is not random.

A replayed law names a file; ``loadtest.trace.arrivals_file.load_law`` reads it.
"""

from __future__ import annotations

from loadtest.trace.arrivals.formats import Timestamps, parse_timestamps
from loadtest.trace.arrivals.grammar import GRAMMAR, parse_law
from loadtest.trace.arrivals.items import draw_items, merge, shard
from loadtest.trace.arrivals.law import Law, LawError
from loadtest.trace.arrivals.modulated import OnOff, Piecewise, Sine
from loadtest.trace.arrivals.renewal import Constant, Gamma, Poisson
from loadtest.trace.arrivals.replay import Replay
from loadtest.trace.arrivals.together import Closed, Offline

__all__ = [
    "GRAMMAR",
    "Closed",
    "Constant",
    "Gamma",
    "Law",
    "LawError",
    "Offline",
    "OnOff",
    "Piecewise",
    "Poisson",
    "Replay",
    "Sine",
    "Timestamps",
    "draw_items",
    "merge",
    "parse_law",
    "parse_timestamps",
    "shard",
]
