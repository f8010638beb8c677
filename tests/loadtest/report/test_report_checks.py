"""What a run says of its own lateness: a share of its own requests, however few."""

from __future__ import annotations

import polars as pl
import pytest

from loadtest.report.run_checks import _percentile


@pytest.mark.parametrize(
    ("num", "late", "expected"),
    [
        (200, [0.09], 0.001),  # one of 201 is late: 99 % were not
        (97, [0.09], 0.09),  # one of 98 is more than a hundredth
        (300, [0.05, 0.06, 0.07, 0.08], 0.05),  # ceil(0.99 * 304) = 301: the first of the late ones
        (0, [0.002], 0.002),
    ],
)
def test_ninety_nine_of_a_hundred_were_at_most_so_late(num: int, late: list[float], expected: float) -> None:
    assert _percentile(pl.Series([0.001] * num + late), 0.99) == expected


def test_a_run_without_requests_was_not_late() -> None:
    assert _percentile(pl.Series([], dtype=pl.Float64), 0.99) is None
