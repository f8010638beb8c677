"""Which cells a round measures of a server, which peers it leaves out, and why; pure.

Rules: a grid without bars asks everybody always. Else a peer is asked again for a cell as long as its median
over the rounds before is within the bar of the best one's: a bar of 0.8 keeps a peer with 80 % of the best
throughput, or with a p50 of 1 / 0.8 of the least. Who has no figure, of a failed request for instance, stays.
An open loop is asked of the peer alone whose capacity its rate was taken from. Who is left out of a cell
cannot be the best peer in it. What is left out is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.peers_goals import Figure, best_peer
from benchmarks.peers_grid import Cell, Grid, Load
from benchmarks.peers_results import rounds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A peer that is not asked for a cell from a round on. ``share``: its figure, of the best peer's."""

    peer: str
    cell: str
    number: int
    best: str
    share: float
    bar: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What was measured so far, and by whom.

    ``records``: finished cells. ``own``, ``peers``: names of the service's forms, and of those that goals are
    held against; a system that is neither is asked for everything but the service's own cells.
    ``capacity_of``: the peer whose capacity gave the rate, by the name of the cells' group.
    """

    grid: Grid
    own: Sequence[str]
    peers: Sequence[str]
    records: Sequence[Mapping[str, Any]]
    capacity_of: Mapping[str, str]

    def cells(self, name: str, number: int) -> list[Cell]:
        """Return what a round measures of a system."""
        return [cell for cell in self.grid.of_round(number) if self._is_asked(name, cell, number)]

    def standing(self, cell: Cell, number: int | None = None) -> list[str]:
        """Return the peers that are in a cell's contest in a round, the last one where none is given."""
        number = self.grid.num_rounds - 1 if number is None else number
        if cell.is_own:
            return []
        if not self.grid.bars or number == 0:
            return list(self.peers)
        if cell.load is Load.OPEN:
            wanted = self.capacity_of.get(cell.group_name)
            return [peer for peer in self.peers if wanted in (None, peer)]
        gone = {one.peer for one in self._left(cell) if one.number <= number}
        return [peer for peer in self.peers if peer not in gone]

    def left_out(self) -> list[Left]:
        """Return every peer that is not asked for a closed loop's cell any more."""
        return [one for cell in self.grid.cells if cell.load is Load.CLOSED for one in self._left(cell)]

    def _is_asked(self, name: str, cell: Cell, number: int) -> bool:
        if name in self.peers:
            return name in self.standing(cell, number)
        return name in self.own or not cell.is_own

    def _left(self, cell: Cell) -> list[Left]:
        figure = figure_of(cell)
        whole = rounds_of(self.records, cell.name, figure)
        standing, found = list(self.peers), list[Left]()
        for number, bar in list(enumerate(self.grid.bars, 1))[
            : (cell.most_rounds or self.grid.num_rounds) - 1
        ]:
            so_far = {
                peer: {when: value for when, value in whole.get(peer, {}).items() if when < number}
                for peer in standing
            }
            best = best_peer(so_far, standing, more_is_better=figure.more_is_better)
            if best is None:
                break
            most = median(so_far[best].values())
            for peer in [name for name in standing if so_far[name]]:
                reached = median(so_far[peer].values())
                share = reached / most if figure.more_is_better else most / reached
                if share < bar:
                    standing.remove(peer)
                    found.append(
                        Left(peer=peer, cell=cell.name, number=number, best=best, share=share, bar=bar)
                    )
        return found


def figure_of(cell: Cell) -> Figure:
    """Return what a closed loop is about: one request at a time shows the latency, many the throughput."""
    return Figure.P50 if cell.level == 1 else Figure.THROUGHPUT
