"""Laws whose gaps are independent and alike: constant, Poisson, gamma.

A random law starts with a gap, the constant law with an arrival at 0. Gamma is an
ordinary renewal process: its mean count over ``d`` seconds differs from ``rate * d``
by ``(cv**2 - 1) / 2`` arrivals, whatever ``d``, and is not rescaled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from loadtest.trace.arrivals.gaps import gaps
from loadtest.trace.arrivals.law import MICROSECONDS, Law, check_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

CHUNK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(Law):
    """One arrival each ``1 / rate_per_s`` seconds, the first at 0; rounding does not add up."""

    rate_per_s: float

    @property
    def text(self) -> str:
        """The law as ``parse_law`` reads it."""
        return f"constant:{self.rate_per_s!r}"

    def expected_count(self, duration_s: float) -> float:
        """Return the exact number of arrivals."""
        return math.ceil(self.rate_per_s * duration_s)

    def times_us(self, duration_s: float, rng: Generator, *, num_items: int = 0) -> NDArray[np.int64]:
        """Return the grid ``k / rate``, int64 microseconds ``[n]``; nothing is drawn."""
        del rng, num_items
        check_size(self, duration_s)
        index = np.arange(math.ceil(self.rate_per_s * duration_s) + 1)
        return to_us(index / self.rate_per_s, duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisson(Law):
    """Independent exponential gaps with mean ``1 / rate_per_s``."""

    rate_per_s: float

    @property
    def text(self) -> str:
        """The law as ``parse_law`` reads it."""
        return f"poisson:{self.rate_per_s!r}"

    def expected_count(self, duration_s: float) -> float:
        """Return the mean number of arrivals."""
        return self.rate_per_s * duration_s

    def times_us(self, duration_s: float, rng: Generator, *, num_items: int = 0) -> NDArray[np.int64]:
        """Return sorted instants, int64 microseconds ``[n]``."""
        del num_items
        check_size(self, duration_s)
        return _renew(lambda u: -np.log1p(-u) / self.rate_per_s, duration_s, rng)

    def uniforms(self, times_us: NDArray[np.int64], *, resolution_us: int = 1) -> NDArray[np.float64]:
        """Return the exponential law's probability of each gap, ``[n]``."""
        found = gaps(times_us, resolution_us=resolution_us)
        low, high = (-np.expm1(-self.rate_per_s * end_s) for end_s in (found.low_s, found.high_s))
        return found.spread(low, high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gamma(Law):
    """Independent gamma gaps: mean ``1 / rate_per_s``, coefficient of variation ``cv``.

    ``cv`` 1 is Poisson; above 1 arrivals cluster, below 1 they keep apart.
    """

    rate_per_s: float
    cv: float

    @property
    def text(self) -> str:
        """The law as ``parse_law`` reads it."""
        return f"gamma:{self.rate_per_s!r}:{self.cv!r}"

    @property
    def shape(self) -> float:
        """The gamma law's shape, ``1 / cv**2``."""
        return self.cv**-2

    @property
    def scale_s(self) -> float:
        """The gamma law's scale in seconds, ``cv**2 / rate``."""
        return self.cv**2 / self.rate_per_s

    def expected_count(self, duration_s: float) -> float:
        """Return the mean number of arrivals, but for the constant that the module's rules name."""
        return self.rate_per_s * duration_s

    def times_us(self, duration_s: float, rng: Generator, *, num_items: int = 0) -> NDArray[np.int64]:
        """Return sorted instants, int64 microseconds ``[n]``."""
        del num_items
        check_size(self, duration_s)
        return _renew(self._gap_s, duration_s, rng)

    def uniforms(self, times_us: NDArray[np.int64], *, resolution_us: int = 1) -> NDArray[np.float64]:
        """Return the gamma law's probability of each gap, ``[n]``."""
        found = gaps(times_us, resolution_us=resolution_us)
        low, high = (self._share(end_s) for end_s in (found.low_s, found.high_s))
        return found.spread(low, high)

    def _share(self, gap_s: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(special.gammainc(self.shape, gap_s / self.scale_s), dtype=np.float64)

    def _gap_s(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(special.gammaincinv(self.shape, shares) * self.scale_s, dtype=np.float64)


def to_us(times_s: NDArray[np.float64], duration_s: float) -> NDArray[np.int64]:
    """Round sorted seconds down to microseconds, int64 ``[n]``, and keep those before the end."""
    kept = times_s[times_s < duration_s]
    # A grid such as k / 3 must not lose a microsecond to the last bit of a double.
    return np.floor(kept * MICROSECONDS + 1e-6).astype(np.int64)


def _renew(
    gap_s: Callable[[NDArray[np.float64]], NDArray[np.float64]], duration_s: float, rng: Generator
) -> NDArray[np.int64]:
    """Add up gaps drawn by inversion until the duration is past; int64 microseconds ``[n]``."""
    chunks: list[NDArray[np.float64]] = []
    end = 0.0
    while end < duration_s:
        chunk = end + np.cumsum(gap_s(rng.random(CHUNK)))
        chunks.append(chunk)
        end = float(chunk[-1])
    return to_us(np.concatenate(chunks), duration_s)
