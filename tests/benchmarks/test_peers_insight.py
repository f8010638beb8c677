"""What is read of the service's metrics, of an exposition that its own registry wrote."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from benchmarks.peers_insight import Insight


class Made:
    """Metrics with the service's names."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.cut = Counter("xlmr_batches_total", "x", ["variant", "cut"], registry=self.registry)
        self.tokens = Histogram("xlmr_batch_tokens", "x", buckets=(64, 512), registry=self.registry)
        self.busy = Counter("xlmr_engine_busy_seconds_total", "x", registry=self.registry)

    def look(self) -> Insight:
        return Insight.of(generate_latest(self.registry).decode())


def test_what_was_gained_between_two_looks_counts() -> None:
    made = Made()
    made.cut.labels("classify", "empty").inc(7)
    made.tokens.observe(1000)
    before = made.look()
    made.cut.labels("classify", "empty").inc(2)
    made.cut.labels("embed", "empty").inc(1)
    made.cut.labels("classify", "budget").inc(4)
    for tokens in (100, 200, 600):
        made.tokens.observe(tokens)
    made.busy.inc(1.5)
    found = made.look().since(before, wall_s=2.0)
    assert found["cuts"] == {"budget": 4, "empty": 3}
    assert found["batch_tokens"] == pytest.approx(300.0)
    assert found["engine_busy_ratio"] == pytest.approx(0.75)
    assert found["fill_ratio"] is None
