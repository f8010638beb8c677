"""How long visits will take, by what earlier ones took; pure.

Rules: a cell that was measured of a server takes as long again; one that was not, as long as the slowest
server took for it; one that nobody was asked for, its duration and a wait for the last answers. Starts and
ends of servers likewise. Nothing here decides a figure: it says what still fits, and when it will be over.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.peers_grid import Cell

# Of servers and cells that nobody has measured yet: the slowest start that was seen is 23 s; the last of 16
# answers of the slowest peer came 4 s after the time was over.
_START_AND_END_S = 30.0
_LAST_ANSWERS_S = 4.0
# An answers' cell is a number of texts, some 80 ms each of a peer.
_ANSWER_S = 0.1


class Pace:
    """What starts and cells took so far. ``visits``, ``records``: as they are kept."""

    def __init__(self, visits: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> None:
        self._around: dict[str, list[float]] = {}
        for visit in visits:
            self._around.setdefault(visit["key"][1], []).append(visit["wall_s"] - visit["cells_s"])
        self._took: dict[tuple[str, str], list[float]] = {}
        for one in records:
            self._took.setdefault((one["cell"], one["system"]), []).append(one.get("elapsed_s", 0.0))

    def visit_s(self, system: str, cells: Sequence[Cell]) -> float:
        """Return how long a visit for these cells takes; nothing without cells."""
        if not cells:
            return 0.0
        known = self._around.get(system)
        around = median(known) if known else max(map(max, self._around.values()), default=_START_AND_END_S)
        return around + sum(self._cell_s(system, cell) for cell in cells)

    def _cell_s(self, system: str, cell: Cell) -> float:
        if own := self._took.get((cell.name, system)):
            return max(own)
        others = [max(took) for (name, _), took in self._took.items() if name == cell.name]
        guess = cell.duration_s + _LAST_ANSWERS_S if cell.duration_s else cell.level * _ANSWER_S
        return max(others, default=guess)
