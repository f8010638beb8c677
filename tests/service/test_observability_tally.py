"""What is tallied is what would have been observed one by one."""

from __future__ import annotations

from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from service.observability.tally import BulkHistogram, Count, Tally

EDGES = (0.1, 0.5, 1.0)
VALUES = st.lists(st.floats(0, 2) | st.sampled_from(EDGES))


def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(VALUES, VALUES)
def test_a_tally_gives_what_the_library_gives(first: list[float], second: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally(BulkHistogram("h", "Some.", buckets=EDGES, registry=ours), EDGES)
    one_by_one = Histogram("h", "Some.", buckets=EDGES, registry=theirs)
    for values in (first, second):
        for value in values:
            tally.add(value)
            one_by_one.observe(value)
        tally.empty()
    assert samples(ours) == pytest.approx(samples(theirs))


@given(VALUES)
def test_buckets_hold_what_is_at_most_their_edge(values: list[float]) -> None:
    registry = CollectorRegistry()
    tally = Tally(BulkHistogram("h", "Some.", buckets=EDGES, registry=registry), EDGES)
    for value in values:
        tally.add(value)
    tally.empty()
    for edge in EDGES:
        assert samples(registry)["h_bucket", str(edge)] == bisect_right(sorted(values), edge)


def test_a_count_is_told_once() -> None:
    registry = CollectorRegistry()
    count = Count(Counter("c", "Some.", registry=registry))
    count.pending += 2
    assert registry.get_sample_value("c_total") == 0.0
    count.empty()
    count.empty()
    assert registry.get_sample_value("c_total") == 2.0
