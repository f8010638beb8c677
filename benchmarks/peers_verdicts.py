"""What the measurements say of the goals, and what is not there to say it with; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers_goals import GOALS, Figure, Goal, Verdict, judge, judge_tail
from benchmarks.peers_grid import Cell, Kind
from benchmarks.peers_results import latencies_of, rounds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers_contest import Contest


def verdicts_of(contest: Contest) -> list[Verdict]:
    """Judge every goal whose cell is in the grid, against the peers that are left in that cell."""
    cells = {cell.name: cell for cell in contest.grid.cells}
    return [
        _verdict(contest, goal, kind, cells[goal.cell_name(kind)])
        for kind in Kind
        for goal in GOALS
        if goal.cell_name(kind) in cells
    ]


def _verdict(contest: Contest, goal: Goal, kind: Kind, cell: Cell) -> Verdict:
    peers = contest.standing(cell)
    if goal.figure is Figure.P99:
        return judge_tail(goal, kind, latencies_of(contest.records, cell.name), peers)
    return judge(goal, kind, rounds_of(contest.records, cell.name, goal.figure), peers)


def missing(contest: Contest, names: Sequence[str]) -> list[str]:
    """Name what was not measured: a system's rounds, with how many of its cells are not there."""
    there = {(one["system"], one["round"], one["cell"]) for one in contest.records}
    gaps = []
    for name in names:
        for number in range(contest.grid.num_rounds):
            cells = contest.cells(name, number)
            left = [cell for cell in cells if (name, number, cell.name) not in there]
            if left:
                gaps.append(f"{name}, round {number + 1}: {len(left)} of {len(cells)} cells")
    return gaps
