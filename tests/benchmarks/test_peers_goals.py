"""Ratios by round and verdicts of the comparison with peers, from figures made up here."""

from __future__ import annotations

import pytest

from benchmarks.engine_report import Spread
from benchmarks.peers_goals import (
    GOALS,
    Figure,
    Goal,
    best_peer,
    capacity_of,
    judge,
    judge_tail,
    ratio_by_round,
)
from benchmarks.peers_grid import Grid, Kind, Load, Mix, full, quick

PEERS = ("slow", "fast")
AT_16 = Goal(form="float32", mix=Mix.XNLI, load=Load.CLOSED, level=16, figure=Figure.THROUGHPUT, bound=2.0)
P50 = Goal(form="float32", mix=Mix.XNLI, load=Load.CLOSED, level=1, figure=Figure.P50, bound=0.8)
TAIL = Goal(form="float32", mix=Mix.XNLI, load=Load.OPEN, level=0.7, figure=Figure.P99, bound=0.5)


def test_a_throughput_is_held_against_the_peer_with_the_best_median_in_the_same_round() -> None:
    found = {
        "float32": {0: 30.0, 1: 20.0, 2: 24.0},
        "slow": {0: 99.0, 1: 5.0, 2: 5.0},
        "fast": {0: 10.0, 1: 10.0, 2: 12.0},
    }
    verdict = judge(AT_16, Kind.CLASSIFY, found, PEERS)
    assert verdict.best == "fast"
    assert verdict.ratio == Spread(middle=2.0, least=2.0, most=3.0)
    assert (verdict.num_rounds, verdict.is_met) == (3, True)


@pytest.mark.parametrize(("ours_s", "is_met"), [(0.040, True), (0.080, True), (0.081, False)])
def test_a_latency_must_be_at_most_its_share_of_the_least(ours_s: float, is_met: bool) -> None:  # noqa: FBT001 - a table
    found = {"float32": {0: ours_s}, "slow": {0: 0.2}, "fast": {0: 0.1}}
    verdict = judge(P50, Kind.CLASSIFY, found, PEERS)
    assert (verdict.best, verdict.is_met) == ("fast", is_met)


def test_a_round_that_one_side_lacks_has_no_ratio() -> None:
    assert ratio_by_round({0: 2.0, 1: 9.0, 2: 6.0}, {0: 1.0, 2: 2.0, 3: 1.0}) == [2.0, 3.0]


def test_nothing_is_decided_without_a_peer_or_a_common_round() -> None:
    without = judge(AT_16, Kind.CLASSIFY, {"float32": {0: 9.0}}, PEERS)
    apart = judge(AT_16, Kind.CLASSIFY, {"float32": {0: 9.0}, "fast": {1: 1.0}}, PEERS)
    assert (without.is_met, without.why) == (None, "no peer measured")
    assert (apart.is_met, apart.why) == (None, "not measured in the same round")


def test_the_best_peer_of_a_latency_is_the_one_with_the_least() -> None:
    found = {"slow": {0: 3.0}, "fast": {0: 1.0}, "float32": {0: 0.1}}
    assert best_peer(found, PEERS, more_is_better=False) == "fast"
    assert best_peer(found, PEERS, more_is_better=True) == "slow"
    assert best_peer({"float32": {0: 1.0}}, PEERS, more_is_better=True) is None


def test_a_capacity_is_the_most_that_any_peer_reached_in_its_group() -> None:
    cells = {
        "classify xnli closed 16": {"fast": {0: 10.0}, "float32": {0: 40.0}},
        "classify xnli closed 64": {"fast": {0: 12.0}, "slow": {0: 11.0}},
        "embed xnli closed 16": {"fast": {0: 90.0}},
    }
    assert capacity_of(cells, full(), (Kind.CLASSIFY, Mix.XNLI), PEERS) == ("fast", 12.0)
    assert capacity_of({}, full(), (Kind.CLASSIFY, Mix.XNLI), PEERS) == ("", 0.0)


def test_a_tail_is_judged_by_all_rounds_together_against_the_peer_with_the_least() -> None:
    # Ours: 99 of 1, one of 50 in each round; the 99th percentile of 200 is 1, whatever single rounds say.
    ours = [1.0] * 99 + [50.0]
    latencies = {
        "float32": {1: ours, 2: ours},
        "slow": {1: [9.0] * 100, 2: [9.0] * 100},
        "fast": {1: [4.0] * 100, 2: [4.0] * 100},
    }
    verdict = judge_tail(TAIL, Kind.CLASSIFY, latencies, PEERS)
    assert (verdict.best, verdict.num_rounds, verdict.num_requests) == ("fast", 2, 200)
    assert verdict.ratio is not None
    assert (verdict.ratio.middle, verdict.is_met) == (0.25, True)
    without = judge_tail(TAIL, Kind.CLASSIFY, {"float32": {1: ours}}, PEERS)
    apart = judge_tail(TAIL, Kind.CLASSIFY, {"float32": {1: ours}, "fast": {2: ours}}, PEERS)
    assert (without.is_met, without.why) == (None, "no peer measured")
    assert (apart.is_met, apart.why) == (None, "not measured in the same round")


@pytest.mark.parametrize("grid", [quick(), full()], ids=["quick", "full"])
def test_each_goal_has_its_cell_and_no_rate_is_asked_for_before_it_is_known(grid: Grid) -> None:
    names = [cell.name for cell in grid.cells]
    assert {goal.cell_name(Kind.CLASSIFY) for goal in GOALS} <= set(names)
    assert len(set(names)) == len(names)
    assert not [cell for cell in grid.of_round(0) if cell.load is Load.OPEN]
    assert [cell for cell in grid.of_round(1) if cell.load is Load.OPEN]
