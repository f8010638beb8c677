"""The service beside the best peer, round by round, and whether that meets a goal; pure.

Rules: the best peer of a cell is the one whose median over rounds is best in it; a ratio is taken within a
round, between cells that ran minutes apart, and given as the median over rounds with the range; a goal is
met if the median meets it, and the range says how sure that is. A 99th percentile is that of all rounds'
requests together instead, and its ratio comes with an interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.engine_report import Spread
from benchmarks.peers_grid import Cell, Grid, Kind, Load, Mix
from benchmarks.peers_tail import pooled_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.peers_tail import Tail

# {system: {round: value}} of one cell and one figure
Rounds = dict[str, dict[int, float]]


class Figure(StrEnum):
    """What is compared; the names stand in the records of cells."""

    THROUGHPUT = "throughput_per_s"
    P50 = "p50_s"
    P99 = "p99_s"

    @property
    def more_is_better(self) -> bool:
        """Whether a larger value wins."""
        return self is Figure.THROUGHPUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A ratio that one form of the service should have to the best peer. ``bound``: at least or at most."""

    form: str
    mix: Mix
    load: Load
    level: float
    figure: Figure
    bound: float

    def cell_name(self, kind: Kind) -> str:
        """Return the name of the cell that it is stated for."""
        return Cell(kind=kind, mix=self.mix, load=self.load, level=self.level).name


GOALS = (
    Goal(form="float32", mix=Mix.XNLI, load=Load.CLOSED, level=16, figure=Figure.THROUGHPUT, bound=2.0),
    Goal(form="int8", mix=Mix.XNLI, load=Load.CLOSED, level=16, figure=Figure.THROUGHPUT, bound=3.5),
    Goal(form="float32", mix=Mix.MIXED, load=Load.CLOSED, level=16, figure=Figure.THROUGHPUT, bound=2.5),
    Goal(form="float32", mix=Mix.XNLI, load=Load.CLOSED, level=1, figure=Figure.P50, bound=0.8),
    Goal(form="float32", mix=Mix.XNLI, load=Load.OPEN, level=0.7, figure=Figure.P99, bound=0.5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a goal came out. ``ratio``: None where it cannot be said, and ``why``.

    ``num_requests``: of one side, where the ratio is of all rounds together and its ends are an interval's.
    """

    goal: Goal
    kind: Kind
    best: str = ""
    ratio: Spread | None = None
    num_rounds: int = 0
    num_requests: int | None = None
    why: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the median meets the bound."""
        if self.ratio is None:
            return None
        if self.goal.figure.more_is_better:
            return self.ratio.middle >= self.goal.bound
        return self.ratio.middle <= self.goal.bound

    def __str__(self) -> str:
        sign = ">=" if self.goal.figure.more_is_better else "<="
        return f"{sign} {self.goal.bound:g} x"


def best_peer(found: Rounds, peers: Sequence[str], *, more_is_better: bool) -> str | None:
    """Return the peer with the best median; None where none was measured."""
    middles = {peer: median(found[peer].values()) for peer in peers if found.get(peer)}
    if not middles:
        return None
    return (max if more_is_better else min)(middles, key=lambda peer: middles[peer])


def ratio_by_round(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Divide in each round that has both."""
    return [ours[number] / theirs[number] for number in sorted(ours) if number in theirs]


def judge(goal: Goal, kind: Kind, found: Rounds, peers: Sequence[str]) -> Verdict:
    """Compare one form with the best peer. ``found``: the goal's figure in the goal's cell."""
    best = best_peer(found, peers, more_is_better=goal.figure.more_is_better)
    if best is None:
        return Verdict(goal=goal, kind=kind, why="no peer measured")
    ratios = ratio_by_round(found.get(goal.form, {}), found[best])
    if not ratios:
        return Verdict(goal=goal, kind=kind, best=best, why="not measured in the same round")
    return Verdict(goal=goal, kind=kind, best=best, ratio=Spread.of(ratios), num_rounds=len(ratios))


def judge_tail(goal: Goal, kind: Kind, latencies: Mapping[str, Tail], peers: Sequence[str]) -> Verdict:
    """Compare the 99th percentiles of all rounds together, with the best of the peers."""
    pooled = {
        peer: ratio
        for peer in peers
        if (ratio := pooled_ratio(latencies.get(goal.form, {}), latencies.get(peer, {}))) is not None
    }
    if not pooled:
        measured = any(latencies.get(peer) for peer in peers)
        return Verdict(
            goal=goal, kind=kind, why="not measured in the same round" if measured else "no peer measured"
        )
    best = max(pooled, key=lambda peer: pooled[peer].value)
    ratio = pooled[best]
    return Verdict(
        goal=goal,
        kind=kind,
        best=best,
        ratio=Spread(middle=ratio.value, least=ratio.low, most=ratio.high),
        num_rounds=ratio.num_rounds,
        num_requests=ratio.num_requests,
    )


def capacity_of(
    cells: Mapping[str, Rounds], grid: Grid, group: tuple[Kind, Mix], peers: Sequence[str]
) -> tuple[str, float]:
    """Return the best peer of a group and its capacity: the most that a closed loop of it reached.

    ``cells``: throughputs by the name of the cell; of rounds, the median. No name and zero where no peer was
    measured.
    """
    closed = [cell for cell in grid.cells if cell.group == group and cell.load is Load.CLOSED]
    reached = [
        (median(rounds.values()), peer)
        for cell in closed
        for peer, rounds in cells.get(cell.name, {}).items()
        if peer in peers and rounds
    ]
    per_s, peer = max(reached, default=(0.0, ""))
    return peer, per_s
