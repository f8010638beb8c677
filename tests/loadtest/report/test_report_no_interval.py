"""Why a figure has no interval: a reason stands only where it is true, and in the place of the interval."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from loadtest.analysis.capacity import (
    MIN_INTERVAL_BLOCKS,
    MIN_INTERVAL_PAIRS,
    MIN_INTERVAL_RUNS,
    Block,
    Method,
    capacity,
)
from loadtest.analysis.interval import SPREAD_UNITS
from loadtest.report.chart_forest import forest_figure
from loadtest.report.chart_sweep import sweep_figure
from loadtest.report.html import write_report
from loadtest.report.markdown import markdown_of
from loadtest.report.no_interval import num_probes, why_no_interval
from loadtest.report.study_files import read_record, save_study
from loadtest.report.study_record import (
    Capacity,
    Comparison,
    Interval,
    Offline,
    Probe,
    StudyRecord,
    VerdictWord,
)
from loadtest.report.summary import read_summary
from loadtest.study.capacity_found import capacities
from loadtest.study.capacity_search import Swept, target_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

INTERVAL = Interval(low=0.9, high=1.1, confidence=0.95)
TARGET = target_of("p95<200ms")
# Twelve runs over which a line falls, and might as well not.
SCATTERED = [(0.94, 0.96), (0.99, 0.96), (0.96, 0.94), (0.94, 0.99), (0.9, 0.99), (0.96, 0.8)]


@pytest.fixture(scope="module")
def record(reported_study: Path) -> StudyRecord:
    return read_record(reported_study / "study.json")


def compared(measure: str, num_pairs: int, log_ratio: float | None = 0.1, **more: Any) -> Comparison:
    values = {"name": measure, "measure": measure, "arm": "b", "reference": "a", "interval": None}
    known = {"log_ratio": log_ratio, "word": VerdictWord.INCONCLUSIVE, "num_pairs": num_pairs}
    return Comparison.model_validate(values | known | more)


def probe(num_runs: int, **more: Any) -> Probe:
    return Probe.model_validate(
        {"rate_per_s": 10.0 + num_runs, "num_runs": num_runs, "latency_s": 0.1} | more
    )


def found(
    method: str, *num_runs: int, rate: float | None = 12.0, interval: Interval | None = None
) -> Capacity:
    return Capacity(
        arm="a",
        objective=TARGET.text,
        objective_s=TARGET.limit_s,
        percentile=TARGET.share,
        rate_per_s=rate,
        interval=interval,
        method=method,
        probes=tuple(map(probe, num_runs)),
    )


@pytest.mark.parametrize(
    ("figure", "reason"),
    [
        (compared("p95 latency", 0, None), "no valid pair has this figure in both runs"),
        (compared("p95 latency", 1), "it takes 2 pairs, not 1"),
        (compared("p95 latency", 2), "the record does not say why"),
        (compared("p95 latency", 1, interval=INTERVAL), ""),
        (compared("capacity", 12, None), "no line was fitted to both arms' probes"),
        (compared("capacity", 5), "it takes 6 pairs, not 5"),
        (compared("capacity", 6), "the record does not say why"),
        (compared("capacity", 6, interval=INTERVAL), ""),
        (found(Method.LOGISTIC, 5, 6), "it takes 12 probes, not 11"),
        (found(Method.LOGISTIC, 6, 6), "its runs scatter too much"),
        (found(Method.LOGISTIC, 6, 6, interval=INTERVAL), ""),
        (found(Method.BRACKET, 1), "it lies too near to an end of the probed rates"),
        (found(Method.ABOVE, 1, rate=None), "it lies above every probed rate"),
        (found(Method.BELOW, 18, rate=None), "it lies below every probed rate"),
        (found("not found: a search's own probes", 1, rate=None), "no capacity was found"),
        (found("another way", 1), "the record does not say why"),
        (Offline(arm="a", num_runs=1, inputs_per_s=9, tokens_per_s=90), "it takes 2 runs, not 1"),
        (Offline(arm="a", num_runs=2, inputs_per_s=9, tokens_per_s=90), "a run answered nothing"),
        (
            Offline(arm="a", num_runs=2, inputs_per_s=9, inputs_interval=INTERVAL, tokens_per_s=0),
            "a run counted no tokens",
        ),
        (probe(2), "it takes 3 runs, not 2"),
        (probe(3), "the record does not say why"),
        (probe(3, latency_s=None), "a run has no such percentile"),
        (probe(3, interval=INTERVAL), ""),
    ],
)
def test_a_reason_is_given_where_the_record_proves_it(
    figure: Comparison | Capacity | Offline | Probe, reason: str
) -> None:
    assert why_no_interval(figure) == reason


def test_a_number_is_named_only_below_the_least_that_an_interval_takes() -> None:
    for num in range(1, 20):
        said = {
            MIN_INTERVAL_BLOCKS: why_no_interval(found(Method.LOGISTIC, num)),
            MIN_INTERVAL_PAIRS: why_no_interval(compared("capacity", num)),
            MIN_INTERVAL_RUNS: why_no_interval(probe(num)),
            SPREAD_UNITS: why_no_interval(compared("p50 latency", num)),
        }
        for least, reason in said.items():
            assert reason.startswith(f"it takes {least} ") is (num < least)


def sweep(num_runs: int, *shares: float) -> Capacity:
    """Return what a sweep says in which these shares are in time at 10, 20, ... a second, in as many runs."""
    return seen_by([(share,) * num_runs for share in shares])


def seen_by(shares: Sequence[tuple[float, ...]]) -> Capacity:
    """Return what a sweep says, of each run's share in time at 10, 20, ... a second."""
    blocks = tuple(
        Block(rate_per_s=10.0 * (i + 1), num_requests=1000, num_in_time=round(1000 * share))
        for i, runs in enumerate(shares)
        for share in runs
    )
    of = (0.1,) * len(blocks)
    swept = Swept(blocks={"a": blocks}, latencies_s={"a": of}, goodputs_per_s={"a": of}, reason="")
    (seen,) = capacities(swept, TARGET)
    assert num_probes(seen) == capacity(blocks, target=TARGET.share).num_blocks == len(blocks)
    return seen


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (sweep(2, 0.99, 0.98, 0.97, 0.96, 0.94, 0.90), ""),
        (sweep(1, 0.99, 0.98, 0.97, 0.96, 0.94, 0.90), "it takes 12 probes, not 6"),
        (seen_by(SCATTERED), "its runs scatter too much"),
        (sweep(1, 0.99, 0.99, 0.2, 0.2, 0.2), ""),
        (sweep(3, 0.99, 0.2, 0.2, 0.2, 0.2), "it lies too near to an end of the probed rates"),
        (sweep(3, 0.99, 0.98), "it lies above every probed rate"),
        (sweep(3, 0.9, 0.8), "it lies below every probed rate"),
    ],
)
def test_what_a_sweep_lacks_is_told_as_its_search_left_it(seen: Capacity, reason: str) -> None:
    assert (seen.interval is None) is bool(reason)
    assert why_no_interval(seen) == reason


def changed(record: StudyRecord, **update: Any) -> StudyRecord:
    return record.model_copy(update=update)


def test_the_sweeps_caption_says_why_points_and_capacities_have_no_interval(record: StudyRecord) -> None:
    whole = sweep_figure(record.capacities)
    assert whole is not None
    assert "A bar is an interval over the runs at that rate. The dashed line" in whole.caption
    assert "no interval" not in whole.caption

    bare = found(Method.LOGISTIC, 2, 3)
    few = sweep_figure([bare, *record.capacities])
    assert few is not None
    assert "Some points have no interval: it takes 3 runs, not 2." in few.caption
    assert "a has no interval of its capacity: it takes 12 probes, not 5." in few.caption
    assert "english-intermediate has no interval" not in few.caption

    alone = sweep_figure([bare.model_copy(update={"probes": (probe(1), probe(2, latency_s=None))})])
    assert alone is not None
    assert "A bar is" not in alone.caption
    assert "Points have no interval: it takes 3 runs, not 1." in alone.caption
    assert "A rate has no point where one of its runs has no such percentile." in alone.caption
    assert "shaded strip" not in alone.caption


def test_the_page_and_markdown_print_reasons_and_levels(
    reported_study: Path, record: StudyRecord, tmp_path: Path
) -> None:
    wider = INTERVAL.model_copy(update={"low": -0.1, "confidence": 0.975})
    told = changed(
        record,
        comparisons=(compared("p50 latency", 3, interval=wider), compared("p95 latency", 1)),
        aa=(),
        positive_control=None,
        capacities=(found(Method.LOGISTIC, 4), *record.capacities),
        capacity_ratio=compared("capacity", 4),
        offline=(Offline(arm="a", num_runs=1, inputs_per_s=9, tokens_per_s=90),),
    )
    for one in record.runs:
        (tmp_path / one.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one.path).symlink_to(reported_study / one.path)
    for trace in (reported_study / "traces", reported_study / "trace"):
        if trace.exists():
            (tmp_path / trace.name).symlink_to(trace)
    save_study(tmp_path, told)
    write_report(tmp_path)
    page = re.sub(r"<[^>]+>", "", (tmp_path / "report.html").read_text())
    assert "none: it takes 2 pairs, not 1" in page
    assert "none: it takes 6 pairs, not 4" in page
    assert "none: it takes 12 probes, not 4" in page
    assert page.count("none: it takes 2 runs, not 1") == 2  # inputs and tokens
    assert "97.5% interval" in page
    assert "logistic fit of attainment on rate; 4 probes" in page

    written = markdown_of(read_summary(tmp_path), "x", told)
    assert "| comparison | ratio | 97.5% interval | pairs | verdict |" in written
    assert "none: it takes 2 pairs, not 1 | 1 |" in written
    assert "none: it takes 6 pairs, not 4 | 4 |" in written


@pytest.mark.parametrize(
    ("nums", "said"),
    [
        ((2, 2), "Ticks in the A/A rows are 2 pairs of the same arm with itself: their spread is the noise."),
        (
            (5, 6),
            "Ticks in the A/A rows are 5 to 6 pairs of the same arm with itself: their spread is the noise.",
        ),
        ((1,), "are 1 pair of the same arm with itself: one has no spread to tell the noise by."),
        ((0, 0), None),
    ],
)
def test_the_forest_says_of_how_many_pairs_its_noise_is(
    record: StudyRecord, nums: tuple[int, ...], said: str | None
) -> None:
    rows = tuple(compared(f"A/A {i}", num, pair_log_ratios=(0.01,) * num) for i, num in enumerate(nums))
    figure = forest_figure(changed(record, aa=rows))
    assert figure is not None
    if said is None:
        assert "A/A rows" not in figure.caption
    else:
        assert figure.caption.endswith(said)
