from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analysis import percentiles
from loadtest.report import formats
from loadtest.report.records import Distribution
from loadtest.report.study_record import Interval

THIN = formats.THIN_SPACE


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "\N{EN DASH}"),
        (0, "0"),
        (0.123456, "0.123"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (99.96, "100"),
        (999.6, "1,000"),
        (12345.6, "12,346"),
        (-2.345, "-2.35"),
        (0.0099996, "0.0100"),
    ],
)
def test_numbers_have_three_significant_digits(value: float | None, written: str) -> None:
    assert formats.number(value) == written


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_a_written_number_is_within_half_a_digit_of_the_value(value: float) -> None:
    written = float(formats.number(value).replace(",", ""))
    assert math.isclose(written, value, rel_tol=0.0051)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "\N{EN DASH}"),
        (0.0, f"0{THIN}ms"),
        (12.3e-6, f"12.3{THIN}µs"),
        (0.00123, f"1.23{THIN}ms"),
        (0.99949, f"999{THIN}ms"),
        (0.9996, f"1.00{THIN}s"),
        (75.2, f"75.2{THIN}s"),
    ],
)
def test_durations_take_the_unit_that_fits(value: float | None, written: str) -> None:
    assert formats.seconds(value) == written


@pytest.mark.parametrize(
    ("ratio", "written"),
    [
        (None, "\N{EN DASH}"),
        (0, f"0{THIN}%"),
        (1e-6, f"<{THIN}0.01{THIN}%"),
        (0.00667, f"0.667{THIN}%"),
        (1.0, f"100{THIN}%"),
    ],
)
def test_a_share_above_nothing_is_never_written_as_nothing(ratio: float | None, written: str) -> None:
    assert formats.percent(ratio) == written


def test_a_lower_bound_carries_its_sign_and_too_few_samples_a_dash() -> None:
    found = Distribution(n=300, mean=0.5, p50=0.25, p95=2.0, p99=None, max=2.0, lower_bounds=("p95", "max"))
    assert formats.percentile(found, "p50") == f"250{THIN}ms"
    assert formats.percentile(found, "p95") == f"≥{THIN}2.00{THIN}s"
    assert formats.percentile(found, "p99") == "\N{EN DASH}"
    assert formats.percentile_ms(found, "p95") == "≥2,000"
    assert formats.percentile_ms(found, "p99") == "\N{EN DASH}"


def test_log_ratios_are_written_as_ratios() -> None:
    assert formats.ratio_change(math.log(1.05)) == "1.050"
    assert formats.ratio_change(None) == "\N{EN DASH}"


def test_nouns_agree_with_their_number() -> None:
    assert [formats.plural(k, "error") for k in (0, 1, 1200)] == ["0 errors", "1 error", "1,200 errors"]


def test_a_level_is_written_in_full_and_heads_a_column_where_it_is_one() -> None:
    assert [formats.confidence(level) for level in (0.9, 0.95, 0.975, 1 - 0.05 / 3)] == [
        "90%",
        "95%",
        "97.5%",
        "98.3%",
    ]
    usual, wide = (Interval(low=0, high=1, confidence=level) for level in (0.95, 0.975))
    assert formats.interval_head([usual, None, usual]) == "95% interval"
    assert formats.interval_head([usual, wide]) == "interval"
    assert formats.interval_head([None]) == "interval"


def test_what_percentiles_take_follows_from_how_many_must_lie_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("p50", "p95", "p99")
    assert formats.takes(names) == "a p50 takes 20, a p95 takes 200, a p99 takes 1,000"
    monkeypatch.setattr(percentiles, "MIN_BEYOND", 25)
    assert formats.takes(names) == "a p50 takes 50, a p95 takes 500, a p99 takes 2,500"
