"""A clock and an engine in the hands of a test, and what a backend tells its observer."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from service.backend.local import LocalBackend
from service.batching.cost import Measurement, Shape
from service.batching.decisions import Limits
from service.domain import BatchReport, Lane, Pooling, RequestReport, VariantCard, Work
from service.engine.contract import Failed, Run, Warm
from service.engine.device import Loaded

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence as Many

    from numpy.typing import NDArray

    from models.variant import Variant
    from service.domain import Backend, BackendStatistics

PADDING_IDX = 1
_LOADS_ONCE = "This engine loads nothing later; test_backend_swap.py has one that does."
SHAPE = Shape(architecture="fake", dtype="float32", layer=4, device="fake")


def card(name: str = "v", head: str = "classify", **changed: object) -> VariantCard:
    values: dict[str, object] = {
        "name": name,
        "head": head,
        "labels": ("a", "b", "c") if head in ("classify", "tag") else (),
        "revision": "r1",
        "lineage": "none",
        "lineage_tasks": (),
        "lineage_languages": (),
        "base": "xlm-roberta-base",
        "dtype": "float32",
        "synthetic": True,
        "digest": "d",
        "num_layers": 4,
        "hidden_size": 8,
        "max_positions": 512,
        "tokenizer": "tokenizer.json",
        "default_max_tokens": 512,
        "default_pooling": Pooling.MEAN,
        "default_layer": None,
        "default_normalize": False,
        "owned_bytes": 100,
        "shared_bytes": 0,
    }
    return VariantCard(**(values | changed))  # type: ignore[arg-type]  # a table of every field


@dataclass(eq=False)
class _FakeTimer:
    callback: Callable[[], object]
    live: bool = True

    def cancel(self) -> None:
        self.live = False


class FakeClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self._now = 100.0
        self._order = count()
        self._timers: list[tuple[float, int, _FakeTimer]] = []

    def time(self) -> float:
        return self._now

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> _FakeTimer:
        timer = _FakeTimer(callback)
        heappush(self._timers, (self._now + delay_s, next(self._order), timer))
        return timer

    @property
    def num_timers(self) -> int:
        return sum(timer.live for _, _, timer in self._timers)

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that it brings."""
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            at, _, timer = heappop(self._timers)
            self._now = max(self._now, at)
            if timer.live:
                timer.live = False
                timer.callback()
                await settle()
        self._now = end
        await settle()


async def settle() -> None:
    """Let everything run that can run without time or the engine."""
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass(eq=False)
class Asked:
    """One batch that a backend gave to the engine."""

    lane: Lane
    sequences: tuple[NDArray[np.int32], ...]
    future: Future[Run | Failed]

    @property
    def ids(self) -> list[list[int]]:
        return [sequence.tolist() for sequence in self.sequences]


class ManualEngine:
    """An engine that runs a batch when a test says so; a logit is the sum of a sequence's ids."""

    def __init__(
        self, clock: FakeClock, cards: Many[VariantCard], canary: tuple[NDArray[np.int32], ...] = ()
    ) -> None:
        self._clock = clock
        self._cards = cards
        self._canary = canary
        self.wrong = 0.0  # added to every logit
        self.alive = True
        self.asked: list[Asked] = []
        self.started: Future[Warm] = Future()
        self.measured: dict[Shape, tuple[Measurement, ...]] = {}

    def start(self, *, max_batch_tokens: int) -> Future[Warm]:
        del max_batch_tokens  # nothing is warmed up
        loaded = tuple(
            Loaded(card=one, shape=SHAPE, padding_idx=PADDING_IDX, canary=self._canary) for one in self._cards
        )
        self.started.set_result(Warm(loaded=loaded, measurements=self.measured))
        return self.started

    def run(
        self, lane: Lane, sequences: Many[NDArray[np.int32]], *, beside: bool = False
    ) -> Future[Run | Failed]:
        del beside  # there are no replicas
        asked = Asked(lane, tuple(sequences), Future())
        self.asked.append(asked)
        return asked.future

    def prepare(self, variant: Variant, *, generation: int, digest: str | None) -> Future[Loaded | None]:
        raise AssertionError(_LOADS_ONCE, variant, generation, digest)

    def install(self, loaded: Loaded) -> Future[None]:
        raise AssertionError(_LOADS_ONCE, loaded)

    def drop(self, served_as: str) -> Future[None]:
        raise AssertionError(_LOADS_ONCE, served_as)

    def stop(self) -> None:
        self.alive = False

    def join(self, timeout_s: float) -> bool:
        del timeout_s  # there is no thread
        return True

    async def finish(self, asked: Asked, *, seconds: float = 1.0) -> None:
        """Let a batch take so long and succeed."""
        started_at = self._clock.time()
        await self._clock.advance(seconds)
        logits = tuple(
            np.array([sequence.sum() + self.wrong], dtype=np.float32) for sequence in asked.sequences
        )
        asked.future.set_result(Run(logits=logits, started_at=started_at, finished_at=self._clock.time()))
        await settle()

    async def fail(self, asked: Asked, error: Exception, *, seconds: float = 1.0) -> None:
        """Let a batch take so long and fail."""
        started_at = self._clock.time()
        await self._clock.advance(seconds)
        asked.future.set_result(Failed(error=error, started_at=started_at, finished_at=self._clock.time()))
        await settle()


@dataclass
class Recorder:
    """An observer that remembers."""

    batches: list[BatchReport] = field(default_factory=list)
    requests: list[RequestReport] = field(default_factory=list)

    def batch_ended(self, report: BatchReport) -> None:
        self.batches.append(report)

    def request_ended(self, report: RequestReport) -> None:
        self.requests.append(report)


class World:
    """A backend between a fake clock and a manual engine."""

    def __init__(
        self,
        *,
        num_slots: int = 2,
        cards: Many[VariantCard] | None = None,
        canary: tuple[NDArray[np.int32], ...] = (),
        canary_interval_s: float = 0.0,
        **limits: float,
    ) -> None:
        self.clock = FakeClock()
        self.engine = ManualEngine(self.clock, cards or [card("v"), card("w"), card("e", "embed")], canary)
        self.observer = Recorder()
        values: dict[str, float] = {"max_batch_tokens": 10, "max_queue_tokens": 1000, "max_wait_s": 0.0}
        self.backend = LocalBackend(
            engine=self.engine,
            limits=Limits(**(values | limits)),  # type: ignore[arg-type]  # a table of every field
            num_slots=num_slots,
            clock=self.clock,
            observer=self.observer,
            canary_interval_s=canary_interval_s,
        )
        # What works are submitted to: the same, or another process's view of it.
        self.front: Backend = self.backend
        self._ids = count()

    async def started(self, *, calibrate_budget: bool = False) -> World:
        await self.backend.start(calibrate_budget=calibrate_budget)
        return self

    async def statistics(self) -> BackendStatistics:
        return self.front.statistics()

    def work(
        self, *sequences: list[int], variant: str = "v", timeout_s: float | None = None, priority: int = 0
    ) -> Work:
        now = self.clock.time()
        return Work(
            work_id=next(self._ids),
            lane=Lane(variant=variant),
            sequences=tuple(np.array(ids, dtype=np.int32) for ids in sequences),
            arrived_at=now,
            deadline=None if timeout_s is None else now + timeout_s,
            priority=priority,
        )

    def submit(
        self, *sequences: list[int], variant: str = "v", timeout_s: float | None = None
    ) -> asyncio.Task[list[float]]:
        """Submit a work; its task returns the one logit of each sequence."""
        return asyncio.ensure_future(
            self._answer(self.work(*sequences, variant=variant, timeout_s=timeout_s))
        )

    async def _answer(self, work: Work) -> list[float]:
        outcome = await self.front.submit(work)
        return [float(logits[0]) for logits in outcome.logits]
