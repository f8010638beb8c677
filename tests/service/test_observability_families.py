"""Metrics of several processes as one: every sum by hand, and what comes out is what the library reads."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service.observability.families import (
    Families,
    add_up,
    cumulative,
    exposition,
    families_of,
    from_bytes,
    to_bytes,
)

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def process(
    *,
    ok: float = 0.0,
    failed: float = 0.0,
    seconds: tuple[float, ...] = (),
    gauges: dict[str, float] | None = None,
) -> CollectorRegistry:
    """What one process counts."""
    registry = CollectorRegistry()
    requests = Counter("requests_total", "Requests.", ["outcome"], registry=registry)
    requests.labels("ok").inc(ok)
    requests.labels("failed").inc(failed)
    duration = Histogram("duration_seconds", "Durations.", buckets=(0.1, 1.0), registry=registry)
    wait = Summary("wait_seconds", "Waits.", registry=registry)
    for second in seconds:
        duration.observe(second, {"trace_id": f"t{second:g}"})
        wait.observe(second)
    for name, value in (gauges or {}).items():
        Gauge(name, "A gauge.", registry=registry).set(value)
    return registry


def values(reading: Families) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(text for _, text in sample.labels)): sample.value
        for family in reading
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_counters_histograms_and_summaries_add_up() -> None:
    total = add_up(
        families_of(registry)
        for registry in (
            process(ok=3, failed=1, seconds=(0.05, 0.5)),
            process(ok=4, seconds=(0.5, 7.0, 7.0)),
            process(),
        )
    )
    assert values(total) == {
        ("requests_total", "ok"): 7.0,
        ("requests_total", "failed"): 1.0,
        ("duration_seconds_bucket", "0.1"): 1.0,
        ("duration_seconds_bucket", "1.0"): 3.0,
        ("duration_seconds_bucket", "+Inf"): 5.0,
        ("duration_seconds_count",): 5.0,
        ("duration_seconds_sum",): 15.05,
        ("wait_seconds_count",): 5.0,
        ("wait_seconds_sum",): 15.05,
    }


@pytest.mark.parametrize(
    ("name", "readings", "total"),
    [
        ("queue_requests", (0.0, 5.0, 0.0), 5.0),  # the one that knows
        ("ready", (0.0, 1.0, 1.0), 1.0),  # somebody takes requests
        ("cost_error_p90_ratio", (math.nan, 0.0, 0.2), 0.2),
        ("balance", (-2.0, -1.0), -1.0),
        ("process_resident_memory_bytes", (100.0, 20.0, 3.0), 123.0),
        ("process_open_fds", (10.0, 5.0), 15.0),
        ("process_start_time_seconds", (30.0, 10.0, 20.0), 10.0),
        ("process_max_fds", (1024.0, 512.0), 512.0),
    ],
)
def test_gauges_are_joined_by_what_they_mean(name: str, readings: tuple[float, ...], total: float) -> None:
    joined = values(add_up(families_of(process(gauges={name: value})) for value in readings))
    assert joined[(name,)] == total


def test_a_gauge_that_is_nowhere_known_stays_unknown() -> None:
    joined = values(add_up(families_of(process(gauges={"unknown": math.nan})) for _ in range(2)))
    assert math.isnan(joined["unknown",])


def test_series_of_one_process_alone_are_kept() -> None:
    total = values(add_up([families_of(process(ok=1)), families_of(process(ok=1, gauges={"loads": 7}))]))
    assert total["loads",] == 7.0
    assert total["requests_total", "ok"] == 2.0


def test_what_a_process_counted_goes_on_counting_when_it_is_gone_but_its_gauges_go() -> None:
    gone = cumulative(families_of(process(ok=5, seconds=(0.5,), gauges={"queue_requests": 9})))
    now = families_of(process(ok=1, gauges={"queue_requests": 0}))
    total = values(add_up([now, gone]))
    assert total["requests_total", "ok"] == 6.0
    assert total["duration_seconds_count",] == 1.0
    assert total["queue_requests",] == 0.0
    assert ("queue_requests",) not in values(gone)


def test_the_oldest_creation_and_the_latest_exemplar_are_kept() -> None:
    first, second = families_of(process(ok=1, seconds=(0.5,))), families_of(process(ok=1, seconds=(0.7,)))
    created = {
        sample.value for family in (*first, *second) for sample in family.samples if "created" in sample.name
    }
    for order in ((first, second), (second, first)):
        total = add_up(order)
        samples = [sample for family in total for sample in family.samples]
        assert min(sample.value for sample in samples if "created" in sample.name) == min(created)
        (bucket,) = [one for one in samples if one.name.endswith("_bucket") and one.exemplar is not None]
        assert bucket.exemplar is not None
        assert bucket.exemplar[:2] == ({"trace_id": "t0.7"}, 0.7)


def test_a_reading_comes_through_as_bytes() -> None:
    reading = families_of(process(ok=3, seconds=(0.05, 0.5), gauges={"some": math.inf, "other": -0.5}))
    assert from_bytes(to_bytes(reading)) == reading


@pytest.mark.parametrize("written", [b"", b"{", b"7", b'[["a"]]', b"\xff"])
def test_what_is_no_reading_is_refused(written: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        from_bytes(written)


def test_one_process_is_written_as_the_library_writes_it() -> None:
    registry = process(ok=3, failed=1, seconds=(0.05, 0.5), gauges={"some": 2.0})
    body, content_type = exposition(families_of(registry), "")
    assert body == generate_latest(registry)
    assert content_type.startswith("text/plain")


def test_the_sum_is_valid_openmetrics_with_exemplars() -> None:
    total = add_up(families_of(process(ok=n, seconds=(0.5, 7.0))) for n in (1, 2))
    body, content_type = exposition(total, OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text")
    read = text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]  # ships no types
    families = {family.name: family for family in read}
    buckets = [one for one in families["duration_seconds"].samples if one.name.endswith("_bucket")]
    assert [(one.labels["le"], one.value) for one in buckets] == [("0.1", 0.0), ("1.0", 2.0), ("+Inf", 4.0)]
    assert buckets[1].exemplar.labels == {"trace_id": "t0.5"}


COUNTS = st.lists(st.integers(0, 2**40), min_size=1, max_size=5)


@given(COUNTS, st.data())
def test_the_order_of_processes_and_of_adding_does_not_matter(counts: list[int], data: st.DataObject) -> None:
    readings = [cumulative(families_of(process(ok=count))) for count in counts]
    shuffled = data.draw(st.permutations(readings))
    split = data.draw(st.integers(0, len(readings)))
    by_parts = add_up([add_up(shuffled[:split]), add_up(shuffled[split:])])
    assert values(by_parts) == values(add_up(readings))
    assert values(by_parts)["requests_total", "ok"] == sum(counts)
