"""Which peers later rounds leave out, from figures made up here."""

from __future__ import annotations

from typing import Any

from benchmarks.peers_contest import Contest
from benchmarks.peers_grid import Cell, Grid, Kind, Load, Mix, full, quick
from benchmarks.peers_verdicts import missing, verdicts_of

AT_16 = Cell(kind=Kind.CLASSIFY, mix=Mix.XNLI, load=Load.CLOSED, level=16, duration_s=5)
AT_1 = Cell(kind=Kind.CLASSIFY, mix=Mix.XNLI, load=Load.CLOSED, level=1, duration_s=4)
RATE = Cell(kind=Kind.CLASSIFY, mix=Mix.XNLI, load=Load.OPEN, level=0.7, duration_s=45)
OURS = Cell(kind=Kind.CLASSIFY, mix=Mix.XNLI, load=Load.ANSWERS, level=96, is_own=True)
GRID = Grid(name="made up", num_rounds=3, cells=(OURS, AT_16, AT_1, RATE), bars=(0.8, 0.9))
PEERS = ("first", "second", "third")


def record(system: str, number: int, cell: Cell, **figures: float) -> dict[str, Any]:
    return {"system": system, "round": number, "cell": cell.name, "num_failed": 0} | figures


def contest(records: list[dict[str, Any]], grid: Grid = GRID, capacity: str = "first") -> Contest:
    groups = {"classify xnli": capacity} if capacity else {}
    return Contest(grid=grid, own=["float32"], peers=PEERS, records=records, capacity_of=groups)


def test_a_peer_below_the_bar_is_not_asked_again_and_one_on_it_is() -> None:
    reached = {"first": 10.0, "second": 8.0, "third": 7.9}
    made = contest([record(peer, 0, AT_16, throughput_per_s=value) for peer, value in reached.items()])
    assert made.standing(AT_16, 0) == ["first", "second", "third"]
    assert made.standing(AT_16, 1) == ["first", "second"]
    # The second bar is higher, and the same figures now fail it.
    assert made.standing(AT_16, 2) == made.standing(AT_16) == ["first"]
    left = [(one.peer, one.number, one.best, one.bar) for one in made.left_out()]
    assert left == [("third", 1, "first", 0.8), ("second", 2, "first", 0.9)]
    assert made.left_out()[0].share == 0.79


def test_of_one_under_way_the_latency_counts() -> None:
    records = [
        record("first", 0, AT_1, throughput_per_s=1.0, p50_s=0.08),
        record("second", 0, AT_1, throughput_per_s=1.0, p50_s=0.099),
        record("third", 0, AT_1, throughput_per_s=9.0, p50_s=0.101),
    ]
    assert contest(records).standing(AT_1, 1) == ["first", "second"]


def test_later_rounds_change_nothing_that_was_decided_before_them() -> None:
    records = [
        record("first", 0, AT_16, throughput_per_s=10.0),
        record("third", 0, AT_16, throughput_per_s=7.0),
    ]
    records += [
        record("first", 1, AT_16, throughput_per_s=5.0),
        record("second", 0, AT_16, throughput_per_s=9.0),
    ]
    records += [record("second", 1, AT_16, throughput_per_s=9.0)]
    made = contest(records)
    assert made.standing(AT_16, 1) == ["first", "second"]
    # By the median of both rounds the first, with 7.5, is now behind the second, with 9.
    assert made.standing(AT_16, 2) == ["second"]


def test_who_has_no_figure_stays() -> None:
    failed = record("second", 0, AT_16, throughput_per_s=1.0) | {"num_failed": 2}
    made = contest([record("first", 0, AT_16, throughput_per_s=10.0), failed])
    assert made.standing(AT_16, 1) == ["first", "second", "third"]


def test_a_rate_is_asked_of_the_peer_that_it_was_taken_from_and_of_the_service() -> None:
    made = contest([], capacity="second")
    assert made.standing(RATE) == ["second"]
    assert RATE in made.cells("second", 1)
    assert RATE in made.cells("float32", 1)
    assert RATE not in made.cells("first", 1)
    assert RATE not in made.cells("float32", 0)
    assert contest([], capacity="").standing(RATE) == list(PEERS)


def test_the_services_own_answers_are_asked_of_it_alone() -> None:
    made = contest([])
    assert OURS in made.cells("float32", 0)
    assert OURS not in made.cells("first", 0)
    assert OURS not in made.cells("somebody else", 0)
    assert OURS not in made.cells("float32", 1)


def test_without_bars_everybody_is_always_asked_for_everything() -> None:
    grid = full()
    records = [
        record("first", 0, AT_16, throughput_per_s=99.0),
        record("third", 0, AT_16, throughput_per_s=0.1),
    ]
    made = contest(records, grid)
    for number in range(grid.num_rounds):
        assert made.cells("third", number) == list(grid.of_round(number))
    assert made.left_out() == []


def test_who_was_left_out_is_neither_missing_nor_the_best() -> None:
    # Had the first two rounds of the first been as slow as its third, the third peer would be the best.
    records = [record("float32", number, AT_16, throughput_per_s=20.0, p50_s=1.0) for number in range(3)]
    records += [record("third", 0, AT_16, throughput_per_s=7.0)]
    records += [
        record("first", number, AT_16, throughput_per_s=value)
        for number, value in enumerate((10.0, 5.0, 5.0))
    ]
    made = contest(records)
    (verdict,) = [one for one in verdicts_of(made) if one.goal.level == 16 and one.goal.form == "float32"]
    assert (verdict.best, verdict.num_rounds) == ("first", 3)
    assert verdict.ratio is not None
    assert verdict.ratio.middle == 4.0
    gaps = missing(made, ["first", "third"])
    assert gaps == [
        "first, round 1: 1 of 2 cells",
        "first, round 2: 2 of 3 cells",
        "first, round 3: 2 of 3 cells",
        "third, round 1: 1 of 2 cells",
        "third, round 2: 1 of 1 cells",
        "third, round 3: 1 of 1 cells",
    ]


def test_a_cell_of_fewer_rounds_is_asked_of_nobody_later_and_nobody_is_left_out_of_what_is_not_asked() -> (
    None
):
    few = Cell(kind=Kind.EMBED, mix=Mix.XNLI, load=Load.CLOSED, level=16, duration_s=5, most_rounds=2)
    grid = Grid(name="made up", num_rounds=3, cells=(few,), bars=(0.8, 0.9))
    records = [
        record(peer, 0, few, throughput_per_s=value) for peer, value in (("first", 10.0), ("second", 8.5))
    ]
    made = contest(records, grid)
    assert [made.cells("second", number) for number in range(3)] == [[few], [few], []]
    assert made.cells("float32", 2) == []
    assert made.left_out() == []


def test_each_goal_of_the_quick_grid_is_asked_of_its_form_and_the_best_peer_in_two_rounds_or_more() -> None:
    grid = quick()
    made = contest([], grid)
    for verdict in verdicts_of(made):
        name = verdict.goal.cell_name(verdict.kind)
        for system in ("float32", "first"):
            rounds = [n for n in range(grid.num_rounds) if name in {c.name for c in made.cells(system, n)}]
            assert len(rounds) >= 2
