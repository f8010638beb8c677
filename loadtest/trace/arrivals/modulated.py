"""Laws whose rate varies: steps, a sine, and random on and off phases.

Steps and sine thin a Poisson process of the highest rate: an arrival at ``t`` stays
with probability ``rate(t) / highest``. On-off is a Markov-modulated Poisson process
of two states; its arrivals are a unit Poisson process read on the clock that its
accumulated rate makes.

Source: Lewis and Shedler, "Simulation of nonhomogeneous Poisson processes by
thinning" (1979); Fischer and Meier-Hellstern, "The Markov-modulated Poisson process
cookbook" (1993); Brown et al., "The time-rescaling theorem" (2002).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loadtest.trace.arrivals.gaps import gaps
from loadtest.trace.arrivals.law import MICROSECONDS, Law, check_size
from loadtest.trace.arrivals.mmpp import filtered_uniforms
from loadtest.trace.arrivals.renewal import CHUNK, to_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Piecewise(Law):
    """A Poisson process of rate ``rates_per_s[k]`` from second ``starts_s[k]`` on; the last one holds."""

    rates_per_s: tuple[float, ...]
    starts_s: tuple[float, ...]

    @property
    def text(self) -> str:
        """The law as ``parse_law`` reads it."""
        steps = zip(self.rates_per_s, self.starts_s, strict=True)
        return "piecewise:" + ",".join(f"{rate!r}@{start!r}" for rate, start in steps)

    def expected_count(self, duration_s: float) -> float:
        """Return the mean number of arrivals, the area under the steps."""
        return float(self._area(np.array([duration_s]))[0])

    def times_us(self, duration_s: float, rng: Generator, *, num_items: int = 0) -> NDArray[np.int64]:
        """Return sorted instants, int64 microseconds ``[n]``."""
        del num_items
        check_size(self, duration_s, num_draws=max(self.rates_per_s) * duration_s)
        return _thin(self._rate, max(self.rates_per_s), duration_s, rng)

    def uniforms(self, times_us: NDArray[np.int64], *, resolution_us: int = 1) -> NDArray[np.float64]:
        """Return the probability of each gap on the clock of the accumulated rate, ``[n]``."""
        return _rescaled(self._area, times_us, resolution_us)

    def _rate(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        step = np.searchsorted(self.starts_s, times_s, side="right") - 1
        return np.asarray(self.rates_per_s)[step]

    def _area(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        starts, rates = np.asarray(self.starts_s), np.asarray(self.rates_per_s)
        before = np.concatenate([[0.0], np.cumsum(np.diff(starts) * rates[:-1])])
        step = np.searchsorted(starts, times_s, side="right") - 1
        area: NDArray[np.float64] = before[step] + (times_s - starts[step]) * rates[step]
        return area


@dataclass(frozen=True, slots=True, kw_only=True)
class Sine(Law):
    """A Poisson process with rate ``mean + amplitude * sin(2 pi t / period)``."""

    mean_per_s: float
    amplitude_per_s: float
    period_s: float

    @property
    def text(self) -> str:
        """The law as ``parse_law`` reads it."""
        return f"sine:{self.mean_per_s!r}:{self.amplitude_per_s!r}:{self.period_s!r}"

    def expected_count(self, duration_s: float) -> float:
        """Return the mean number of arrivals, the area under the sine."""
        return float(self._area(np.array([duration_s]))[0])

    def times_us(self, duration_s: float, rng: Generator, *, num_items: int = 0) -> NDArray[np.int64]:
        """Return sorted instants, int64 microseconds ``[n]``."""
        del num_items
        check_size(self, duration_s)
        return _thin(self._rate, self.mean_per_s + self.amplitude_per_s, duration_s, rng)

    def uniforms(self, times_us: NDArray[np.int64], *, resolution_us: int = 1) -> NDArray[np.float64]:
        """Return the probability of each gap on the clock of the accumulated rate, ``[n]``."""
        return _rescaled(self._area, times_us, resolution_us)

    def _rate(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.mean_per_s + self.amplitude_per_s * np.sin(times_s * (2 * math.pi / self.period_s))

    def _area(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        turn = 2 * math.pi / self.period_s
        return self.mean_per_s * times_s + self.amplitude_per_s / turn * (1 - np.cos(turn * times_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class OnOff(Law):
    """Bursts: Poisson at one rate while on and at another while off, phases of exponential length.

    The first phase is drawn from the share of time that each has in the long run.
    """

    on_per_s: float
    off_per_s: float
    mean_on_s: float
    mean_off_s: float

    @property
    def text(self) -> str:
        """The law as ``parse_law`` reads it."""
        return f"onoff:{self.on_per_s!r}:{self.off_per_s!r}:{self.mean_on_s!r}:{self.mean_off_s!r}"

    @property
    def on_ratio(self) -> float:
        """The share of time spent on, in the long run."""
        return self.mean_on_s / (self.mean_on_s + self.mean_off_s)

    def expected_count(self, duration_s: float) -> float:
        """Return the mean number of arrivals over all ways the phases can fall."""
        return duration_s * (self.on_per_s * self.on_ratio + self.off_per_s * (1 - self.on_ratio))

    def times_us(self, duration_s: float, rng: Generator, *, num_items: int = 0) -> NDArray[np.int64]:
        """Return sorted instants, int64 microseconds ``[n]``; phases and arrivals draw from two streams."""
        del num_items
        check_size(self, duration_s, num_draws=2 * duration_s / (self.mean_on_s + self.mean_off_s))
        phases, arrivals = rng.spawn(2)
        edges_s, areas = self._phases(duration_s, phases)
        chunks: list[NDArray[np.float64]] = []
        end = 0.0
        while end < areas[-1]:
            chunks.append(end + np.cumsum(-np.log1p(-arrivals.random(CHUNK))))
            end = float(chunks[-1][-1])
        units = np.concatenate(chunks) if chunks else np.empty(0)
        units = units[units < areas[-1]]
        # The phase that holds each unit of area; one of rate 0 has no area and is never chosen.
        phase = np.searchsorted(areas, units, side="right") - 1
        share = (units - areas[phase]) / (areas[phase + 1] - areas[phase])
        times_s = edges_s[phase] + share * (edges_s[phase + 1] - edges_s[phase])
        return to_us(times_s, duration_s)

    def uniforms(self, times_us: NDArray[np.int64], *, resolution_us: int = 1) -> NDArray[np.float64]:
        """Return the probability of each gap given all before it, the phase being unseen, ``[n]``."""
        return filtered_uniforms(
            gaps(times_us, resolution_us=resolution_us),
            rates_per_s=(self.on_per_s, self.off_per_s),
            leave_per_s=(1 / self.mean_on_s, 1 / self.mean_off_s),
            first=(self.on_ratio, 1 - self.on_ratio),
        )

    def _phases(self, duration_s: float, rng: Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the phases' edges in seconds and the expected arrivals up to each, both ``[k + 1]``."""
        states = ((self.mean_on_s, self.on_per_s), (self.mean_off_s, self.off_per_s))
        means_s, rates = np.array(states if rng.random() < self.on_ratio else states[::-1]).T
        lengths: list[NDArray[np.float64]] = []
        end = 0.0
        while end < duration_s:
            # An even number at a time, so that each portion begins with the same phase.
            lengths.append(-np.log1p(-rng.random(CHUNK)) * np.tile(means_s, CHUNK // 2))
            end += float(lengths[-1].sum())
        lengths_s = np.concatenate(lengths)
        areas = lengths_s * np.tile(rates, lengths_s.size // 2)
        return np.cumsum(np.concatenate([[0.0], lengths_s])), np.cumsum(np.concatenate([[0.0], areas]))


def _thin(
    rate: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    highest_per_s: float,
    duration_s: float,
    rng: Generator,
) -> NDArray[np.int64]:
    """Thin a Poisson process of the highest rate; int64 microseconds ``[n]``."""
    kept: list[NDArray[np.float64]] = []
    end = 0.0
    while end < duration_s:
        draws = rng.random((CHUNK, 2))
        candidates = end + np.cumsum(-np.log1p(-draws[:, 0]) / highest_per_s)
        kept.append(candidates[draws[:, 1] * highest_per_s < rate(candidates)])
        end = float(candidates[-1])
    return to_us(np.concatenate(kept), duration_s)


def _rescaled(
    area: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    times_us: NDArray[np.int64],
    resolution_us: int,
) -> NDArray[np.float64]:
    """Return the unit exponential's probability of each gap of the accumulated rate, ``[n]``."""
    found = gaps(times_us, resolution_us=resolution_us)
    before_s = times_us / MICROSECONDS - found.counted_s
    passed = area(before_s)
    low, high = (-np.expm1(passed - area(before_s + end_s)) for end_s in (found.low_s, found.high_s))
    return found.spread(low, high)
