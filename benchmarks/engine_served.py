"""What a backend serves beside what its engine could, on the same sequences.

Rules: offline the engine gets full batches, one behind the other, with nothing to decide or to wait for;
served, as many clients as are given send one sequence each and the next when it is answered. HTTP and
tokenization are not in it: what is lost here is lost by queue, scheduler and thread.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from service.backend.clock import LoopClock
from service.backend.local import LocalBackend
from service.batching.decisions import Limits
from service.domain import Work
from service.engine.contract import Run
from service.engine.thread import EngineThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from service.domain import BatchReport, Lane, RequestReport
    from service.engine.contract import Engine
    from service.engine.device import Device

    Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Tokens a second of both ways."""

    offline_per_s: float
    served_per_s: float


class _Deaf:
    """An observer that hears nothing."""

    def request_ended(self, report: RequestReport) -> None:
        """Hear of a request."""

    def batch_ended(self, report: BatchReport) -> None:
        """Hear of a batch."""


async def compare(
    make_device: Callable[[], Device],
    lane: Lane,
    sequences: Sequence[Ids],
    *,
    max_batch_tokens: int,
    num_clients: int,
) -> Throughput:
    """Measure both on one engine, offline first.

    ``sequences``: int32 ``[L]`` each. ``max_batch_tokens``: of a batch, both ways. ``num_clients``: how many
    wait for an answer at a time.
    """
    num_tokens = sum(len(ids) for ids in sequences)
    async with opened(
        make_device, max_batch_tokens=max_batch_tokens, max_queue_tokens=1 + num_tokens
    ) as world:
        return Throughput(
            offline_per_s=await world.offline(lane, sequences),
            served_per_s=await world.served(lane, sequences, num_clients),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An engine, and the backend in front of it."""

    engine: Engine
    backend: LocalBackend
    max_batch_tokens: int

    async def offline(self, lane: Lane, sequences: Sequence[Ids]) -> float:
        """Return the tokens a second of full batches, one behind the other."""
        futures = [self.engine.run(lane, batch) for batch in batches_of(sequences, self.max_batch_tokens)]
        runs = [await asyncio.wrap_future(future) for future in futures]
        assert all(isinstance(run, Run) for run in runs), "The device cannot run these batches."
        seconds = max(run.finished_at for run in runs) - min(run.started_at for run in runs)
        return sum(map(len, sequences)) / seconds

    async def served(
        self, lane: Lane, sequences: Sequence[Ids], num_clients: int, *, num_together: int = 1
    ) -> float:
        """Return the tokens a second of so many clients. ``num_together``: sequences of a request."""
        starts, work_ids = iter(range(0, len(sequences), num_together)), count()

        async def client() -> None:
            for start in starts:
                asked = tuple(sequences[start : start + num_together])
                work = Work(work_id=next(work_ids), lane=lane, sequences=asked, arrived_at=time.monotonic())
                await self.backend.submit(work)

        began = time.monotonic()
        await asyncio.gather(*(client() for _ in range(num_clients)))
        return sum(map(len, sequences)) / (time.monotonic() - began)


@asynccontextmanager
async def opened(
    make_device: Callable[[], Device], *, max_batch_tokens: int, max_queue_tokens: int
) -> AsyncIterator[World]:
    """Load, warm up, and close in the end."""
    engine = EngineThread(make_device, clock=time.monotonic)
    backend = LocalBackend(
        engine=engine,
        limits=Limits(max_batch_tokens=max_batch_tokens, max_queue_tokens=max_queue_tokens),
        num_slots=2,
        clock=LoopClock(),
        observer=_Deaf(),
    )
    await backend.start(calibrate_budget=False)
    try:
        yield World(engine=engine, backend=backend, max_batch_tokens=max_batch_tokens)
    finally:
        backend.close()
        await asyncio.to_thread(engine.join, 10.0)


def batches_of(sequences: Sequence[Ids], max_batch_tokens: int) -> Iterator[list[Ids]]:
    """Cut sequences, in their order, into batches that hold at most so many tokens."""
    batch: list[Ids] = []
    for ids in sequences:
        if batch and sum(map(len, batch)) + len(ids) > max_batch_tokens:
            yield batch
            batch = []
        batch.append(ids)
    yield batch
