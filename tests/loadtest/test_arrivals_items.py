"""Which item an arrival asks for, which worker sends it, and which stream draws what."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.trace.arrivals import draw_items, merge, shard
from loadtest.trace.seeds import STREAM_NAMES, stream_keys, streams


@given(num_items=st.integers(1, 50), n=st.integers(0, 300), seed=st.integers(0, 2**32))
def test_items_come_in_permutations_that_repeat(num_items: int, n: int, seed: int) -> None:
    items = draw_items(num_items, n, streams(seed).items)
    assert items.dtype == np.int64
    assert items.size == n
    for start in range(0, n - num_items + 1, num_items):
        assert sorted(items[start : start + num_items].tolist()) == list(range(num_items))
    rest = items[n - n % num_items :] if n % num_items else items[:0]
    assert np.unique(rest).size == rest.size


@given(num_items=st.integers(1, 50), n=st.integers(0, 200), more=st.integers(0, 200))
def test_a_longer_draw_begins_with_the_shorter_one(num_items: int, n: int, more: int) -> None:
    short = draw_items(num_items, n, streams(1).items)
    assert draw_items(num_items, n + more, streams(1).items)[:n].tolist() == short.tolist()


def test_item_draws_are_the_same_for_ever() -> None:
    assert draw_items(10, 12, streams(7).items).tolist() == [1, 4, 9, 3, 2, 6, 5, 8, 0, 7, 0, 8]


@pytest.mark.parametrize(("num_items", "n"), [(0, 1), (3, -1)])
def test_nothing_is_drawn_from_nothing(num_items: int, n: int) -> None:
    with pytest.raises(ValueError, match="at least one item"):
        draw_items(num_items, n, streams(0).items)


@given(sequence=st.lists(st.integers()), n=st.integers(1, 9))
def test_merged_shards_are_the_whole(sequence: list[int], n: int) -> None:
    shards = [shard(sequence, k, n) for k in range(n)]
    assert merge(shards) == sequence
    assert sum(map(len, shards)) == len(sequence)


def test_a_shard_holds_every_nth() -> None:
    assert shard(range(10), 1, 3) == range(1, 10, 3)
    with pytest.raises(ValueError, match="no worker 3 of 3"):
        shard(range(10), 3, 3)


def test_a_missing_part_is_not_merged() -> None:
    with pytest.raises(ValueError, match="missing or doubled"):
        merge([[0, 3], []])


def test_streams_are_independent_named_and_stable() -> None:
    found = streams(7)
    draws = {name: getattr(found, name).random(2000) for name in STREAM_NAMES}
    for a, b in combinations(STREAM_NAMES, 2):
        assert abs(np.corrcoef(draws[a], draws[b])[0, 1]) < 4 / np.sqrt(2000)
    assert draws["arrivals"][:2].tolist() == [0.7978591868433563, 0.05309388325640407]
    assert stream_keys(7) == {
        "root": 7,
        "arrivals": [7, 0],
        "items": [7, 1],
        "order": [7, 2],
        "bootstrap": [7, 3],
    }


def test_a_stream_is_the_one_that_spawning_gives() -> None:
    spawned = np.random.SeedSequence(7).spawn(len(STREAM_NAMES))
    for name, child in zip(STREAM_NAMES, spawned, strict=True):
        expected = np.random.Generator(np.random.PCG64(child)).random(3)
        assert getattr(streams(7), name).random(3).tolist() == expected.tolist()


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(ValueError, match="from 0 upwards"):
        streams(-1)
