"""Many works at once through a real thread: each ends once and in its own way."""

from __future__ import annotations

import asyncio
import socket
import time
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.backend.clock import LoopClock
from service.backend.listener import BackendListener
from service.backend.local import LocalBackend
from service.backend.remote import RemoteBackend
from service.batching.decisions import Limits
from service.domain import Lane, Outcome, Work
from service.engine.fake import FakeDevice
from service.engine.thread import EngineThread
from service.errors import DeadlineError, EngineError
from tests.service.backend_world import Recorder, card

if TYPE_CHECKING:
    from pathlib import Path

    from service.domain import Backend

pytestmark = pytest.mark.anyio

POISON = 999
NUM_WORKS = 400


def expected(sequence: np.ndarray[tuple[int], np.dtype[np.int32]]) -> list[float]:
    """The fake device's closed form for classify: the row of the first token."""
    key = int(sequence[0]) + 2 + 4  # its id, the first position, the last layer
    return [float(key % (7 + column)) for column in range(3)]


@pytest.mark.parametrize("num_front_ends", [0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
async def test_every_work_ends_once_among_poison_cancellation_and_deadlines(
    seed: int, num_front_ends: int, tmp_path: Path
) -> None:
    """Asked directly, or by this many front ends behind a socket."""
    random = Random(seed)  # noqa: S311 - a seed makes the test repeatable
    observer = Recorder()
    device = FakeDevice(variants=[card("v"), card("w")], poison_id=POISON)
    engine = EngineThread(lambda: device, clock=time.monotonic)
    backend = LocalBackend(
        engine=engine,
        limits=Limits(max_batch_tokens=64, max_queue_tokens=10**6),
        num_slots=2,
        clock=LoopClock(),
        observer=observer,
    )
    await backend.start(calibrate_budget=False)
    works, fates = [], []
    for work_id in range(NUM_WORKS):
        sequences = tuple(
            np.array([random.randrange(500) for _ in range(random.randrange(1, 40))], dtype=np.int32)
            for _ in range(random.randrange(1, 5))
        )
        fate = random.choices(["answer", "poison", "cancel", "late"], weights=[85, 5, 5, 5])[0]
        if fate == "poison":
            sequences[random.randrange(len(sequences))][-1] = POISON
        now = time.monotonic()
        deadline = now - 1.0 if fate == "late" else now + 60.0
        lane = Lane(variant=random.choice("vw"))
        works.append(Work(work_id=work_id, lane=lane, sequences=sequences, arrived_at=now, deadline=deadline))
        fates.append(fate)
    fronts, listener = await behind_a_socket(backend, num_front_ends, tmp_path / "backend.sock")
    askers: list[Backend] = [*fronts] or [backend]
    tasks = [
        asyncio.ensure_future(front.submit(work)) for front, work in zip(cycle(askers), works, strict=False)
    ]
    for task, fate in zip(tasks, fates, strict=True):
        if fate == "cancel":
            task.cancel()
        if random.random() < 0.1:
            await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for work, fate, result in zip(works, fates, results, strict=True):
        assert_fate(work, fate, result)
    assert {"answer", "poison", "cancel", "late"} == set(fates)
    statistics = backend.statistics()
    assert (statistics.queue_requests, statistics.queue_tokens) == (0, 0)
    assert statistics.num_batches == len(observer.batches)
    assert statistics.ready
    for front in fronts:
        front.close()
    listener.close()
    backend.close()
    assert engine.join(60.0)


def assert_fate(work: Work, fate: str, result: object) -> None:
    match fate:
        case "answer":
            assert isinstance(result, Outcome)
            assert [part.tolist() for part in result.logits] == [expected(ids) for ids in work.sequences]
        case "poison":
            assert isinstance(result, EngineError)
        case "late":
            assert isinstance(result, DeadlineError)
        case _:
            assert isinstance(result, asyncio.CancelledError)


async def behind_a_socket(
    backend: LocalBackend, num_front_ends: int, path: Path
) -> tuple[list[RemoteBackend], BackendListener]:
    listener = BackendListener(backend)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    bound.listen()
    await listener.listen(bound)
    fronts = [RemoteBackend(path, clock=LoopClock()) for _ in range(num_front_ends)]
    for front in fronts:
        await front.open()
    return fronts, listener
