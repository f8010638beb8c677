"""The scheduler in front of a device with replicas: what is spread, what gets the whole device."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import replace
from math import exp
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching.cost import LEAST_ERRORS, CostModel, Load, Measurement, Shape
from service.batching.decisions import Cut, Dispatch, Idle, Limits
from service.batching.level import BOUND
from service.batching.scheduler import Scheduler
from service.domain import Lane, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

A, B = Lane(variant="a"), Lane(variant="b")
SHAPE = Shape(architecture="m", dtype="float32", layer=12, device="cpu")
LIMITS = Limits(max_batch_tokens=1000, max_queue_tokens=100_000)
# The whole device takes 1 ms a batch and 1 ms a token; one of two replicas 1.6 times as much a token.
ALONE_S, BESIDE_S = (0.001, 0.001), (0.001, 0.0016)


def model(start_s: float, token_s: float) -> CostModel:
    loads = [Load.of([count]) for count in (1, 10, 100)] + [Load.of([10] * 10)]
    return CostModel.fit(
        [Measurement(load=load, seconds=start_s + token_s * load.num_tokens) for load in loads]
    )


def scheduler(num_replicas: int = 2, *, limits: Limits = LIMITS, fitted: bool = True) -> Scheduler:
    part = Scheduler(limits, lambda _: SHAPE)
    if fitted:
        part.calibrate(SHAPE, model(*ALONE_S))
        part.calibrate(replace(SHAPE, beside=True), model(*BESIDE_S))
    part.use_replicas(num_replicas)
    return part


def work(work_id: int, lengths: Sequence[int], lane: Lane = A) -> Work:
    sequences = tuple(np.full(length, work_id, dtype=np.int32) for length in lengths)
    return Work(work_id=work_id, lane=lane, sequences=sequences, arrived_at=0.0)


def lengths_of(batch: Dispatch) -> list[int]:
    return [len(item.ids) for item in batch.items]


def dispatch(part: Scheduler, free_slots: int) -> Dispatch:
    decision = part.decide(0.0, free_slots)
    assert isinstance(decision, Dispatch)
    return decision


def test_a_lone_request_gets_the_whole_device_and_nothing_begins_beside_it() -> None:
    part = scheduler()
    part.admit(work(1, [50]), 0.0)
    batch = dispatch(part, 2)
    assert not batch.beside
    assert batch.predicted_s == pytest.approx(0.051, rel=1e-3)
    part.admit(work(2, [50]), 0.0)
    assert part.decide(0.0, 1) == Idle()
    part.completed(batch, 0.051)
    assert not dispatch(part, 2).beside


def test_a_backlog_is_spread_in_equal_shares() -> None:
    part = scheduler()
    part.admit(work(1, [50] * 8), 0.0)
    first, second = dispatch(part, 2), dispatch(part, 1)
    assert [lengths_of(batch) for batch in (first, second)] == [[50] * 4, [50] * 4]
    assert first.beside
    assert second.beside
    assert (first.cut, second.cut) == (Cut.BUDGET, Cut.EMPTY)
    assert first.predicted_s == pytest.approx(0.001 + 200 * 0.0016, rel=1e-3)


@pytest.mark.parametrize(
    ("lengths", "batches", "beside"),
    [
        ([50, 50], [[50], [50]], True),  # 81 ms side by side, 101 ms as one
        ([50, 10], [[50, 10]], False),  # 81 ms side by side, 61 ms as one
        ([10, 50], [[10, 50]], False),  # whichever comes first
        ([50, 40, 45], [[50, 40, 45]], False),  # 137 ms for the second share, 136 ms as one
        ([45, 45, 50, 40], [[45, 45], [50, 40]], True),  # 145 ms each, 181 ms as one
        ([999, 1], [[999, 1]], False),
        ([999, 2], [[999], [2]], True),  # more than one batch may hold
    ],
)
def test_one_batch_takes_all_where_that_ends_sooner(
    lengths: list[int], batches: list[list[int]], *, beside: bool
) -> None:
    part = scheduler()
    part.admit(work(1, lengths), 0.0)
    seen = [dispatch(part, 2)]
    seen += [dispatch(part, 1) for _ in batches[1:]]
    assert [lengths_of(batch) for batch in seen] == batches
    assert {batch.beside for batch in seen} == {beside}


def test_two_variants_run_side_by_side() -> None:
    part = scheduler()
    part.admit(work(1, [50], A), 0.0)
    part.admit(work(2, [10], B), 0.0)
    first, second = dispatch(part, 2), dispatch(part, 1)
    assert [(batch.lane, batch.beside) for batch in (first, second)] == [(A, True), (B, True)]


def test_an_idle_replica_leaves_the_others_their_part() -> None:
    part = scheduler()
    part.admit(work(1, [50, 50]), 0.0)
    running = [dispatch(part, 2), dispatch(part, 1)]
    part.admit(work(2, [50] * 16), 0.0)
    part.completed(running[0], 0.081)
    third = dispatch(part, 1)
    assert lengths_of(third) == [50] * 8
    # But no batch is made small for that: 800 tokens are worth sharing, 300 are not.
    part.completed(running[1], 0.081)
    part.admit(work(3, [10] * 3), 0.0)
    assert lengths_of(dispatch(part, 1)) == [50] * 4 + [50]


def test_what_the_waiting_takes_counts_every_replica() -> None:
    part = scheduler()
    part.admit(work(1, [50] * 8), 0.0)
    assert part.statistics().backlog_s == pytest.approx((0.001 + 400 * 0.0016) / 2, rel=1e-3)
    dispatch(part, 2)
    dispatch(part, 1)
    assert part.statistics().backlog_s == pytest.approx(2 * (0.001 + 200 * 0.0016) / 2, rel=1e-3)


def test_each_way_of_running_has_a_cost_of_its_own() -> None:
    part = scheduler()
    part.admit(work(1, [50]), 0.0)
    batch = dispatch(part, 2)
    part.completed(batch, 10.0)
    by_beside = {costs.shape.beside: costs for costs in part.statistics().costs}
    assert by_beside[False].num_measurements == 5
    assert by_beside[True].num_measurements == 4
    # One batch that took so much longer moves the level by half of its bound.
    assert by_beside[False].factors == pytest.approx((exp(BOUND / 2), 1.0))
    assert by_beside[True].factors == (1.0, 1.0)


def test_batches_that_begin_while_others_run_have_a_level_of_their_own() -> None:
    part = scheduler()
    part.admit(work(1, [50] * 8), 0.0)
    first, second = dispatch(part, 2), dispatch(part, 1)
    assert (first.crowded, second.crowded) == (False, True)
    part.completed(second, 10.0)
    (beside,) = [costs for costs in part.statistics().costs if costs.shape.beside]
    assert beside.factors == pytest.approx((1.0, exp(BOUND / 2)))


def test_an_error_is_that_of_what_was_predicted_as_the_batch_was_cut() -> None:
    part = scheduler()
    part.admit(work(1, [50] * 2 * LEAST_ERRORS), 0.0)
    batches = [dispatch(part, 2), dispatch(part, 1)]
    while len(batches) < LEAST_ERRORS:  # all of them are cut before the first one is heard of
        part.admit(work(1 + len(batches), [50] * 8), 0.0)
        batches.append(dispatch(part, 1))
    for batch in batches:
        part.completed(batch, 4 * batch.predicted_s)
    (beside,) = [costs for costs in part.statistics().costs if costs.shape.beside]
    # Each took four times as long, whatever has been learnt of those before.
    assert beside.error_p90 == pytest.approx(0.75)


def test_nothing_is_known_of_costs_and_a_backlog_is_still_spread() -> None:
    part = scheduler(fitted=False, limits=Limits(max_batch_tokens=100, max_queue_tokens=1000))
    part.admit(work(1, [50] * 8), 0.0)
    assert lengths_of(dispatch(part, 2)) == [50, 50]
    assert lengths_of(dispatch(part, 1)) == [50, 50]


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 120), st.sampled_from([A, B])), min_size=1, max_size=40),
    num_replicas=st.integers(1, 4),
    data=st.data(),
)
def test_whatever_the_replicas_each_sequence_runs_once_in_order_and_within_the_budget(
    lengths: list[tuple[int, Lane]], num_replicas: int, data: st.DataObject
) -> None:
    part = scheduler(num_replicas, limits=Limits(max_batch_tokens=100, max_queue_tokens=100_000))
    for work_id, (length, lane) in enumerate(lengths):
        part.admit(work(work_id, [length], lane), 0.0)
    running: list[Dispatch] = []
    ran: dict[Lane, list[int]] = {A: [], B: []}
    while part.statistics().queue_requests or running:
        decision = part.decide(0.0, num_replicas - len(running))
        if isinstance(decision, Dispatch):
            running.append(decision)
            ran[decision.lane] += [item.work_id for item in decision.items]
            assert sum(lengths_of(decision)) <= 100 or len(decision.items) == 1
            assert all(lane == decision.lane for _, lane in (lengths[i.work_id] for i in decision.items))
            if not decision.beside:
                assert len(running) == 1, "A batch got the whole device while others ran."
            else:
                assert all(batch.beside for batch in running)
        else:
            # A replica is idle only where nothing waits, or where a batch has the whole device.
            assert running
            full = len(running) == num_replicas or not running[0].beside
            assert full or not part.statistics().queue_requests
            done = running.pop(data.draw(st.integers(0, len(running) - 1)))
            part.completed(done, 0.01)
    for lane, seen in ran.items():
        assert seen == [work_id for work_id, (_, its) in enumerate(lengths) if its == lane]


def closed_loop(lanes: Sequence[Lane], *, num_clients: int, start_s: float, token_s: float) -> float:
    """Return tokens a second of two replicas, with clients that send again once they are answered."""
    costs = Scheduler(LIMITS, lambda _: SHAPE)
    costs.calibrate(SHAPE, model(start_s, token_s / 1.7))
    costs.calibrate(replace(SHAPE, beside=True), model(start_s, token_s))
    costs.use_replicas(2)
    rng = np.random.default_rng(0)
    ids = itertools.count()
    ends: list[tuple[float, int, Dispatch]] = []
    num_tokens, now = 0, 0.0

    def send() -> None:
        work_id = next(ids)
        length = int(np.clip(rng.lognormal(np.log(43.0), 0.35), 3, 128))
        sequences = (np.zeros(length, dtype=np.int32),)
        lane = lanes[int(rng.integers(len(lanes)))]
        costs.admit(Work(work_id=work_id, lane=lane, sequences=sequences, arrived_at=now), now)

    for _ in range(num_clients):
        send()
    while num_tokens < 200_000:
        while isinstance(batch := costs.decide(now, 2 - len(ends)), Dispatch):
            seconds = start_s + (token_s if batch.beside else token_s / 1.7) * batch.load.num_tokens
            heapq.heappush(ends, (now + seconds, next(ids), batch))
        now, _, done = heapq.heappop(ends)
        costs.completed(done, now - done.dispatched_at)
        num_tokens += done.load.num_tokens
        for _ in done.items:
            send()
    return num_tokens / now


@pytest.mark.parametrize(("start_s", "token_s", "least"), [(0.0094, 0.00088, 0.9), (0.0056, 0.00034, 0.9)])
@pytest.mark.parametrize("num_clients", [16, 64])
def test_ten_variants_are_nearly_as_fast_as_one_at_the_same_load(
    start_s: float, token_s: float, least: float, num_clients: int
) -> None:
    # What a batch of one replica cost at base size in float32 and in int8, on an EPYC 9005.
    cost = {"num_clients": num_clients, "start_s": start_s, "token_s": token_s}
    one = closed_loop([A], **cost)  # type: ignore[arg-type]  # a table
    ten = closed_loop([Lane(variant=str(index)) for index in range(10)], **cost)  # type: ignore[arg-type]  # a table
    assert ten >= least * one
