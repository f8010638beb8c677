"""The front end's tables and verdicts on figures that are easy to divide."""

from __future__ import annotations

import pytest

from benchmarks import frontend_parts as parts
from benchmarks.frontend_report import Cell, table, verdicts
from benchmarks.frontend_throughput import Run, ratios, verdict


def cell(service: tuple[float, ...], head: str = "classify") -> Cell:
    cpu_us = {"bare": (100.0, 200.0), "cutting": (150.0, 300.0), "naive": (200.0, 400.0), "service": service}
    ratio = dict.fromkeys(cpu_us, 0.1)
    return Cell(head=head, mix="XNLI pairs", concurrency=1, cpu_us=cpu_us, client_ratio=ratio)


def test_ratios_are_taken_within_a_repeat() -> None:
    spread = cell((150.0, 340.0)).over_bare("service")
    assert (spread.middle, spread.least, spread.most) == (1.6, 1.5, 1.7)


def test_a_goal_that_is_met_tells_the_worst() -> None:
    assert verdicts([cell((150.0, 300.0)), cell((150.0, 340.0))]) == [
        "CPU time a request <= 1.6 x that of the bare endpoint: met (most 1.60)"
    ]


def test_a_goal_that_is_missed_names_who_misses_it_and_the_floor() -> None:
    said, why = verdicts([cell((150.0, 300.0)), cell((300.0, 600.0), head="embed")])
    assert "MISSED by 1 of 2 (embed, XNLI pairs, 1 at once: 3.00)" in said
    assert "1.50 to 1.50" in why
    assert "adds 0.00 to 1.50" in why


def test_the_table_has_a_line_for_each_cell() -> None:
    head, rule, line = table([cell((150.0, 340.0))]).splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    assert "1.60 (1.50-1.70)" in line


def test_parts_are_differences_within_a_repeat_and_add_up_to_the_service() -> None:
    cpu_us = {"bare": (100.0, 110.0), "cutting": (280.0, 300.0), "naive": (0.0, 0.0)}
    cpu_us |= {"service": (500.0, 540.0), "unlogged": (460.0, 510.0), "direct": (400.0, 430.0)}
    whole = Cell(head="classify", mix="XNLI pairs", concurrency=1, cpu_us=cpu_us, client_ratio={})
    found = parts.parts_of(whole)
    assert [spread.middle for spread in found.values()] == [105.0, 185.0, 105.0, 35.0, 90.0]
    assert found["line in the log"].least == 30.0
    lines = parts.table([whole, cell((150.0, 340.0))]).splitlines()
    assert len(lines) == 8
    assert "100 to 110" in lines[2]
    assert lines[-1].startswith("| service | 520 (500 to 540)")


def run(offline: float, served: float) -> Run:
    return Run(
        mix="XNLI pairs", num_tokens=1, batches=1, offline_per_s=offline, served_per_s={16: 1.0, 64: served}
    )


def test_served_is_judged_where_the_engine_is_saturated() -> None:
    assert ratios([run(100.0, 95.0), run(200.0, 182.0)], "XNLI pairs", 64).middle == pytest.approx(0.93)
    assert "met (least 0.93)" in verdict([run(100.0, 95.0), run(200.0, 182.0)])
    assert "MISSED by XNLI pairs: 0.80" in verdict([run(100.0, 80.0)])
