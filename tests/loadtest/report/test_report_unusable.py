"""Which ends of a request mean that no working service of this API was measured."""

from __future__ import annotations

import polars as pl
import pytest

from loadtest.report.run_checks import _unusable_ratio

GOOD = (200, None, False)
SCHEMA = {"status": pl.Int16, "error": pl.String, "censored": pl.Boolean, "sent_us": pl.Int64}


def frame(*ends: tuple[int | None, str | None, bool], unsent: int = 0) -> pl.DataFrame:
    rows = [(*end, 5) for end in ends] + [(None, "not sent", True, None)] * unsent
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (GOOD, 0.0),
        ((None, "connection refused", False), 0.25),
        ((200, "bad answer: not json", False), 0.25),
        ((200, "input refused: Empty text", False), 0.0),
        ((500, "http 500", False), 0.0),
        ((None, "timeout", True), 0.0),
    ],
)
def test_one_of_four(end: tuple[int | None, str | None, bool], expected: float) -> None:
    assert _unusable_ratio(frame(GOOD, GOOD, end, GOOD, unsent=3)) == expected


@pytest.mark.parametrize(("status", "expected"), [(500, 1.0), (404, 1.0), (429, 0.0), (503, 0.0), (504, 0.0)])
def test_where_nothing_was_answered_only_refusals_for_load_are_a_measurement(
    status: int, expected: float
) -> None:
    assert _unusable_ratio(frame(*[(status, f"http {status}", False)] * 3)) == expected


def test_nothing_sent_says_nothing() -> None:
    assert _unusable_ratio(frame(unsent=2)) is None
