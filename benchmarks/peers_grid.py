"""What is measured of every system: cells, in groups that share a checkpoint and a mix; pure.

Rules: a cell has a name, which with system and round says whether it was measured before; the first round
has no open loop, since its rate follows from what closed loops reached there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is asked for: labels or vectors."""

    CLASSIFY = "classify"
    EMBED = "embed"


class Mix(StrEnum):
    """Which texts are sent: XNLI's pairs, or those with Tatoeba's sentences and XQuAD's questions."""

    XNLI = "xnli"
    MIXED = "mixed"


class Load(StrEnum):
    """How requests come: a constant number under way, or at a rate that asks nobody; or to be compared."""

    CLOSED = "closed"
    OPEN = "open"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement.

    ``level``: requests under way of a closed loop, or the open loop's rate as a share of the best peer's
    capacity. ``duration_s``: requests are started for so long, those under way then are waited for.
    """

    kind: Kind
    mix: Mix
    load: Load
    level: float
    duration_s: float = 0.0

    @property
    def name(self) -> str:
        """Its name in files."""
        return f"{self.kind} {self.mix} {self.load} {self.level:g}"

    @property
    def group(self) -> tuple[Kind, Mix]:
        """What it shares with cells of other loads."""
        return self.kind, self.mix


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All cells of a benchmark and how often they are repeated."""

    name: str
    num_rounds: int
    cells: tuple[Cell, ...]

    def of_round(self, number: int) -> tuple[Cell, ...]:
        """Return the cells of a round: answers in the first alone, open loops in all others."""
        if number == 0:
            return tuple(cell for cell in self.cells if cell.load is not Load.OPEN)
        return tuple(cell for cell in self.cells if cell.load is not Load.ANSWERS)


_CONCURRENCY = (1, 4, 16, 64)
_ANSWERS = tuple(
    Cell(kind=kind, mix=mix, load=Load.ANSWERS, level=count)
    for kind in Kind
    for mix, count in ((Mix.XNLI, 96 if kind is Kind.CLASSIFY else 24), (Mix.MIXED, 12))
)


def quick() -> Grid:
    """Return the cells that the goals are stated for and little more: under twenty minutes of six systems."""
    closed = {
        (Kind.CLASSIFY, Mix.XNLI): {1: 4.0, 4: 3.0, 16: 5.0, 64: 4.0},
        (Kind.CLASSIFY, Mix.MIXED): {16: 5.0},
        (Kind.EMBED, Mix.XNLI): {16: 4.0},
        (Kind.EMBED, Mix.MIXED): {16: 4.0},
    }
    cells = tuple(
        Cell(kind=kind, mix=mix, load=Load.CLOSED, level=level, duration_s=duration_s)
        for (kind, mix), levels in closed.items()
        for level, duration_s in levels.items()
    )
    rate = Cell(kind=Kind.CLASSIFY, mix=Mix.XNLI, load=Load.OPEN, level=0.7, duration_s=10.0)
    return Grid(name="quick", num_rounds=3, cells=(*_ANSWERS, *cells, rate))


def full() -> Grid:
    """Return every cell: four groups, each at four concurrencies and four rates."""
    loads = [(Load.CLOSED, float(level), 15.0) for level in _CONCURRENCY]
    loads += [(Load.OPEN, level, 40.0) for level in (0.3, 0.5, 0.7, 0.9)]
    cells = tuple(
        Cell(kind=kind, mix=mix, load=load, level=level, duration_s=duration_s)
        for kind in Kind
        for mix in Mix
        for load, level, duration_s in loads
    )
    return Grid(name="full", num_rounds=6, cells=(*_ANSWERS, *cells))
