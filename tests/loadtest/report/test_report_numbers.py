"""The summary's numbers, computed again from the Parquet file with pyarrow and plain numpy."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from loadtest.report.summary import read_summary
from loadtest.trace.items import read_gold

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from loadtest.report.records import Group, Summary
    from loadtest.trace.items import GoldAnswer

OBJECTIVE_S = 0.1
STAGES = ("tokenize", "queue", "infer", "decode")

Columns = dict[str, "NDArray[Any]"]


@pytest.fixture(scope="module")
def columns(reported_run: Path) -> Columns:
    table = pq.read_table(reported_run / "samples.parquet")
    return {name: np.array(table[name].to_pylist(), dtype=object) for name in table.column_names}


@pytest.fixture(scope="module")
def summary(reported_run: Path) -> Summary:
    return read_summary(reported_run)


def by_hand(columns: Columns, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Recompute a group's figures; percentiles by sorting, nothing shared with the code under test."""
    rows = {name: values[chosen] for name, values in columns.items()}
    censored = rows["censored"].astype(bool)
    failed = np.array([error is not None for error in rows["error"]]) & ~censored
    done, due, sent = (rows[f"{name}_us"].astype(float) / 1e6 for name in ("done", "intended", "sent"))
    latency, service, lateness = done - due, done - sent, sent - due
    answered = ~censored & ~failed
    timed = ~failed
    tokens = rows["tokens"][answered].astype(int)
    return {
        "n": int(chosen.sum()),
        "answered": int(answered.sum()),
        "censored": int(censored.sum()),
        "errors": int(failed.sum()),
        "latency": latency[timed],
        "service": service[timed],
        "lateness": lateness,
        "tokens": tokens,
        "in_time": int((latency[answered] <= OBJECTIVE_S).sum()),
        "mean_latency_of_answered": float(latency[answered].mean()) if answered.any() else None,
        "split_ms": {stage: rows[f"{stage}_ms"][answered].astype(float) for stage in STAGES},
        "total_ms": rows["total_ms"][answered].astype(float),
        "network_s": service[answered] - rows["total_ms"][answered].astype(float) / 1e3,
    }


def nth(values: NDArray[np.float64], percent: int) -> float | None:
    """Return the smallest value that at least ``percent`` of the samples do not exceed, if ten lie beyond."""
    if values.size * (100 - percent) < 1000:
        return None
    return float(sorted(values)[math.ceil(values.size * percent / 100) - 1])


def check(group: Group, hand: dict[str, Any], makespan_s: float, duration_s: float) -> None:
    assert group.n == hand["n"]
    assert group.num_answered == hand["answered"]
    assert group.num_censored == hand["censored"]
    assert group.errors.num == hand["errors"]
    for name in ("latency", "service", "lateness"):
        distribution, values = getattr(group, f"{name}_s"), hand[name]
        assert distribution.n == values.size
        assert distribution.mean == pytest.approx(values.mean())
        assert distribution.max == pytest.approx(values.max())
        for percent in (50, 95, 99):
            assert getattr(distribution, f"p{percent}") == pytest.approx(nth(values, percent))
    assert group.throughput_per_s == pytest.approx(hand["answered"] / makespan_s)
    assert group.offered_per_s == pytest.approx(hand["n"] / duration_s)
    assert group.tokens_per_s == pytest.approx(hand["tokens"].sum() / makespan_s)
    assert group.tokens.total == hand["tokens"].sum()
    assert group.tokens.mean == pytest.approx(hand["tokens"].mean())
    assert group.goodput is not None
    assert group.goodput.per_s == pytest.approx(hand["in_time"] / makespan_s)
    assert group.goodput.ratio == pytest.approx(hand["in_time"] / hand["n"])
    check_split(group, hand)


def check_split(group: Group, hand: dict[str, Any]) -> None:
    split = group.split
    assert split is not None
    assert split.latency_s == pytest.approx(hand["mean_latency_of_answered"])
    for stage in STAGES:
        assert getattr(split, f"{stage}_s") == pytest.approx(hand["split_ms"][stage].mean() / 1e3)
    assert split.network_s == pytest.approx(hand["network_s"].mean(), abs=1e-12)
    rest_ms = hand["total_ms"] - sum(hand["split_ms"].values())
    assert split.server_other_s == pytest.approx(rest_ms.mean() / 1e3)
    parts = (split.network_s, split.tokenize_s, split.queue_s, split.infer_s, split.decode_s)
    known = [part for part in (*parts, split.server_other_s) if part is not None]
    assert split.lateness_s + sum(known) + split.unexplained_s == pytest.approx(split.latency_s)


def spans(reported_run: Path, columns: Columns) -> tuple[float, float]:
    makespan_s = float(max(columns["done_us"]) - min(columns["intended_us"])) / 1e6
    header = json.loads((reported_run.parent / "trace" / "schedule.jsonl").read_text().splitlines()[0])
    return makespan_s, header["duration_s"]


def test_overall_figures_are_those_of_the_samples(
    reported_run: Path, columns: Columns, summary: Summary
) -> None:
    everything = np.ones(columns["i"].size, dtype=bool)
    check(summary.overall, by_hand(columns, everything), *spans(reported_run, columns))


def test_every_task_language_and_cell_is_measured_from_its_own_samples(
    reported_run: Path, columns: Columns, summary: Summary
) -> None:
    makespan_s, duration_s = spans(reported_run, columns)
    groups: list[tuple[Group, NDArray[np.bool_]]] = []
    for task, group in summary.by_task.items():
        groups.append((group, columns["task"] == task))
    for language, group in summary.by_language.items():
        groups.append((group, columns["language"] == language))
    for task, cells in summary.by_task_language.items():
        for language, group in cells.items():
            groups.append((group, (columns["task"] == task) & (columns["language"] == language)))
    assert len(groups) > 200
    for group, chosen in groups:
        hand = by_hand(columns, chosen)
        if hand["answered"]:
            check(group, hand, makespan_s, duration_s)
        assert group.n == hand["n"]
    assert sum(group.n for group in summary.by_task.values()) == summary.overall.n
    assert sum(group.n for group in summary.by_language.values()) == summary.overall.n


def test_bands_hold_each_answered_request_once_in_order_of_latency(
    columns: Columns, summary: Summary
) -> None:
    (arm,) = summary.by_arm.values()
    hand = by_hand(columns, np.ones(columns["i"].size, dtype=bool))
    answered = np.array([error is None for error in columns["error"]])
    latency = (columns["done_us"] - columns["intended_us"])[answered].astype(float) / 1e6
    ordered = np.sort(latency)
    start = 0
    for band in arm.bands:
        stop = start + band.split.n
        assert band.split.latency_s == pytest.approx(ordered[start:stop].mean())
        assert stop == (math.ceil(round(ordered.size * band.high, 6)) if band.high < 1 else ordered.size)
        start = stop
    assert start == hand["answered"]
    assert [band.high for band in arm.bands] == [0.5, 0.9, 0.95, 0.99, 1.0]


def answers_of(run: Path) -> dict[str, GoldAnswer]:
    """Return what would have been right, by item, as the run's trace holds it."""
    return {item: answer.gold for item, answer in read_gold(run.parent / "trace" / "gold.jsonl").items()}


def test_scores_are_what_the_answers_earn(reported_run: Path, columns: Columns, summary: Summary) -> None:
    gold = answers_of(reported_run)
    first: dict[str, str | None] = {}
    for item, answer in zip(columns["item"], columns["answer"], strict=True):
        if first.get(item) is None:
            first[item] = answer
    for task, key in (("xnli", "label"), ("xcopa", "choice")):
        by_language: dict[str, list[bool]] = {}
        for item, answer in first.items():
            if item.startswith(f"{task}/"):
                given = json.loads(answer)[key] if answer else None
                by_language.setdefault(item.split("/")[1], []).append(given == gold[item])
        for language, rights in by_language.items():
            quality = summary.by_task_language[task][language].quality
            assert quality is not None
            assert quality.score == pytest.approx(np.mean(rights))
            assert quality.num_scored == len(rights)
        whole = summary.by_task[task].quality
        assert whole is not None
        assert whole.score == pytest.approx(np.mean([np.mean(rights) for rights in by_language.values()]))


def test_right_answers_a_second_count_requests_within_the_objective(
    reported_run: Path, columns: Columns, summary: Summary
) -> None:
    gold = answers_of(reported_run)
    latency = (columns["done_us"] - columns["intended_us"]).astype(float) / 1e6
    right = sum(
        json.loads(answer)["label"] == gold[item]
        for item, task, answer, seconds in zip(
            columns["item"], columns["task"], columns["answer"], latency, strict=True
        )
        if task == "xnli" and answer is not None and seconds <= OBJECTIVE_S
    )
    quality = summary.by_task["xnli"].quality
    assert quality is not None
    assert quality.correct_per_s == pytest.approx(right / spans(reported_run, columns)[0])


def test_objectives_are_held_against_the_same_figures(summary: Summary) -> None:
    latency, errors = summary.objectives
    assert latency.measured == pytest.approx(summary.overall.latency_s.p95)
    assert latency.met is False
    unfinished = summary.overall.errors.num + summary.overall.num_censored
    assert errors.measured == pytest.approx(unfinished / summary.overall.n)
    assert errors.met is True
