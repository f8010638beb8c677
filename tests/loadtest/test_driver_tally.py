"""Durations between edges: counted like Prometheus' own histogram, and added up over workers."""

from __future__ import annotations

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from loadtest.driver.tally import EDGES_S, Distribution, Tally, merged
from service.observability.metrics import SECONDS_EDGES

DURATIONS_US = st.lists(st.integers(0, 400_000_000), max_size=50)


def tallied(durations_us: list[int]) -> Distribution:
    tally = Tally()
    for duration_us in durations_us:
        tally.add(duration_us)
    return tally.distribution()


@given(DURATIONS_US)
def test_counts_are_those_of_a_histogram_of_prometheus(durations_us: list[int]) -> None:
    registry = CollectorRegistry()
    histogram = Histogram("h", "h", buckets=EDGES_S, registry=registry)
    for duration_us in durations_us:
        histogram.observe(duration_us / 1e6)
    found = tallied(durations_us)
    for edge, count in found.cumulative():
        assert registry.get_sample_value("h_bucket", {"le": edge}) == count
    assert found.sum_us == sum(durations_us)


def test_an_edge_belongs_to_the_bucket_below_it() -> None:
    found = dict(tallied([100_000, 100_001]).cumulative())
    assert (found["0.05"], found["0.1"], found["0.25"], found["+Inf"]) == (0, 1, 2, 2)


@given(DURATIONS_US, DURATIONS_US)
def test_what_two_workers_counted_is_what_one_would_have(first: list[int], second: list[int]) -> None:
    assert merged([tallied(first), tallied(second)]) == tallied(first + second)
    assert merged([]) == Distribution() == tallied([])


def test_a_distribution_survives_a_message() -> None:
    found = tallied([7, 80, 900_000_000])
    assert Distribution.from_json(asdict(found)) == found


def test_edges_from_a_millisecond_on_are_those_of_the_service() -> None:
    assert tuple(edge for edge in EDGES_S if edge >= SECONDS_EDGES[0]) == SECONDS_EDGES
