"""The parts of a request's time add up to its latency, whatever the server told."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analysis.split import by_band, split

NAN = float("nan")


def test_by_hand() -> None:
    parts = split(
        intended_us=[1_000_000],
        sent_us=[1_002_000],
        done_us=[1_052_000],
        server_ms={"tokenize": [1.0], "queue": [10.0], "infer": [30.0], "decode": [2.0], "total": [44.0]},
    )
    found = {part.name: getattr(parts, part.name)[0] for part in fields(parts)}
    assert found == pytest.approx(
        {
            "lateness": 0.002,
            "network": 0.006,
            "tokenize": 0.001,
            "queue": 0.010,
            "infer": 0.030,
            "decode": 0.002,
            "server_other": 0.001,
            "unexplained": 0.0,
        }
    )
    assert parts.latency[0] == pytest.approx(0.052)


maybe_ms = st.one_of(st.just(NAN), st.floats(0, 100))


@given(
    st.lists(
        st.tuples(st.integers(0, 10**8), st.integers(0, 10**5), st.integers(0, 10**7), *[maybe_ms] * 5),
        min_size=1,
        max_size=30,
    )
)
def test_parts_always_add_up(rows: list[tuple[float, ...]]) -> None:
    intended, late, service, *server = (np.array(column) for column in zip(*rows, strict=True))
    names = ("tokenize", "queue", "infer", "decode", "total")
    parts = split(
        intended_us=intended,
        sent_us=intended + late,
        done_us=intended + late + service,
        server_ms=dict(zip(names, server, strict=True)),
    )
    np.testing.assert_allclose(parts.latency, (late + service) / 1e6, atol=1e-9)
    assert not np.isnan(parts.latency).any()


def test_an_answer_without_a_split_is_unexplained() -> None:
    parts = split(intended_us=[0, 0], sent_us=[0, 0], done_us=[5000, 5000], server_ms={"total": [NAN, 4.0]})
    assert parts.unexplained.tolist() == [0.005, 0.0]
    assert parts.network.tolist() == pytest.approx([0.0, 0.001])


def test_a_server_that_claims_more_than_was_waited_is_not_believed() -> None:
    """By more than a millisecond, which rounding may be."""
    zeros = [0, 0, 0]
    told = {"total": [6.0, 6.1, NAN], "queue": [1.0, 1.0, 7.0], "infer": [2.0, 2.0, NAN]}
    parts = split(intended_us=zeros, sent_us=zeros, done_us=[5000] * 3, server_ms=told)
    assert parts.unexplained.tolist() == [0.0, 0.005, 0.005]
    assert parts.network.tolist() == pytest.approx([-0.001, 0.0, 0.0])
    assert parts.queue.tolist() == [0.001, 0.0, 0.0]
    assert parts.infer.tolist() == [0.002, 0.0, 0.0]
    assert parts.latency.tolist() == pytest.approx([0.005] * 3)


def test_stages_without_a_total_are_the_total() -> None:
    parts = split(intended_us=[0], sent_us=[0], done_us=[9000], server_ms={"queue": [2.0], "infer": [3.0]})
    assert parts.network.tolist() == pytest.approx([0.004])
    assert parts.server_other.tolist() == [0.0]


def test_bands_hold_each_request_once_in_order_of_latency() -> None:
    n = 1000
    latency_us = np.random.default_rng(0).permutation(np.arange(1, n + 1)) * 1000
    zeros = np.zeros(n, dtype=np.int64)
    bands = by_band(split(intended_us=zeros, sent_us=zeros, done_us=latency_us, server_ms={}))
    assert [band.n for band in bands] == [500, 400, 50, 40, 10]
    assert [(band.low, band.high) for band in bands] == [
        (0, 0.5),
        (0.5, 0.9),
        (0.9, 0.95),
        (0.95, 0.99),
        (0.99, 1),
    ]
    assert bands[0].latency == pytest.approx(0.2505)
    assert bands[-1].latency == pytest.approx(0.9955)
    assert all(sum(band.parts.values()) == pytest.approx(band.latency) for band in bands)


def test_bands_without_requests_are_left_out() -> None:
    one = split(intended_us=[0], sent_us=[0], done_us=[1000], server_ms={})
    assert [band.n for band in by_band(one)] == [1]
    none = split(intended_us=[], sent_us=[], done_us=[], server_ms={})
    assert by_band(none) == ()
