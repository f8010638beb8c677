"""Curves and slices: what is drawn is what was measured, however far it is thinned."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.report.chart_style import log_ticks
from loadtest.report.chart_time import ArmSlices, time_figure
from loadtest.report.curves import MAX_POINTS, latency_curve, tail_of
from loadtest.report.slices import mean_in_flight, time_slices

if TYPE_CHECKING:
    from numpy.typing import NDArray


def none(n: int) -> NDArray[np.bool_]:
    return np.zeros(n, dtype=np.bool_)


def test_ten_requests_step_through_every_tenth() -> None:
    curve = latency_curve(np.arange(10, 0, -1) / 10, none(10))
    assert [point.seconds for point in curve] == pytest.approx([k / 10 for k in range(1, 11)])
    assert [point.tail for point in curve[:9]] == pytest.approx([tail_of(k / 10) for k in range(1, 10)])
    assert curve[9].tail == pytest.approx(tail_of(0.95))  # half a request before 100 %
    assert all(point.thin for point in curve)


@given(st.integers(1, 3000), st.integers(0, 2**32 - 1), st.floats(0, 0.5))
def test_each_point_lies_on_the_empirical_distribution(n: int, seed: int, unfinished: float) -> None:
    rng = np.random.default_rng(seed)
    seconds, censored = rng.lognormal(-4, 1, n), rng.random(n) < unfinished
    curve = latency_curve(seconds, censored)
    finished = np.sort(seconds[~censored])
    assert len(curve) <= MAX_POINTS + 2
    for point in curve:
        answered = int(np.count_nonzero(finished <= point.seconds))
        expected = tail_of(min(float(answered), n - 0.5) / n)
        assert point.tail == pytest.approx(expected)
        assert point.thin == (n - answered < 10)
    assert [point.seconds for point in curve] == sorted(point.seconds for point in curve)
    if finished.size:
        assert curve[0].seconds == finished[0]
        assert curve[-1].seconds == finished[-1]


def test_nothing_finished_is_no_curve() -> None:
    assert latency_curve(np.ones(3), np.ones(3, dtype=np.bool_)) == ()


def test_a_million_requests_make_a_small_curve_that_keeps_p99() -> None:
    seconds = np.random.default_rng(3).exponential(1.0, 1_000_000)
    curve = latency_curve(seconds, none(seconds.size))
    assert len(curve) <= MAX_POINTS + 2
    tails = [point.tail for point in curve]
    nearest = curve[int(np.argmin(np.abs(np.array(tails) - 2)))]
    assert nearest.seconds == pytest.approx(-np.log(10**-nearest.tail), rel=0.01)  # the exponential law


def test_in_flight_of_two_overlapping_requests() -> None:
    # due at 0 and 1, done at 2 and 3: one, two, one in flight over three seconds
    found = mean_in_flight(np.array([0.0, 1.0]), np.array([2.0, 3.0]), np.array([0.0, 1.0, 2.0, 3.0]))
    assert found.tolist() == pytest.approx([1, 2, 1])


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_in_flight_integrates_to_the_time_spent_in_the_system(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    due = np.sort(rng.random(n) * 10)
    done = due + rng.exponential(0.5, n)
    edges = np.linspace(0, done.max(), 40)
    assert np.sum(mean_in_flight(due, done, edges) * np.diff(edges)) == pytest.approx(np.sum(done - due))


def samples(due_s: list[float], latency_s: list[float], failed: list[bool]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "intended_us": [round(t * 1e6) for t in due_s],
            "done_us": [round((t + x) * 1e6) for t, x in zip(due_s, latency_s, strict=True)],
            "latency_s": latency_s,
            "failed": failed,
            "answered": [not fate for fate in failed],
        }
    )


def test_a_request_belongs_to_the_slice_in_which_it_was_due() -> None:
    due = [k / 10 for k in range(100)]
    latency = [2.0 if k == 50 else 0.01 for k in range(100)]
    slices = time_slices(samples(due, latency, [k == 7 for k in range(100)]), max_slices=10)
    assert [piece.num_due for piece in slices] == [10] * 10
    assert slices[0].num_failed == 1
    assert [piece.slowest_s for piece in slices] == pytest.approx([0.01] * 5 + [2.0] + [0.01] * 4)
    assert all(piece.median_s == pytest.approx(0.01) for piece in slices)


def test_runs_of_one_arm_are_laid_over_each_other() -> None:
    one = samples([k / 10 for k in range(100)], [0.5] * 100, [False] * 100)
    alone = time_slices(one, max_slices=5)
    twice = time_slices(pl.concat([one, one]), num_runs=2, max_slices=5)
    assert [piece.in_flight for piece in twice] == pytest.approx([piece.in_flight for piece in alone])
    assert [piece.num_due for piece in twice] == [2 * piece.num_due for piece in alone]


def test_requests_due_at_once_have_no_course_of_latency_to_draw() -> None:
    offline = samples([0.0] * 100, [(k + 1) / 10 for k in range(100)], [False] * 100)
    spread = samples([k / 10 for k in range(100)], [0.1] * 100, [False] * 100)
    together = time_figure([ArmSlices(arm="a", slices=time_slices(offline))])
    assert "latency, ms" not in together.wide + together.narrow
    assert "in flight" in together.wide
    assert together.legend == ()
    assert together.alternative == "a: 100 requests due at once, the last done after 10.0\u202fs."
    course = time_figure([ArmSlices(arm="a", slices=time_slices(spread))])
    assert "latency, ms" in course.wide
    assert [entry.text for entry in course.legend] == ["median", "slowest"]


def test_no_request_is_no_slice() -> None:
    assert time_slices(samples([], [], [])) == ()


def test_ticks_of_a_short_course_are_told_apart() -> None:
    brief = samples([k / 1000 for k in range(20)], [0.001] * 20, [False] * 20)
    figure = time_figure([ArmSlices(arm="a", slices=time_slices(brief))])
    ticks = re.findall(r">(0(?:\.\d+)?)<", figure.wide)
    assert {"0.004", "0.008", "0.016"} <= set(ticks)
    assert "0.00" not in ticks
    long = samples([float(k) for k in range(500)], [0.1] * 500, [False] * 500)
    course = time_figure([ArmSlices(arm="a", slices=time_slices(long))])
    assert ">100<" in course.wide
    assert "e+" not in course.wide


@pytest.mark.parametrize(
    ("low", "high", "dense", "ticks"),
    [
        (12, 38, True, [15, 20, 25, 30, 35]),
        (1.1, 1.9, True, [1.2, 1.4, 1.6, 1.8]),
        (0.00131, 0.00135, True, [0.00131, 0.00132, 0.00133, 0.00134, 0.00135]),
        (0.9, 1.6, False, [1, 1.2, 1.4, 1.6]),
        (40, 90, True, [40, 50, 60, 70, 80, 90]),
        (9, 1100, True, [10, 20, 50, 100, 200, 500, 1000]),
        (1, 2e4, False, [1, 10, 100, 1000, 10_000]),
    ],
)
def test_a_logarithmic_axis_has_ticks_to_read_it_by(
    low: float,
    high: float,
    dense: bool,  # noqa: FBT001 - a column of the table
    ticks: list[float],
) -> None:
    assert log_ticks(low, high, dense=dense) == pytest.approx(ticks)
