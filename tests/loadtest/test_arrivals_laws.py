"""Laws of arrivals: rates, spreads and shapes against the laws themselves, and seeds against themselves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from loadtest.trace.arrivals import Closed, LawError, Offline, Replay, parse_law
from loadtest.trace.arrivals.law import MICROSECONDS
from loadtest.trace.seeds import streams

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANDOM_LAWS = (
    "poisson:40.0",
    "gamma:40.0:2.0",
    "gamma:40.0:0.25",
    "onoff:100.0:0.0:1.0:3.0",
    "onoff:100.0:5.0:0.2:0.4",
    "piecewise:10.0@0.0,0.0@30.0,80.0@60.0",
    "sine:40.0:40.0:20.0",
)
GRID_LAWS = ("constant:40.0", "constant:3.0")
DURATION_S = 100.0


def drawn(text: str, seed: int, duration_s: float = DURATION_S) -> NDArray[np.int64]:
    return parse_law(text).times_us(duration_s, streams(seed).arrivals)


@pytest.mark.parametrize("text", RANDOM_LAWS + GRID_LAWS)
def test_instants_are_sorted_whole_microseconds_inside_the_duration(text: str) -> None:
    times = drawn(text, seed=3)
    assert times.dtype == np.int64
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < DURATION_S * MICROSECONDS


@pytest.mark.parametrize("text", RANDOM_LAWS)
def test_the_mean_count_is_the_law_s(text: str) -> None:
    counts = [drawn(text, seed).size for seed in range(60)]
    expected = parse_law(text).expected_count(DURATION_S)
    assert expected is not None
    # A renewal process that begins with a gap: its law says how many more or fewer that makes.
    offset = {"gamma:40.0:2.0": (2.0**2 - 1) / 2, "gamma:40.0:0.25": (0.25**2 - 1) / 2}.get(text, 0.0)
    t = (np.mean(counts) - expected - offset) / stats.sem(counts)
    assert abs(float(t)) < stats.t.ppf(0.9995, 59)


@pytest.mark.parametrize(("rate", "duration_s", "n"), [(40.0, 100.0, 4000), (3.0, 10.0, 30), (0.3, 10.0, 3)])
def test_constant_arrivals_stand_on_the_grid(rate: float, duration_s: float, n: int) -> None:
    law = parse_law(f"constant:{rate}")
    times = law.times_us(duration_s, streams(0).arrivals)
    assert times.size == n == law.expected_count(duration_s)
    assert times[0] == 0
    grid = np.floor(np.arange(n) * MICROSECONDS / rate + 1e-6)
    assert times.tolist() == grid.tolist()


@pytest.mark.parametrize(
    ("text", "cv"), [("poisson:40", 1.0), ("gamma:40:2", 2.0), ("gamma:40:0.25", 0.25), ("constant:40", 0.0)]
)
def test_gaps_have_the_law_s_mean_and_coefficient_of_variation(text: str, cv: float) -> None:
    gaps = np.diff(drawn(text, seed=11, duration_s=2000.0)) / MICROSECONDS
    assert gaps.mean() == pytest.approx(1 / 40, rel=4 * max(cv, 1e-3) / math.sqrt(gaps.size))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "distribution"),
    [("poisson:40", stats.expon(scale=1 / 40)), ("gamma:40:0.5", stats.gamma(a=4, scale=1 / 160))],
)
def test_gaps_follow_the_law(text: str, distribution: stats.rv_continuous) -> None:
    gaps = np.diff(drawn(text, seed=5, duration_s=250.0), prepend=0) / MICROSECONDS
    assert stats.kstest(gaps, distribution.cdf).pvalue > 0.001
    wrong = stats.expon(scale=1 / 44)
    assert stats.kstest(gaps, wrong.cdf).pvalue < 0.001


@pytest.mark.parametrize(
    ("text", "dispersion"),
    [
        ("poisson:40", 1.0),
        ("constant:40", 0.0),
        # Long windows of a renewal process: the squared coefficient of variation of its gaps.
        ("gamma:40:2", 4.0),
        # Interrupted Poisson, long windows: 1 + 2 rate^2 p (1-p) tau / (p rate), tau = 1 / (1/on + 1/off).
        ("onoff:100:0:0.1:0.3", 1 + 2 * 100 * 0.75 * (0.1 * 0.3 / 0.4)),
    ],
)
def test_counts_are_as_dispersed_as_the_law_says(text: str, dispersion: float) -> None:
    window_s, windows = 10.0, 800
    times = drawn(text, seed=2, duration_s=window_s * windows)
    counts = np.bincount(times // int(window_s * MICROSECONDS), minlength=windows)
    index = counts.var(ddof=1) / counts.mean()
    # The index of n windows has a relative spread of about sqrt(2 / n); five of them.
    assert index == pytest.approx(dispersion, rel=5 * math.sqrt(2 / windows) + 0.02, abs=1e-3)


@pytest.mark.parametrize("text", RANDOM_LAWS)
@pytest.mark.parametrize("resolution_us", [1, 1000])
def test_uniforms_are_uniform_and_independent_under_the_law(text: str, resolution_us: int) -> None:
    law = parse_law(text)
    p_values, correlations = [], []
    for seed in range(40):
        times = drawn(text, seed)
        uniforms = law.uniforms(times, resolution_us=resolution_us)
        assert uniforms is not None
        assert ((uniforms >= 0) & (uniforms <= 1)).all()
        p_values.append(stats.kstest(uniforms, "uniform").pvalue)
        correlations.append(np.corrcoef(uniforms[1:], uniforms[:-1])[0, 1] * math.sqrt(times.size))
    # Of 40 p-values at most 8 fall below 5 % but once in ten thousand.
    assert np.count_nonzero(np.array(p_values) < 0.05) <= stats.binom.ppf(0.9999, 40, 0.05)
    assert abs(np.mean(correlations)) < stats.norm.ppf(0.99995) / math.sqrt(40)


@pytest.mark.parametrize("text", RANDOM_LAWS)
def test_uniforms_betray_another_law(text: str) -> None:
    times = (drawn(text, seed=4) * 1.2).astype(np.int64)
    uniforms = parse_law(text).uniforms(times)
    assert uniforms is not None
    assert stats.kstest(uniforms, "uniform").pvalue < 1e-3


def test_uniforms_of_one_phase_are_those_of_poisson() -> None:
    # Equal rates: the phase says nothing, and the closed forms of both laws must agree.
    times = drawn("poisson:40", seed=9)
    hidden = parse_law("onoff:40:40:1:3").uniforms(times)
    plain = parse_law("poisson:40").uniforms(times)
    assert hidden is not None
    assert plain is not None
    np.testing.assert_allclose(hidden, plain, atol=1e-12)


def test_sine_and_steps_put_arrivals_where_the_rate_is() -> None:
    steps = drawn("piecewise:10@0,0@30,80@60", seed=1)
    seconds = steps / MICROSECONDS
    assert np.count_nonzero((seconds >= 30) & (seconds < 60)) == 0
    assert np.count_nonzero(seconds < 30) == pytest.approx(300, abs=5 * math.sqrt(300))
    assert np.count_nonzero(seconds >= 60) == pytest.approx(3200, abs=5 * math.sqrt(3200))
    swing = drawn("sine:40:40:100", seed=1) / MICROSECONDS
    up = 40 * 50 + 2 * 40 * 100 / (2 * math.pi)
    assert np.count_nonzero(swing < 50) == pytest.approx(up, abs=5 * math.sqrt(up))


@settings(max_examples=40, deadline=None)
@given(
    text=st.sampled_from(RANDOM_LAWS + GRID_LAWS),
    seed=st.integers(0, 2**32),
    short=st.floats(0.5, 60),
    longer=st.floats(1.0, 3.0),
)
def test_a_longer_schedule_begins_with_the_shorter_one(
    text: str, seed: int, short: float, longer: float
) -> None:
    first, second = drawn(text, seed, short), drawn(text, seed, short * longer)
    assert second[: first.size].tolist() == first.tolist()


GOLDEN = {
    "constant:40": [0, 25000, 50000, 75000],
    "poisson:40": [39969, 41333, 63706, 114486],
    "gamma:40:2": [35790, 35791, 44641, 103458],
    "onoff:100:0:1:3": [518517, 522436, 523592, 524202],
    "piecewise:10@0,80@1": [19984, 178949, 302009, 370823],
    "sine:40:20:10": [26646, 63343, 65927, 103763],
}


@pytest.mark.parametrize("text", GOLDEN)
def test_a_seed_gives_the_same_schedule_for_ever(text: str) -> None:
    assert drawn(text, seed=7)[:4].tolist() == GOLDEN[text]


def test_the_first_gap_is_the_first_uniform_turned_over() -> None:
    uniform = streams(7).arrivals.random()
    assert drawn("poisson:40", seed=7)[0] == math.floor(-math.log1p(-uniform) / 40 * MICROSECONDS)
    gamma = stats.gamma(a=0.25, scale=4 / 40)
    assert drawn("gamma:40:2", seed=7)[0] == math.floor(gamma.ppf(uniform) * MICROSECONDS)


@pytest.mark.parametrize("text", [*RANDOM_LAWS, *GRID_LAWS, "offline", "closed:8", "replay:a:b.csv:2.0"])
def test_a_law_s_text_reads_back_as_the_law(text: str) -> None:
    law = parse_law(text)
    assert law.text == text
    assert parse_law(law.text) == law


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a law"),
        ("burst:3", "not a law"),
        ("poisson", "poisson:RATE"),
        ("poisson:x", "'x' is not a number"),
        ("poisson:-1", "above 0"),
        ("constant:inf", "'inf' is not a number"),
        ("gamma:1", "gamma:RATE:CV"),
        ("gamma:1:0", "CV must lie between"),
        ("gamma:1:1e6", "CV must lie between"),
        ("onoff:1:2:3", "3 of 4"),
        ("onoff:0:0:1:1", "nor both 0"),
        ("piecewise:1@3", "begin at 0"),
        ("piecewise:1@0,2@0", "and rise"),
        ("piecewise:0@0", "nor all 0"),
        ("sine:1:2:3", "AMPLITUDE"),
        ("replay:", "names no file"),
        ("replay:a:0", "SPEED must be above 0"),
        ("offline:3", "takes no numbers"),
        ("closed:0", "at least 1"),
        ("closed:1.5", "whole number"),
    ],
)
def test_a_text_that_is_no_law_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(LawError, match=says):
        parse_law(text)


@pytest.mark.parametrize("duration_s", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("text", ["poisson:40", "constant:40", "offline"])
def test_a_duration_must_be_positive(text: str, duration_s: float) -> None:
    with pytest.raises(LawError, match="positive number of seconds"):
        parse_law(text).times_us(duration_s, streams(0).arrivals, num_items=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("poisson:1e12", "lower the rate or the duration"),
        ("piecewise:1e9@0,1@0.001", "a lower peak rate"),
        ("onoff:10:0:1e-9:1e-9", "longer phases"),
    ],
)
def test_a_schedule_too_large_to_draw_is_refused_before_it_is_drawn(text: str, says: str) -> None:
    with pytest.raises(LawError, match=says):
        parse_law(text).times_us(60.0, streams(0).arrivals)


def test_phases_last_as_long_as_they_should() -> None:
    # While off nothing comes: gaps beyond any that an on phase of 1,000 a second leaves are off phases.
    gaps = np.diff(drawn("onoff:1000:0:0.5:2", seed=3, duration_s=4000.0)) / MICROSECONDS
    off = gaps[gaps > 0.02]
    assert off.size == pytest.approx(4000 / 2.5, rel=0.08)
    assert stats.kstest(off - 0.02, stats.expon(scale=2).cdf).pvalue > 0.001


def test_laws_without_instants_ask_for_each_item_once() -> None:
    for law in (Offline(), Closed(num_clients=8)):
        assert law.times_us(60.0, streams(0).arrivals, num_items=5).tolist() == [0] * 5
        assert not law.is_open
        assert law.expected_count(60.0) is None
        assert law.uniforms(np.zeros(5, dtype=np.int64)) is None
        with pytest.raises(LawError, match="given none"):
            law.times_us(60.0, streams(0).arrivals)
    assert Closed(num_clients=8).max_inflight == 8
    assert parse_law("poisson:1").is_open


def test_a_replay_is_read_faster_and_cut_but_never_repeated() -> None:
    law = Replay(file="x", speed=2.0, recorded_us=(0, 1_000_001, 1_000_001, 9_000_000))
    assert law.times_us(4.0, streams(0).arrivals).tolist() == [0, 500_000, 500_000]
    assert law.expected_count(4.0) == 3
    assert law.times_us(100.0, streams(0).arrivals).tolist() == [0, 500_000, 500_000, 4_500_000]
    with pytest.raises(LawError, match="was not read"):
        Replay(file="x").times_us(4.0, streams(0).arrivals)


def test_a_replay_s_speed_is_only_what_follows_the_last_colon() -> None:
    assert parse_law("replay:C:/t/a.csv") == Replay(file="C:/t/a.csv")
    assert parse_law("replay:a.csv:1.5") == Replay(file="a.csv", speed=1.5)
