"""The thread that owns the device: one job at a time, whatever a job does."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.domain import Lane
from service.engine.contract import Failed, Run
from service.engine.device import Crew
from service.engine.fake import FakeDevice, FakeDeviceError
from service.engine.thread import EngineThread
from service.engine.warm_up import LADDER, rungs
from service.errors import EngineError, NotReadyError, StartupError
from tests.service.backend_world import card

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from service.batching.packing import PackedBatch
    from service.engine.device import Device, Loaded

POISON = 999
TIMEOUT_S = 240.0  # only a deadlock waits for it


def ids(*values: int) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


@pytest.fixture
def engine() -> Iterator[EngineThread]:
    device = FakeDevice(variants=[card("v"), card("t", "tag"), card("e", "embed")], poison_id=POISON)
    engine = EngineThread(lambda: device, clock=time.monotonic)
    engine.start(max_batch_tokens=1024).result(TIMEOUT_S)
    yield engine
    engine.stop()
    assert engine.join(TIMEOUT_S)


def test_logits_come_back_sequence_by_sequence_with_their_times(engine: EngineThread) -> None:
    before = time.monotonic()
    run = engine.run(Lane(variant="t"), [ids(5, 6), ids(7)]).result(TIMEOUT_S)
    assert isinstance(run, Run)
    # id + position + layer, modulo 7, 8 and 9
    assert [part.tolist() for part in run.logits] == [[[4, 3, 2], [6, 5, 4]], [[6, 5, 4]]]
    assert before <= run.started_at <= run.finished_at <= time.monotonic()


def test_equal_lengths_stand_together_in_a_batch_and_answers_keep_their_order() -> None:
    seen: list[list[int]] = []

    class Watched(FakeDevice):
        def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
            seen.append(np.diff(batch.cu_seqlens).tolist())
            return super().forward(lane, batch)

    engine = EngineThread(lambda: Watched(variants=[card("t", "tag")]), clock=time.monotonic)
    engine.start(max_batch_tokens=64).result(TIMEOUT_S)
    sequences = [ids(5, 6, 8), ids(7), ids(4, 9, 9), ids(5, 5), ids(3)]
    run = engine.run(Lane(variant="t"), sequences).result(TIMEOUT_S)
    assert isinstance(run, Run)
    assert seen[-1] == [1, 1, 2, 3, 3]
    alone = [engine.run(Lane(variant="t"), [sequence]).result(TIMEOUT_S) for sequence in sequences]
    for part, single in zip(run.logits, alone, strict=True):
        assert isinstance(single, Run)
        assert part.tolist() == single.logits[0].tolist()
    engine.stop()
    assert engine.join(TIMEOUT_S)


def test_a_batch_that_fails_is_an_answer_and_the_thread_lives_on(engine: EngineThread) -> None:
    failed = engine.run(Lane(variant="v"), [ids(1), ids(POISON)]).result(TIMEOUT_S)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, FakeDeviceError)
    assert failed.finished_at >= failed.started_at
    assert isinstance(engine.run(Lane(variant="v"), [ids(1)]).result(TIMEOUT_S), Run)
    assert engine.alive


def test_jobs_whose_caller_has_gone_do_not_stop_the_thread(engine: EngineThread) -> None:
    futures = [engine.run(Lane(variant="v"), [ids(n)]) for n in range(200)]
    for future in futures[::2]:
        future.cancel()
    assert all(isinstance(future.result(TIMEOUT_S), Run) for future in futures if not future.cancelled())
    assert engine.alive


class SlowDevice:
    """A device that runs when it is told to, and remembers the thread that it runs on."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running = threading.Event()
        self.threads = {threading.current_thread()}
        self._fake = FakeDevice(variants=[card("v")])

    def load(self) -> Iterator[Loaded]:
        self.threads.add(threading.current_thread())
        yield from self._fake.load()

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        self.threads.add(threading.current_thread())
        if batch.input_ids[0] == 1:
            self.running.set()
            assert self.go.wait(TIMEOUT_S)
        return self._fake.forward(lane, batch)


def test_stopping_ends_the_running_job_and_refuses_the_waiting_ones() -> None:
    made: list[SlowDevice] = []

    def make() -> SlowDevice:
        made.append(SlowDevice())
        return made[0]

    engine = EngineThread(make, clock=time.monotonic)
    engine.start(max_batch_tokens=64).result(TIMEOUT_S)
    running, waiting = (engine.run(Lane(variant="v"), [ids(n)]) for n in (1, 2))
    assert made[0].running.wait(TIMEOUT_S)
    engine.stop()
    assert not engine.alive
    assert not engine.join(0.0)
    with pytest.raises(NotReadyError):
        engine.run(Lane(variant="v"), [ids(3)]).result(TIMEOUT_S)
    made[0].go.set()
    assert isinstance(running.result(TIMEOUT_S), Run)
    with pytest.raises(NotReadyError):
        waiting.result(TIMEOUT_S)
    assert engine.join(TIMEOUT_S)
    assert {thread.name for thread in made[0].threads} == {"xlmr-engine"}


class BrokenDevice:
    """A device that cannot load, or whose batches fail or are not finite."""

    def __init__(self, how: str) -> None:
        self._how = how
        self._fake = FakeDevice(variants=[card("v")])

    def load(self) -> Iterator[Loaded]:
        if self._how == "load":
            raise StartupError("no such checkpoint")
        yield from self._fake.load()

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        if self._how == "forward":
            raise MemoryError
        logits = self._fake.forward(lane, batch)
        logits[batch.input_ids[batch.cu_seqlens[:-1]] == 7] = np.nan
        return logits


@pytest.mark.parametrize(("how", "says"), [("load", "no such checkpoint"), ("forward", "MemoryError")])
def test_a_device_that_cannot_serve_refuses_to_start(how: str, says: str) -> None:
    engine = EngineThread(lambda: BrokenDevice(how), clock=time.monotonic)
    with pytest.raises(StartupError, match=says):
        engine.start(max_batch_tokens=64).result(TIMEOUT_S)
    engine.stop()
    assert engine.join(TIMEOUT_S)


def test_numbers_that_are_not_finite_are_a_failure() -> None:
    engine = EngineThread(lambda: BrokenDevice("nan"), clock=time.monotonic)
    engine.start(max_batch_tokens=64).result(TIMEOUT_S)
    failed = engine.run(Lane(variant="v"), [ids(1), ids(7)]).result(TIMEOUT_S)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, EngineError)
    engine.stop()


def test_every_variant_is_warm_and_every_shape_is_measured() -> None:
    seen: list[tuple[str, int, int]] = []

    class Watched(FakeDevice):
        def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
            seen.append((lane.variant, len(batch.cu_seqlens) - 1, len(batch.input_ids)))
            return super().forward(lane, batch)

    def make() -> Device:
        return Watched(variants=[card("v"), card("w"), card("low", "embed", default_layer=2)])

    ticks = iter(range(10**6))
    engine = EngineThread(make, clock=lambda: next(ticks) * 1e-3)
    warm = engine.start(max_batch_tokens=2048).result(TIMEOUT_S)
    assert [loaded.card.name for loaded in warm.loaded] == ["v", "w", "low"]
    assert {variant for variant, _, _ in seen} == {"v", "w", "low"}
    # v and w are of one shape; low stops at layer 2.
    assert sorted(shape.layer for shape in warm.measurements) == [2, 4]
    wanted = [lengths for lengths in LADDER if sum(lengths) <= 2048]
    for measurements in warm.measurements.values():
        assert [measured.load.num_tokens for measured in measurements] == [sum(lengths) for lengths in wanted]
        assert all(measured.seconds == pytest.approx(1e-3) for measured in measurements)
    engine.stop()


def test_defaults_that_no_request_could_be_answered_with_refuse_to_start() -> None:
    engine = EngineThread(lambda: FakeDevice(variants=[card("v", default_layer=0)]), clock=time.monotonic)
    with pytest.raises(StartupError, match="`layer` is 0"):
        engine.start(max_batch_tokens=64).result(TIMEOUT_S)
    engine.stop()


@pytest.mark.parametrize(
    ("max_positions", "max_batch_tokens", "longest", "largest"),
    [(512, 16384, 512, 16384), (100, 600, 64, 256), (60, 600, 32, 128)],
)
def test_the_ladder_keeps_to_model_and_budget(
    max_positions: int, max_batch_tokens: int, longest: int, largest: int
) -> None:
    chosen = list(rungs(max_positions=max_positions, max_batch_tokens=max_batch_tokens))
    assert max(max(lengths) for lengths in chosen) == longest
    assert max(sum(lengths) for lengths in chosen) == largest


MEET = 500


class CrewedDevice:
    """A fake with a crew; batches that begin with MEET wait for one another."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._fake = FakeDevice(variants=[card("v"), card("low", "embed", default_layer=2)])
        self._meeting = threading.Barrier(crew.num_threads)
        self.beside: list[bool] = []

    def load(self) -> Iterator[Loaded]:
        yield from self._fake.load()

    def crew(self) -> Crew:
        return self._crew

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        self.beside.append(False)
        return self._answer(lane, batch)

    def forward_beside(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        self.beside.append(True)
        return self._answer(lane, batch)

    def _answer(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        if batch.input_ids[0] == MEET:
            self._meeting.wait(TIMEOUT_S)
        return self._fake.forward(lane, batch)


@pytest.mark.parametrize(("side_by_side", "num_replicas"), [(True, 3), (False, 1)])
def test_a_crew_runs_batches_at_the_same_time(num_replicas: int, *, side_by_side: bool) -> None:
    device = CrewedDevice(Crew(num_threads=3, side_by_side=side_by_side))
    engine = EngineThread(lambda: device, clock=time.monotonic)
    warm = engine.start(max_batch_tokens=64).result(TIMEOUT_S)
    assert warm.num_replicas == num_replicas
    # Each shape is measured alone, and where there are replicas also with all of them at work.
    shapes = sorted((shape.layer, shape.beside) for shape in warm.measurements)
    assert shapes == [(layer, beside) for layer in (2, 4) for beside in (False, True)[: 1 + side_by_side]]
    device.beside.clear()
    futures = [engine.run(Lane(variant="v"), [ids(MEET, n)], beside=side_by_side) for n in range(3)]
    runs = [future.result(TIMEOUT_S) for future in futures]
    assert device.beside == [side_by_side] * 3
    # A classifier reads the first token: (id + position + layer) % 7, 8, 9.
    for run in runs:
        assert isinstance(run, Run)
        assert run.logits[0].tolist() == [(MEET + 2 + 4) % (7 + column) for column in range(3)]
    engine.stop()
    assert engine.join(TIMEOUT_S)
    assert not engine.alive


def test_batches_in_turn_never_count_the_same_time_twice() -> None:
    device = CrewedDevice(Crew(num_threads=3, side_by_side=False))
    engine = EngineThread(lambda: device, clock=time.monotonic)
    engine.start(max_batch_tokens=64).result(TIMEOUT_S)
    futures = [engine.run(Lane(variant="v"), [ids(MEET)]) for _ in range(3)]
    runs = [run for run in (future.result(TIMEOUT_S) for future in futures) if isinstance(run, Run)]
    in_order = sorted(runs, key=lambda run: run.finished_at)
    for one, following in pairwise(in_order):
        assert following.started_at >= one.finished_at
    engine.stop()
    assert engine.join(TIMEOUT_S)


def test_a_replica_that_fails_in_warm_up_refuses_to_start() -> None:
    class Broken(CrewedDevice):
        def forward_beside(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
            raise MemoryError(lane, batch)

    engine = EngineThread(lambda: Broken(Crew(num_threads=2, side_by_side=True)), clock=time.monotonic)
    with pytest.raises(StartupError, match="MemoryError"):
        engine.start(max_batch_tokens=64).result(TIMEOUT_S)
    engine.stop()
    assert engine.join(TIMEOUT_S)
