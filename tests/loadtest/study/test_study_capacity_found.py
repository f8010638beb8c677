"""What a sweep's runs say: runs at one rate are put together, arms are compared over what they share."""

from __future__ import annotations

import math

import pytest

from loadtest.analysis.capacity import Block, Method
from loadtest.report.study_record import Comparison, Correction, Interval, VerdictWord
from loadtest.study.capacity_found import capacities
from loadtest.study.capacity_search import Swept, target_of
from loadtest.study.comparisons import held_of
from loadtest.study.record import last_in_sequence
from loadtest.study.verdict import capacity_answer


def block(rate_per_s: float, num_in_time: int) -> Block:
    return Block(rate_per_s=rate_per_s, num_requests=100, num_in_time=num_in_time)


def swept(latencies_s: tuple[float | None, ...]) -> Swept:
    return Swept(
        blocks={"old": (block(20, 90), block(10, 99), block(20, 80), block(10, 97), block(20, 85))},
        latencies_s={"old": latencies_s},
        goodputs_per_s={"old": (18.0, 9.0, 16.0, 9.0, 17.0)},
        reason="",
    )


def test_runs_at_one_rate_are_put_together_with_their_spread() -> None:
    (found,) = capacities(swept((0.1, 0.05, 0.4, 0.05, 0.2)), target_of("p95<200ms"))
    low, high = found.probes
    assert (low.rate_per_s, low.num_runs, high.rate_per_s, high.num_runs) == (10.0, 2, 20.0, 3)
    assert (low.attained_ratio, high.attained_ratio) == (0.98, 0.85)
    assert high.latency_s == pytest.approx(0.2)  # the geometric mean of 0.1, 0.2 and 0.4
    assert high.interval is not None
    half = math.exp(4.302653 * math.log(2) / math.sqrt(3))  # t(2) at 97.5 %, standard error ln 2 / sqrt 3
    assert (high.interval.low, high.interval.high) == pytest.approx((0.2 / half, 0.2 * half), rel=1e-3)
    assert low.interval is None  # two runs have no interval to show
    assert (low.goodput_per_s, high.goodput_per_s) == pytest.approx((9.0, (18.0 * 16.0 * 17.0) ** (1 / 3)))


def test_a_rate_at_which_one_run_has_no_percentile_has_none() -> None:
    (found,) = capacities(swept((None, 0.05, 0.4, 0.05, 0.2)), target_of("p95<200ms"))
    assert [probe.latency_s for probe in found.probes] == [pytest.approx(0.05), None]
    assert found.probes[1].interval is None
    assert found.probes[1].attained_ratio == 0.85


def test_a_capacity_without_an_interval_says_so() -> None:
    (found,) = capacities(swept((0.1, 0.05, 0.4, 0.05, 0.2)), target_of("p95<200ms"))
    bare = found.model_copy(update={"rate_per_s": 12.5, "interval": None, "method": Method.LOGISTIC.value})
    assert capacity_answer("old", bare, "p95<200ms").sentence == (
        "old answers 12.5 requests a second under p95<200ms, without an interval: it takes 12 probes, not 5. "
        "Make longer probes or more of them."
    )


def test_a_capacity_with_an_interval_gives_it_and_a_search_that_stopped_its_reason() -> None:
    (found,) = capacities(swept((0.1, 0.05, 0.4, 0.05, 0.2)), target_of("p95<200ms"))
    ends = Interval(low=11.25, high=14, confidence=0.95)
    known = found.model_copy(update={"rate_per_s": 12.5, "interval": ends, "method": "a line"})
    assert capacity_answer("old", known, "p95<200ms").sentence == (
        "old answers 12.5 requests a second under p95<200ms (95% interval 11.25 to 14; a line)."
    )
    stopped = capacity_answer("old", None, "p95<200ms", "no rate met it.")
    assert (stopped.word, stopped.sentence) == (VerdictWord.INVALID, "No rate met it.")


def test_a_search_that_did_not_stop_without_a_capacity_is_a_bug() -> None:
    """``conduct`` raises where the first arm has none, so that no page may be made of it."""
    (found,) = capacities(swept((0.1, 0.05, 0.4, 0.05, 0.2)), target_of("p95<200ms"))
    for nothing in (None, found.model_copy(update={"rate_per_s": None})):
        with pytest.raises(AssertionError, match="This is a bug"):
            capacity_answer("old", nothing, "p95<200ms")


@pytest.mark.parametrize("first", [VerdictWord.INCONCLUSIVE, VerdictWord.EQUIVALENT, VerdictWord.SLOWER])
def test_a_capacity_is_marked_only_where_every_primary_before_it_differs(first: VerdictWord) -> None:
    latency, capacity = primary("p50 latency", first), primary("capacity", VerdictWord.SLOWER)
    found = last_in_sequence([latency], {"new": capacity})["new"]
    assert capacity.marked
    assert found.marked is (capacity in held_of((latency, capacity)))
    assert found.word is VerdictWord.SLOWER


def primary(measure: str, word: VerdictWord) -> Comparison:
    return Comparison(
        name=measure,
        measure=measure,
        arm="new",
        reference="old",
        primary=True,
        log_ratio=0.2,
        interval=None,
        correction=Correction.SEQUENCE,
        marked=word is VerdictWord.SLOWER,
        word=word,
        num_pairs=9,
    )
