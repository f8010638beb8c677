"""How many durations fell between which edges: what a worker tells of all its requests in a few numbers.

Counts add up over workers, where percentiles do not. Pure; the verdicts of a report come from
the samples themselves, never from here.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_US_PER_S = 1_000_000
# From 1 ms on, these are the edges of the service's own durations, so that the two views of one request
# lose the same to rounding; below it they resolve the lateness of a generator that is well.
EDGES_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
_EDGES_US = tuple(round(edge_s * _US_PER_S) for edge_s in EDGES_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Durations by edge. ``counts``: of those up to it and past the one before; last, of the rest."""

    counts: tuple[int, ...] = (0,) * (len(EDGES_S) + 1)
    sum_us: int = 0

    @property
    def sum_s(self) -> float:
        """The sum of all durations."""
        return self.sum_us / _US_PER_S

    def cumulative(self) -> list[tuple[str, float]]:
        """Return each edge, in seconds, with how many durations were no longer; +Inf last."""
        edges = (*(str(edge_s) for edge_s in EDGES_S), "+Inf")
        return [(edge, float(count)) for edge, count in zip(edges, accumulate(self.counts), strict=True)]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what ``asdict`` turned into plain values."""
        return cls(counts=tuple(values["counts"]), sum_us=int(values["sum_us"]))


class Tally:
    """Counts durations as they come."""

    __slots__ = ("_counts", "_sum_us")

    def __init__(self) -> None:
        self._counts = [0] * (len(EDGES_S) + 1)
        self._sum_us = 0

    def add(self, duration_us: int) -> None:
        """Count one duration; an edge counts as below itself."""
        self._counts[bisect_left(_EDGES_US, duration_us)] += 1
        self._sum_us += duration_us

    def distribution(self) -> Distribution:
        """Return the counts of now."""
        return Distribution(counts=tuple(self._counts), sum_us=self._sum_us)


def merged(parts: Iterable[Distribution]) -> Distribution:
    """Add distributions up."""
    counts, sum_us = [0] * (len(EDGES_S) + 1), 0
    for part in parts:
        counts = [mine + theirs for mine, theirs in zip(counts, part.counts, strict=True)]
        sum_us += part.sum_us
    return Distribution(counts=tuple(counts), sum_us=sum_us)
