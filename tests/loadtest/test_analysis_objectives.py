"""Objectives: what a user may write, what he is told when he may not, and what samples say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from loadtest.analysis.attainment import Attainment, Evidence, attain
from loadtest.analysis.objectives import (
    Objective,
    ObjectiveError,
    Operator,
    What,
    latency_limit_s,
    parse_objectives,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p95<200ms", {"what": What.LATENCY, "percentile": 0.95, "operator": Operator.BELOW, "allowed": 0.2}),
        ("p99.9 <= 1.5s", {"percentile": 0.999, "operator": Operator.AT_MOST, "allowed": 1.5}),
        ("p50<500us", {"percentile": 0.5, "allowed": 0.0005}),
        ("mean<2min", {"percentile": None, "statistic": "mean", "allowed": 120.0}),
        ("service max<3s", {"what": What.SERVICE, "statistic": "max"}),
        ("lag p99<5ms", {"what": What.LATENESS, "percentile": 0.99, "allowed": 0.005}),
        ("lateness p99<5ms", {"what": What.LATENESS}),
        ("goodput>=35/s", {"what": What.GOODPUT, "operator": Operator.AT_LEAST, "allowed": 35.0}),
        ("throughput > 4e1/s", {"what": What.THROUGHPUT, "operator": Operator.ABOVE, "allowed": 40.0}),
        ("error_rate<0.1%", {"what": What.ERROR_RATE, "allowed": 0.001}),
        ("error_rate<0.001", {"allowed": 0.001}),
        (
            "quality{task=xcopa} accuracy>=0.98*unloaded",
            {"what": What.QUALITY, "statistic": "accuracy", "of_unloaded": True, "where": {"task": "xcopa"}},
        ),
        ("quality{task=panx} f1 >= 0.7", {"statistic": "f1", "of_unloaded": False, "allowed": 0.7}),
        ("quality mAP@20>=50%", {"statistic": "mAP@20", "allowed": 0.5}),
        (
            "latency{task=xnli,language=sw} p95<200ms",
            {"what": What.LATENCY, "where": {"task": "xnli", "language": "sw"}},
        ),
        ("{arm=b} p95<200ms", {"what": What.LATENCY, "where": {"arm": "b"}}),
    ],
)
def test_what_may_be_written(text: str, expected: dict[str, Any]) -> None:
    (found,) = parse_objectives(text)
    assert found.text == text
    assert {name: getattr(found, name) for name in expected} == expected


def test_several_are_separated_outside_braces() -> None:
    found = parse_objectives("latency{task=xnli,language=sw} p95<200ms, goodput>=35/s; error_rate<0.1%")
    assert [one.what for one in found] == [What.LATENCY, What.GOODPUT, What.ERROR_RATE]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not an objective"),
        ("p95<200ms,", "not an objective"),
        ("p95", "not an objective"),
        ("p95=200ms", "not an objective"),
        ("p95<fast", "not an objective"),
        ("p95<200", "given in s or ms or us or min"),
        ("goodput>=35", "given in /s"),
        ("error_rate<1ms", "given in a bare share"),
        ("q95<1s", "'q95' is no statistic"),
        ("p0<1s", "no statistic"),
        ("p100<1s", "no statistic"),
        ("<1s", "no statistic"),
        ("goodput p95>3/s", "goodput has no 'p95'"),
        ("quality>=0.5", "names no metric"),
        ("p95<0.9*unloaded", "given in"),
        ("error_rate<1*unloaded", "only quality"),
        ("{speed=1} p95<2ms", "selects nothing"),
        ("{task=} p95<2ms", "selects nothing"),
        ("{task=a,task=b} p95<2ms", "at most once"),
    ],
)
def test_what_may_not_be_written(text: str, says: str) -> None:
    with pytest.raises(ObjectiveError, match=says):
        parse_objectives(text)


def samples(n: int = 1000, **columns: Any) -> pl.DataFrame:
    """Return requests due every 10 ms, sent 1 ms late, done after 1 to ``n`` ms, in random order."""
    intended = np.arange(n) * 10_000
    took = (np.random.default_rng(0).permutation(n) + 1) * 1000
    frame: dict[str, Any] = {
        "task": ["xnli"] * n,
        "language": ["sw"] * n,
        "intended_us": intended,
        "sent_us": intended + 1000,
        "done_us": intended + took,
        "error": [None] * n,
        "censored": [False] * n,
    }
    return pl.DataFrame(frame | columns, schema_overrides={"error": pl.String, "censored": pl.Boolean})


def one(text: str, frame: pl.DataFrame, **evidence: Any) -> Attainment:
    return attain(parse_objectives(text), Evidence(samples=frame, makespan_s=10.0, **evidence))[-1]


@pytest.mark.parametrize(
    ("text", "met", "measured"),
    [
        ("p95<951ms", True, 0.950),
        ("p95<950ms", False, 0.950),
        ("p95<=950ms", True, 0.950),
        ("p99<1s", True, 0.990),
        ("p99.9<1s", None, None),
        ("mean<501ms", True, 0.5005),
        ("max<1s", False, 1.0),
        ("service p50<500ms", True, 0.499),
        ("lag p99<5ms", True, 0.001),
        ("throughput>=100/s", True, 100.0),
        ("p95<500ms,goodput>=50/s", True, 50.0),
        ("p95<500ms,goodput>50/s", False, 50.0),
        ("goodput>=1/s", None, None),
        ("error_rate<0.1%", True, 0.0),
        ("latency{task=xcopa} p50<1s", None, None),
        ("latency{task=xnli,language=sw} p50<1s", True, 0.5),
        ("quality accuracy>=0.5", None, None),
    ],
)
def test_samples_held_against_objectives(text: str, *, met: bool | None, measured: float | None) -> None:
    found = one(text, samples())
    assert found.met is met
    assert found.measured == pytest.approx(measured)
    assert found.sentence.endswith(".")


def test_errors_are_no_quick_answers() -> None:
    # Half are refused in a millisecond: the others' median is what counts, and the rate of errors is 50 %.
    n = 1000
    refused = np.arange(n) % 2 == 0
    frame = samples().with_columns(
        error=pl.Series([("503" if r else None) for r in refused]),
        done_us=pl.when(pl.Series(refused)).then(pl.col("intended_us") + 1000).otherwise(pl.col("done_us")),
    )
    assert one("p50<400ms", frame).met is False
    assert one("error_rate<0.1%", frame).measured == pytest.approx(0.5)
    assert one("throughput>=100/s", frame).measured == pytest.approx(50.0)


def test_unfinished_requests_can_miss_an_objective_and_cannot_meet_one() -> None:
    frame = samples().with_columns(censored=pl.col("done_us") - pl.col("intended_us") > 900_000)
    missed = one("p95<500ms", frame)
    assert missed.met is False
    assert "at least" in missed.sentence
    unknown = one("p95<2s", frame)
    assert unknown.met is None
    assert "unfinished" in unknown.sentence
    assert one("p50<1s", frame).met is True
    assert one("error_rate<5%", frame).measured == pytest.approx(0.1)


def test_a_request_that_was_never_sent_has_no_service_time() -> None:
    frame = samples().with_columns(sent_us=pl.when(pl.col("intended_us") > 0).then(pl.col("sent_us")))
    assert one("service max<2s", frame).met is True


def scores(value: float | None) -> Any:
    def score(metric: str, where: Mapping[str, str]) -> float | None:
        assert (metric, dict(where)) == ("accuracy", {"task": "xcopa"})
        return value

    return score


@pytest.mark.parametrize(
    ("loaded", "unloaded", "met", "allowed"),
    [(0.69, 0.7, True, 0.686), (0.68, 0.7, False, 0.686), (0.69, None, None, 0.98), (None, 0.7, None, 0.98)],
)
def test_quality_under_load_against_the_idle_server(
    *, loaded: float | None, unloaded: float | None, met: bool | None, allowed: float
) -> None:
    found = one(
        "quality{task=xcopa} accuracy>=0.98*unloaded",
        samples(),
        scores=scores(loaded),
        unloaded_scores=scores(unloaded),
    )
    assert found.met is met
    assert found.allowed == pytest.approx(allowed)
    assert found.unit == "ratio"


def test_the_limit_of_goodput_is_the_first_overall_latency_objective() -> None:
    text = "latency{task=xnli} p95<100ms, p95<200ms, p99<1s, lag p99<5ms"
    assert latency_limit_s(parse_objectives(text)) == pytest.approx(0.2)
    assert latency_limit_s(parse_objectives("lag p99<5ms")) is None
    assert latency_limit_s(()) is None


@pytest.mark.parametrize(
    ("goodput", "measured"),
    [
        ("goodput{task=xnli}>=1/s", 10.0),
        ("goodput{task=xnli,language=sw}>=1/s", 10.0),
        ("goodput{task=xquad}>=1/s", 40.0),
        ("goodput{task=xcopa}>=1/s", 20.0),
        ("goodput>=1/s", 60.0),
    ],
)
def test_goodput_of_some_requests_counts_by_their_own_limit(goodput: str, measured: float) -> None:
    """1,000 requests a task over 10 s, which take 1 to 1,000 ms: a limit of 100 ms holds 100 of them."""
    frame = pl.concat([samples(task=[task] * 1000) for task in ("xnli", "xquad", "xcopa")])
    limits = "latency{task=xnli} p95<100ms, latency{task=xquad} p95<400ms, p95<200ms"
    assert one(f"{limits}, {goodput}", frame).measured == pytest.approx(measured)


def test_an_objective_is_a_value() -> None:
    assert parse_objectives("p95<200ms") == parse_objectives("p95<200ms")
    assert isinstance(parse_objectives("p95<200ms")[0], Objective)
