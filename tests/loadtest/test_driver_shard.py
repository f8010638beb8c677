"""Sharding is dealing cards: together the shards are the schedule, nothing twice and nothing missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtest.driver.shard import make_shard
from loadtest.driver.wire import parse_target
from loadtest.trace.schedule import load_trace
from tests.loadtest.driver_world import open_plan, write_trace

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.trace.schedule import Trace

TARGET = parse_target("http://127.0.0.1:8000")
TIMES_US = sorted((i * 7919) % 1_000_003 for i in range(97))
PLAN = open_plan(target=TARGET.url, timeout_s=1.0, variants={"xnli": "v.xnli"}, schedule_sha256="")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    folder: Path = tmp_path_factory.mktemp("shard")
    return load_trace(write_trace(folder / "trace", TIMES_US))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(num_shards=st.integers(1, 120))
def test_the_shards_merged_are_the_schedule(trace: Trace, num_shards: int) -> None:
    shards = [make_shard(trace, PLAN, TARGET, k, num_shards) for k in range(num_shards)]
    sizes = [len(shard.indices) for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    for shard in shards:
        assert list(shard.times_us) == sorted(shard.times_us)
    merged = sorted(
        row
        for shard in shards
        for row in zip(shard.indices, shard.times_us, shard.requests, shard.names, strict=True)
    )
    (whole,) = [make_shard(trace, PLAN, TARGET, 0, 1)]
    assert merged == list(zip(whole.indices, whole.times_us, whole.requests, whole.names, strict=True))
    assert list(whole.times_us) == TIMES_US
    assert list(whole.indices) == list(range(len(TIMES_US)))


def test_each_arrival_asks_for_its_own_item(trace: Trace) -> None:
    shard = make_shard(trace, PLAN, TARGET, 1, 3)
    for i, request in zip(shard.indices, shard.requests, strict=True):
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/variants/v.xnli/predict HTTP/1.1\r\n")
        assert json.loads(body)["inputs"][0]["text"] == f"text {i}"
