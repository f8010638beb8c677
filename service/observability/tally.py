"""Observations gathered between two readings, so that a request pays for additions and not for metrics.

Rules: a tally is added to on the event loop and emptied into its metric there too, just before metrics
are read; so nothing is locked on the way of a request. For a request and its batch that takes 2 us where
the library's own `observe` and `inc` take 8 (docs/benchmarks/metrics.md).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from prometheus_client import Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import Counter


class Count:
    """What a counter has not been told yet; add to ``pending``."""

    __slots__ = ("_counter", "pending")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self.pending = 0.0

    def empty(self) -> None:
        """Tell the counter."""
        if self.pending:
            self._counter.inc(self.pending)
            self.pending = 0.0


class BulkHistogram(Histogram):
    """The library's histogram, which also takes observations that were sorted into its buckets."""

    def take(self, counts: Sequence[int], total: float) -> None:
        """Add observations: how many in each bucket, the last one without an edge, and their sum."""
        self._sum.inc(total)
        for bucket, number in zip(self._buckets, counts, strict=True):
            if number:
                bucket.inc(number)


class Tally:
    """What a histogram has not been told yet."""

    __slots__ = ("_counts", "_edges", "_histogram", "_total")

    def __init__(self, histogram: BulkHistogram, edges: tuple[float, ...]) -> None:
        """Sort into a histogram's buckets. ``edges``: their upper bounds, without the infinite one."""
        self._histogram = histogram
        self._edges = edges
        self._counts = [0] * (len(edges) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Take one observation; one on an edge belongs below it."""
        self._counts[bisect_left(self._edges, value)] += 1
        self._total += value

    def empty(self) -> None:
        """Tell the histogram."""
        if any(self._counts):
            self._histogram.take(self._counts, self._total)
            self._counts = [0] * len(self._counts)
            self._total = 0.0
