"""How long visits are said to take, from times made up here."""

from __future__ import annotations

from benchmarks.peers_grid import Cell, Kind, Load, Mix
from benchmarks.peers_plan import Pace

AT_16 = Cell(kind=Kind.CLASSIFY, mix=Mix.XNLI, load=Load.CLOSED, level=16, duration_s=5)
RATE = Cell(kind=Kind.CLASSIFY, mix=Mix.XNLI, load=Load.OPEN, level=0.7, duration_s=45)
ANSWERS = Cell(kind=Kind.CLASSIFY, mix=Mix.XNLI, load=Load.ANSWERS, level=24)


def visit(system: str, wall_s: float, cells_s: float) -> dict[str, object]:
    return {"key": ["visit", system, "0"], "wall_s": wall_s, "cells_s": cells_s}


def record(system: str, cell: Cell, elapsed_s: float) -> dict[str, object]:
    return {"system": system, "cell": cell.name, "elapsed_s": elapsed_s}


def test_what_was_measured_takes_as_long_again() -> None:
    pace = Pace(
        [visit("ray", 60.0, 30.0), visit("fastapi", 20.0, 10.0)],
        [record("ray", AT_16, 6.0), record("ray", AT_16, 8.0), record("fastapi", AT_16, 5.5)],
    )
    assert pace.visit_s("ray", [AT_16]) == 30.0 + 8.0
    assert pace.visit_s("fastapi", [AT_16]) == 10.0 + 5.5
    # Nothing is known of this one: it is taken to be as slow as the slowest.
    assert pace.visit_s("litserve", [AT_16]) == 30.0 + 8.0


def test_what_nobody_measured_takes_its_duration_and_a_wait() -> None:
    pace = Pace([], [])
    assert pace.visit_s("ray", [RATE]) > RATE.duration_s
    assert pace.visit_s("ray", [ANSWERS]) > 0
    assert pace.visit_s("ray", [AT_16, RATE]) > pace.visit_s("ray", [RATE])


def test_without_cells_there_is_no_visit() -> None:
    assert Pace([visit("ray", 60.0, 30.0)], []).visit_s("ray", []) == 0.0
