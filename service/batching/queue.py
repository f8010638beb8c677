"""Waiting work in the order in which it should run.

Rules:

* Work is *due* at its deadline, and at the latest ``patience_s`` after it arrived.
* Work that is past due goes first, longest due before; the rest follows
  (priority, due, arrival). Ties go to the work admitted first.
* Hence nothing starves: once due, work is overtaken only by work that was due before it,
  and whatever arrives later is due later, whatever its priority.

Removing is lazy: a work is marked, and its entries leave a heap when they surface, or all
together once they outnumber the live ones. Every operation costs O(log n), amortised.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from service.domain import Work

# Stale entries that are not worth a sweep.
_SLACK: Final = 64


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting:
    """A work of which at least one sequence has not been dispatched, while ``live``.

    ``due``: monotonic seconds. ``turn``: its place in the order of admission.
    ``next_index``: the first sequence that still waits.
    """

    work: Work
    lengths: tuple[int, ...]
    due: float
    turn: int
    next_index: int = 0
    live: bool = True


class LazyHeap:
    """Waiting works by a key of numbers; those no longer live are skipped."""

    def __init__(self) -> None:
        # Turns differ, so that a comparison never reaches the works themselves.
        self._entries: list[tuple[tuple[float, ...], int, Waiting]] = []
        self._num_live = 0

    def __len__(self) -> int:
        return self._num_live

    def push(self, key: tuple[float, ...], waiting: Waiting) -> None:
        """Add a live work."""
        heappush(self._entries, (key, waiting.turn, waiting))
        self._num_live += 1

    def first(self) -> Waiting | None:
        """Return the live work with the smallest key."""
        while self._entries:
            waiting = self._entries[0][-1]
            if waiting.live:
                return waiting
            heappop(self._entries)
        return None

    def removed(self) -> None:
        """Hear that one of the works here is no longer live."""
        self._num_live -= 1
        if len(self._entries) > 2 * self._num_live + _SLACK:
            self._entries = [entry for entry in self._entries if entry[-1].live]
            heapify(self._entries)


class LaneQueue:
    """The works of one lane, and the sum of what waits in them.

    Two heaps, since being past due is a matter of time: a work is first in one of them.
    ``num_squares``: sum of squared lengths.
    """

    def __init__(self) -> None:
        self._by_order = LazyHeap()
        self._by_due = LazyHeap()
        self.num_tokens = 0
        self.num_squares = 0

    def __len__(self) -> int:
        return len(self._by_order)

    def push(self, waiting: Waiting) -> None:
        """Let a work wait here."""
        work = waiting.work
        self._by_order.push((work.priority, waiting.due, work.arrived_at), waiting)
        self._by_due.push((waiting.due, work.arrived_at), waiting)
        self.num_tokens += sum(waiting.lengths)
        self.num_squares += sum(length * length for length in waiting.lengths)

    def head(self, now: float) -> Waiting:
        """Return the work whose turn it is at monotonic time ``now``; the queue is not empty."""
        first_due = self.first_due()
        return first_due if first_due.due <= now else _some(self._by_order.first())

    def first_due(self) -> Waiting:
        """Return the work that is due before all others; the queue is not empty."""
        return _some(self._by_due.first())

    def take_sequence(self, waiting: Waiting) -> int:
        """Remove the next sequence of a work that waits here; return its index."""
        index = waiting.next_index
        waiting.next_index += 1
        self._subtract(waiting.lengths[index : index + 1])
        if waiting.next_index == len(waiting.lengths):
            self._removed(waiting)
        return index

    def drop(self, waiting: Waiting) -> None:
        """Remove a work with all of its sequences that still wait here."""
        self._subtract(waiting.lengths[waiting.next_index :])
        self._removed(waiting)

    def _subtract(self, lengths: tuple[int, ...]) -> None:
        self.num_tokens -= sum(lengths)
        self.num_squares -= sum(length * length for length in lengths)

    def _removed(self, waiting: Waiting) -> None:
        waiting.live = False
        self._by_order.removed()
        self._by_due.removed()


def rank(waiting: Waiting, now: float) -> tuple[float, ...]:
    """Return the key by which works of different lanes are ordered at monotonic time ``now``."""
    work = waiting.work
    if waiting.due <= now:
        return (0, waiting.due, work.arrived_at, waiting.turn)
    return (1, work.priority, waiting.due, work.arrived_at, waiting.turn)


def _some(waiting: Waiting | None) -> Waiting:
    assert waiting is not None, "An empty queue was asked for its head. This is a bug."
    return waiting
