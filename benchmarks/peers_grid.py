"""What is measured of every system: cells, in groups that share a checkpoint and a mix; pure.

Rules: a cell has a name, which with system and round says whether it was measured before; the first round
has no open loop, since its rate follows from what closed loops reached there. A grid may have bars: then a
round asks a peer again only for what it came near to being the best in, and the rate of the best peer alone.
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
    ``is_own``: asked of the service's forms alone. ``most_rounds``: asked in the first so many rounds alone.
    """

    kind: Kind
    mix: Mix
    load: Load
    level: float
    duration_s: float = 0.0
    is_own: bool = False
    most_rounds: int | None = None

    @property
    def name(self) -> str:
        """Its name in files."""
        return f"{self.kind} {self.mix} {self.load} {self.level:g}"

    @property
    def group(self) -> tuple[Kind, Mix]:
        """What it shares with cells of other loads."""
        return self.kind, self.mix

    @property
    def group_name(self) -> str:
        """Its group's name in files."""
        return f"{self.kind} {self.mix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All cells of a benchmark and how often they are repeated.

    ``bars``: of the second round, the third and so on, the share of the best peer's figure that a peer must
    have reached in the rounds before to be asked for it again; none where every round asks everybody.
    """

    name: str
    num_rounds: int
    cells: tuple[Cell, ...]
    bars: tuple[float, ...] = ()

    def of_round(self, number: int) -> tuple[Cell, ...]:
        """Return the cells of a round: answers in the first alone, open loops in all others."""
        without = Load.ANSWERS if number else Load.OPEN
        return tuple(
            cell
            for cell in self.cells
            if cell.load is not without and (cell.most_rounds is None or number < cell.most_rounds)
        )


_CONCURRENCY = (1, 4, 16, 64)
_ANSWERS = tuple(
    Cell(kind=kind, mix=mix, load=Load.ANSWERS, level=count)
    for kind in Kind
    for mix, count in ((Mix.XNLI, 96 if kind is Kind.CLASSIFY else 24), (Mix.MIXED, 12))
)
# So long at 70 % of the 17 requests/s that the best peer reached on the first machine is 530 requests, of
# which two rounds have ten beyond the 99th percentile.
_QUICK_RATE_S = 45.0
# The same server's throughput was seen to differ by up to a tenth between rounds, mostly by a fiftieth.
_BARS = (0.9, 0.95)
# Texts whose answers are compared of a peer, which takes some 80 ms for each.
_OF_PEERS = 24


def quick() -> Grid:
    """Return the cells that the goals are stated for: under twenty minutes of six systems."""
    answers = tuple(
        Cell(kind=kind, mix=mix, load=Load.ANSWERS, level=count, is_own=count > _OF_PEERS)
        for kind, mix, count in (
            (Kind.CLASSIFY, Mix.XNLI, 96),
            (Kind.CLASSIFY, Mix.XNLI, _OF_PEERS),
            (Kind.EMBED, Mix.XNLI, 12),
            (Kind.CLASSIFY, Mix.MIXED, 12),
            (Kind.EMBED, Mix.MIXED, 12),
        )
    )
    closed = tuple(
        Cell(
            kind=kind,
            mix=mix,
            load=Load.CLOSED,
            level=level,
            duration_s=duration_s,
            most_rounds=2 if kind is Kind.EMBED else None,
        )
        for kind, mix, level, duration_s in (
            (Kind.CLASSIFY, Mix.XNLI, 1, 4.0),
            (Kind.CLASSIFY, Mix.XNLI, 16, 5.0),
            (Kind.CLASSIFY, Mix.MIXED, 16, 6.0),
            (Kind.EMBED, Mix.XNLI, 16, 4.0),
            (Kind.EMBED, Mix.MIXED, 16, 5.0),
        )
    )
    rate = Cell(kind=Kind.CLASSIFY, mix=Mix.XNLI, load=Load.OPEN, level=0.7, duration_s=_QUICK_RATE_S)
    return Grid(name="quick", num_rounds=3, cells=(*answers, *closed, rate), bars=_BARS)


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
