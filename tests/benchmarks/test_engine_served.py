"""Served beside offline: on a device that takes a time that is known."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.engine_served import batches_of, compare
from service.domain import Lane
from service.engine.fake import FakeDevice
from tests.service.backend_world import card

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from service.batching.packing import PackedBatch
    from service.engine.device import Loaded

TOKEN_S = 20e-6


class Timed:
    """A fake that takes a known time a token, and remembers the sizes of its batches."""

    def __init__(self) -> None:
        self._fake = FakeDevice(variants=[card("v")])
        self.sizes: list[int] = []

    def load(self) -> Iterator[Loaded]:
        yield from self._fake.load()

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        self.sizes.append(len(batch.input_ids))
        threading.Event().wait(TOKEN_S * len(batch.input_ids))
        return self._fake.forward(lane, batch)


def test_batches_keep_order_and_budget() -> None:
    sequences = [np.zeros(length, dtype=np.int32) for length in (5, 5, 1, 12, 3)]
    assert [list(map(len, batch)) for batch in batches_of(sequences, 10)] == [[5, 5], [1], [12], [3]]


@pytest.mark.anyio
async def test_both_run_every_sequence_within_the_budget_and_no_faster_than_the_device() -> None:
    device = Timed()
    sequences = [np.full(10, 5, dtype=np.int32) for _ in range(300)]
    seen = await compare(lambda: device, Lane(variant="v"), sequences, max_batch_tokens=100, num_clients=32)
    assert sum(device.sizes) >= 2 * 3000
    assert max(device.sizes) == 100
    for per_s in (seen.offline_per_s, seen.served_per_s):
        assert 0 < per_s <= 1.001 / TOKEN_S
