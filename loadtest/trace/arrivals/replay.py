"""A law that repeats what a real service saw: recorded instants, read faster or slower."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from loadtest.trace.arrivals.law import MICROSECONDS, Law, LawError, check_size

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from loadtest.trace.arrivals.formats import Timestamps


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Law):
    """Arrivals at ``recorded / speed``, the first at 0, cut at the duration, never repeated.

    ``recorded_us`` is None until the file is read: the law names its source, the caller reads it.
    """

    file: str
    speed: float = 1.0
    recorded_us: tuple[int, ...] | None = None

    @property
    def text(self) -> str:
        """The law as ``parse_law`` reads it."""
        return f"replay:{self.file}:{self.speed!r}"

    def loaded(self, timestamps: Timestamps) -> Replay:
        """Return the same law with its recorded instants."""
        return replace(self, recorded_us=tuple(timestamps.offsets_us.tolist()))

    def expected_count(self, duration_s: float) -> float | None:
        """Return the exact number of arrivals; None until the file is read."""
        if self.recorded_us is None:
            return None
        return float(np.count_nonzero(self._replayed_us() < duration_s * MICROSECONDS))

    def times_us(self, duration_s: float, rng: Generator, *, num_items: int = 0) -> NDArray[np.int64]:
        """Return sorted instants, int64 microseconds ``[n]``; nothing is drawn."""
        del rng, num_items
        check_size(self, duration_s)
        times = self._replayed_us()
        return times[times < duration_s * MICROSECONDS]

    def num_cut(self, duration_s: float) -> int:
        """Return how many recorded arrivals the duration leaves out."""
        return int(np.count_nonzero(self._replayed_us() >= duration_s * MICROSECONDS))

    def _replayed_us(self) -> NDArray[np.int64]:
        if self.recorded_us is None:
            raise LawError(f"{self.file} was not read; load the law from its file before drawing from it.")
        return np.floor(np.array(self.recorded_us, dtype=np.int64) / self.speed + 1e-6).astype(np.int64)
