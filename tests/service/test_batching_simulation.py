"""The scheduler in front of an engine, both on a clock that is a number."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.batching.cost import CostModel, Load, Measurement, Shape
from service.batching.decisions import Dispatch, Limits, WaitUntil
from service.batching.scheduler import Scheduler
from service.domain import Lane, Work
from service.errors import QueueFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SHAPE = Shape(architecture="mini", dtype="float32", layer=4, device="cpu")


@dataclass
class Run:
    """What happened to each work: seconds on the fake clock."""

    started: dict[int, float] = field(default_factory=dict)
    finished: dict[int, float] = field(default_factory=dict)
    batches: list[Dispatch] = field(default_factory=list)
    refused: dict[int, float] = field(default_factory=dict)
    expired: list[int] = field(default_factory=list)
    busy_s: float = 0.0

    def waits(self, works: Iterable[Work]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([self.started[w.work_id] - w.arrived_at for w in works if w.work_id in self.started])


class Simulation:
    """Feeds works to the scheduler and runs what it dispatches, until nothing is left."""

    def __init__(self, scheduler: Scheduler, seconds_of: Callable[[Load], float], num_slots: int) -> None:
        self.scheduler = scheduler
        self.seconds_of = seconds_of
        self.free = num_slots
        self.run = Run()
        self._order = itertools.count()
        self.events: list[tuple[float, int, Work | Dispatch | None]] = []

    def at(self, moment: float, event: Work | Dispatch | None) -> None:
        heapq.heappush(self.events, (moment, next(self._order), event))

    def step(self) -> None:
        now, _, event = heapq.heappop(self.events)
        match event:
            case Work():
                self.admit(event, now)
            case Dispatch():
                self.complete(event, now)
            case None:
                pass
        self.run.expired.extend(self.scheduler.expire(now))
        while isinstance(decision := self.scheduler.decide(now, self.free), Dispatch):
            self.start(decision, now)
        if isinstance(decision, WaitUntil):
            self.at(decision.at, None)

    def admit(self, work: Work, now: float) -> None:
        try:
            self.scheduler.admit(work, now)
        except QueueFullError as error:
            self.run.refused[work.work_id] = error.retry_after_s

    def start(self, batch: Dispatch, now: float) -> None:
        self.free -= 1
        self.run.batches.append(batch)
        self.run.started.update({item.work_id: now for item in batch.items})
        seconds = self.seconds_of(batch.load)
        self.run.busy_s += seconds
        self.at(now + seconds, batch)

    def complete(self, batch: Dispatch, now: float) -> None:
        self.free += 1
        self.scheduler.completed(batch, now - batch.dispatched_at)
        self.run.finished.update({item.work_id: now for item in batch.items})


def simulate(
    works: list[Work], scheduler: Scheduler, seconds_of: Callable[[Load], float], num_slots: int = 1
) -> Run:
    """Run works of one sequence each to the end; each is answered, refused or expired."""
    simulation = Simulation(scheduler, seconds_of, num_slots)
    for work in works:
        simulation.at(work.arrived_at, work)
    while simulation.events:
        simulation.step()
    run = simulation.run
    assert simulation.free == num_slots
    ends = [*run.finished, *run.refused, *run.expired]
    assert sorted(ends) == sorted(work.work_id for work in works)
    return run


def arrivals(
    times: Iterable[float],
    *,
    length: int = 1,
    lane: Lane | None = None,
    first_id: int = 0,
    priority: int = 0,
    timeout_s: float | None = None,
) -> list[Work]:
    return [
        Work(
            work_id=first_id + index,
            lane=lane or Lane(variant="v"),
            sequences=(np.ones(length, dtype=np.int32),),
            arrived_at=float(at),
            priority=priority,
            deadline=None if timeout_s is None else float(at) + timeout_s,
        )
        for index, at in enumerate(times)
    ]


def fixed(seconds: float) -> Callable[[Load], float]:
    return lambda _: seconds


def limits(max_batch_tokens: int = 1000, max_queue_tokens: int = 10**6, **more: float) -> Limits:
    return Limits(max_batch_tokens=max_batch_tokens, max_queue_tokens=max_queue_tokens, **more)


def test_below_capacity_regular_arrivals_never_wait() -> None:
    # D/D/1 with load 0.5: each request finds the engine free.
    works = arrivals(np.arange(200) * 1.0)
    run = simulate(works, Scheduler(limits(), lambda _: SHAPE), fixed(0.5))
    assert run.waits(works).max() == 0.0
    assert len(run.batches) == 200


def test_back_pressure_alone_makes_the_batches() -> None:
    # A batch takes 1 s whatever it holds, an arrival every 1/4 s: the first runs alone, and every
    # later batch holds the four that came meanwhile, the oldest of which waited 3/4 s.
    works = arrivals(np.arange(401) / 4)
    run = simulate(works, Scheduler(limits(), lambda _: SHAPE), fixed(1.0))
    assert [len(batch.items) for batch in run.batches[:-1]] == [1] + [4] * (len(run.batches) - 2)
    assert run.waits(works).max() == pytest.approx(0.75)


def test_at_twice_the_capacity_the_queue_is_bounded_and_the_engine_never_idle() -> None:
    # D/D/1 with load 2 and a queue of 50 one-token works: half are refused, and nobody who was
    # let in waits longer than the queue is long.
    works = arrivals(np.arange(2000) * 0.5)
    run = simulate(
        works, Scheduler(limits(max_batch_tokens=1, max_queue_tokens=50), lambda _: SHAPE), fixed(1.0)
    )
    assert len(run.refused) == pytest.approx(1000, abs=51)
    assert run.waits(works).max() <= 50.0
    assert run.busy_s == pytest.approx(max(run.finished.values()))


def test_retry_after_is_when_there_is_room_again() -> None:
    works = arrivals([0.0] * 12, length=10)
    scheduler = Scheduler(limits(max_batch_tokens=10, max_queue_tokens=100), lambda _: SHAPE)
    truth = [
        Measurement(load=load, seconds=0.1 * load.num_tokens) for load in map(Load.of, ([1], [9], [3, 3]))
    ]
    scheduler.calibrate(SHAPE, CostModel.fit(truth))
    run = simulate(works, scheduler, lambda load: 0.1 * load.num_tokens)
    # The first was dispatched at once and ten wait; the twelfth fits when the first is done and
    # the second has left the queue; the scheduler promises the end of that second batch.
    assert run.refused == {11: pytest.approx(1.0 + 1.0)}


def test_no_admitted_work_expires_where_the_queue_is_shorter_than_the_timeout() -> None:
    # Three times the capacity (100 tokens/s), deadlines of 2 s, at most 1 s of work in the queue.
    rng = np.random.default_rng(5)
    works = arrivals(np.cumsum(rng.exponential(10 / 300, size=3000)), length=10, timeout_s=2.0)
    scheduler = Scheduler(limits(max_batch_tokens=50, max_queue_tokens=100), lambda _: SHAPE)
    run = simulate(works, scheduler, lambda load: load.num_tokens / 100)
    assert run.expired == []
    answered = len(run.finished)
    assert answered * 10 / max(run.finished.values()) >= 0.98 * 100
    assert answered + len(run.refused) == 3000


def test_expired_work_takes_no_engine_time() -> None:
    # A queue without bound, three times the capacity: most expire, none is run in vain.
    works = arrivals(np.arange(900) / 3, length=1, timeout_s=4.5)
    run = simulate(works, Scheduler(limits(max_batch_tokens=1), lambda _: SHAPE), fixed(1.0))
    assert all(run.started[i] < works[i].arrived_at + 4.5 for i in run.started)
    assert len(run.started) + len(run.expired) == 900
    assert run.busy_s == pytest.approx(len(run.started))


class TestNobodyStarves:
    NUM_LANES = 20

    def zipf_works(self, rate_per_s: float, count: int) -> list[Work]:
        rng = np.random.default_rng(11)
        shares = 1.0 / np.arange(1, self.NUM_LANES + 1)
        lanes = rng.choice(self.NUM_LANES, size=count, p=shares / shares.sum())
        times = np.cumsum(rng.exponential(1.0 / rate_per_s, size=count))
        lengths = rng.integers(5, 60, size=count)
        return [
            Work(
                work_id=index,
                lane=Lane(variant=f"v{lane}"),
                sequences=(np.ones(length, dtype=np.int32),),
                arrived_at=float(at),
            )
            for index, (lane, at, length) in enumerate(zip(lanes, times, lengths, strict=True))
        ]

    @pytest.mark.parametrize("rate_per_s", [50.0, 300.0])
    def test_lanes_of_zipf_load(self, rate_per_s: float) -> None:
        works = self.zipf_works(rate_per_s, 3000)
        scheduler = Scheduler(limits(max_batch_tokens=256, max_queue_tokens=4000), lambda _: SHAPE)
        run = simulate(works, scheduler, lambda load: 0.004 + 100e-6 * load.num_tokens)
        by_id = {work.work_id: work for work in works}
        # Every batch is headed by the oldest of all that wait, whatever its lane.
        waiting = sorted(set(run.started), key=lambda i: (by_id[i].arrived_at, i))
        gone: set[int] = set()
        position = 0
        for batch in run.batches:
            while waiting[position] in gone:
                position += 1
            assert batch.items[0].work_id == waiting[position]
            gone.update(item.work_id for item in batch.items)
        waits = {
            lane: run.waits(work for work in works if work.lane.variant == f"v{lane}").max()
            for lane in (0, self.NUM_LANES - 1)
        }
        # At most 4,000 tokens and 100 starts of a batch go before anyone who was admitted.
        assert max(waits.values()) < 0.5 + 4000 * 100e-6 + 100 * 0.004

    def test_low_priority_under_endless_overload_of_high_priority(self) -> None:
        # Ten a second are served and 10.1 urgent ones come, for 90 s; patient ones every 5 s.
        patience_s = 3.0
        urgent = arrivals(np.arange(909) / 10.1, lane=Lane(variant="a"), priority=0)
        patient = arrivals(5.0 + np.arange(16) * 5.0, lane=Lane(variant="b"), priority=9, first_id=10_000)
        scheduler = Scheduler(limits(max_batch_tokens=1, patience_s=patience_s), lambda _: SHAPE)
        works = sorted([*urgent, *patient], key=lambda work: work.arrived_at)
        run = simulate(works, scheduler, fixed(0.1))
        waits = run.waits(patient)
        # Past due it goes next, as soon as the batch that runs is done; until then its priority counted.
        assert waits.max() <= patience_s + 0.1 + 1e-9
        assert waits[1:].min() >= patience_s - 1e-9


def test_two_slots_run_two_batches_at_once() -> None:
    works = arrivals([0.0, 0.0, 0.0], length=10)
    run = simulate(works, Scheduler(limits(max_batch_tokens=10), lambda _: SHAPE), fixed(1.0), num_slots=2)
    assert [run.finished[i] for i in range(3)] == [1.0, 1.0, 2.0]


def test_the_cost_model_learns_while_serving() -> None:
    rng = np.random.default_rng(2)
    works = [
        Work(
            work_id=index,
            lane=Lane(variant="v"),
            sequences=(np.ones(int(rng.integers(4, 200)), dtype=np.int32),),
            arrived_at=index * 0.02,
        )
        for index in range(1500)
    ]
    scheduler = Scheduler(limits(max_batch_tokens=512), lambda _: SHAPE)

    def noisy(load: Load) -> float:
        true_s = 0.003 + 150e-6 * load.num_tokens + 50e-9 * load.num_squares
        return true_s * float(np.exp(rng.normal(0.0, 0.08)))

    simulate(works, scheduler, noisy)
    (cost,) = scheduler.statistics().costs
    assert cost.error_p90 is not None
    assert cost.error_p90 <= 0.25
