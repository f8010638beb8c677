"""Growth of cost: medians, ratios within a repeat, verdict and drawing on made-up figures."""

from __future__ import annotations

from typing import Any

from benchmarks.scale_chart import chart
from benchmarks.scale_report import lines_of, over_first, tables_of, verdicts


def cell(per_s: float, repeat: int, **of_what: Any) -> dict[str, Any]:
    figures = {"requests": 100, "per_s": per_s, "cpu_us": 1000.0, "latencies_ms": list(range(1, 101))}
    return of_what | figures | {"repeat": repeat}


VARIANTS = [
    cell(per_s, repeat, variants=variants)
    for variants, rates in ((1, (100.0, 50.0, 80.0)), (10, (90.0, 40.0, 64.0)))
    for repeat, per_s in enumerate(rates)
]


def part(cells: list[dict[str, Any]]) -> dict[str, Any]:
    return {"cells": cells, "quick": False}


def test_lines_are_medians_in_order() -> None:
    first, last = lines_of("variants", VARIANTS)
    assert (first["variants"], first["per_s"]) == (1, 80.0)
    assert (first["p50_ms"], first["p95_ms"], first["p99_ms"]) == (50, 95, None)
    assert (last["variants"], last["per_s"]) == (10, 64.0)


def test_ten_variants_are_compared_with_one_within_a_repeat() -> None:
    spread = over_first("variants", VARIANTS, variants=10)
    assert (spread.least, spread.middle, spread.most) == (0.8, 0.8, 0.9)
    (said,) = verdicts({"variants": part(VARIANTS)})
    assert "MISSED (0.80 (0.80-0.90))" in said


def test_what_was_not_measured_is_said() -> None:
    (said,) = verdicts({})
    assert said.endswith("not measured")


def test_a_measurement_that_only_finds_the_full_load_is_no_line() -> None:
    load = [cell(100.0, 0, share=None) | {"repeat": None}, cell(20.0, 0, share=0.2)]
    assert [line["share"] for line in lines_of("load", load)] == [0.2]


def test_every_part_has_a_table_and_a_panel() -> None:
    parts = {
        "load": part([cell(20.0, 0, share=0.2), cell(40.0, 0, share=0.4)]),
        "variants": part(VARIANTS),
        "length": part([cell(9.0, 0, length=16, at_once=1), cell(5.0, 0, length=32, at_once=16)]),
        "workers": part([cell(100.0, 0, workers=1), cell(150.0, 0, workers=2)]),
    }
    tables = tables_of(parts)
    assert len(tables) == len(parts)
    drawn = chart(parts)
    assert drawn.startswith("<svg")
    assert all(title in drawn for title in tables)
    # Each panel has a legend of its own lines: the axes' titles are all that says requests/s.
    assert [drawn.count(f">{said}<") for said in ("1 at once", "16 at once", "requests/s")] == [1, 1, 2]
