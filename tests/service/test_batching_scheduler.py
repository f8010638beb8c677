"""The scheduler's rules, one table or one story each; time is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.batching.cost import CostModel, Load, Measurement, Shape
from service.batching.decisions import Cut, Dispatch, Idle, Limits, WaitUntil
from service.batching.scheduler import Scheduler
from service.domain import Lane, Pooling, Work
from service.errors import QueueFullError

if TYPE_CHECKING:
    from collections.abc import Sequence

A, B = Lane(variant="a"), Lane(variant="b")
LIMITS = Limits(max_batch_tokens=10, max_queue_tokens=100, patience_s=5.0)


def shape_of(lane: Lane) -> Shape:
    return Shape(architecture="mini", dtype="float32", layer=lane.layer or 4, device="cpu")


def scheduler(limits: Limits = LIMITS) -> Scheduler:
    return Scheduler(limits, shape_of)


def work(  # a work is its id, its lengths and whatever matters to the test
    work_id: int,
    lengths: Sequence[int] = (1,),
    *,
    lane: Lane = A,
    at: float = 0.0,
    priority: int = 0,
    deadline: float | None = None,
) -> Work:
    sequences = tuple(np.full(length, work_id, dtype=np.int32) for length in lengths)
    return Work(
        work_id=work_id, lane=lane, sequences=sequences, arrived_at=at, priority=priority, deadline=deadline
    )


def dispatched(decision: object) -> list[tuple[int, int]]:
    assert isinstance(decision, Dispatch)
    return [(item.work_id, item.index) for item in decision.items]


def drained(part: Scheduler, now: float = 0.0) -> list[list[tuple[int, int]]]:
    batches = []
    while isinstance(decision := part.decide(now, 1), Dispatch):
        batches.append(dispatched(decision))
    return batches


def test_nothing_waits_nothing_to_do() -> None:
    assert scheduler().decide(0.0, 1) == Idle()


def test_a_lone_request_goes_at_once_with_its_own_ids() -> None:
    part = scheduler()
    part.admit(work(7, [3]), 0.0)
    batch = part.decide(0.0, 1)
    assert isinstance(batch, Dispatch)
    assert dispatched(batch) == [(7, 0)]
    assert batch.items[0].ids.tolist() == [7, 7, 7]
    assert (batch.lane, batch.cut, batch.load) == (A, Cut.EMPTY, Load.of([3]))
    assert part.decide(0.0, 1) == Idle()


def test_no_free_slot_no_dispatch() -> None:
    part = scheduler()
    part.admit(work(1), 0.0)
    assert part.decide(0.0, 0) == Idle()
    assert dispatched(part.decide(0.0, 1)) == [(1, 0)]


@pytest.mark.parametrize(
    ("lengths", "batches", "cuts"),
    [
        ([4, 4, 4], [2, 1], [Cut.BUDGET, Cut.EMPTY]),
        ([5, 5], [2], [Cut.BUDGET]),  # exactly full
        ([5, 5, 1], [2, 1], [Cut.BUDGET, Cut.EMPTY]),
        ([10, 10], [1, 1], [Cut.BUDGET, Cut.BUDGET]),
        ([11, 1], [1, 1], [Cut.LONE, Cut.EMPTY]),
        ([1, 11, 1], [1, 1, 1], [Cut.BUDGET, Cut.LONE, Cut.EMPTY]),
        ([9, 2, 8], [1, 2], [Cut.BUDGET, Cut.BUDGET]),
    ],
)
def test_batches_are_cut_by_tokens(lengths: list[int], batches: list[int], cuts: list[Cut]) -> None:
    part = scheduler()
    for work_id, length in enumerate(lengths):
        part.admit(work(work_id, [length]), 0.0)
    decisions = [part.decide(0.0, 1) for _ in batches]
    assert [len(dispatched(decision)) for decision in decisions] == batches
    assert [decision.cut for decision in decisions if isinstance(decision, Dispatch)] == cuts
    assert part.decide(0.0, 1) == Idle()


def test_a_work_may_be_spread_over_batches_and_keeps_its_turn() -> None:
    part = scheduler()
    part.admit(work(1, [6, 6, 6]), 0.0)
    part.admit(work(2, [1], at=1.0), 1.0)
    assert drained(part, 1.0) == [[(1, 0)], [(1, 1)], [(1, 2), (2, 0)]]


def test_lanes_never_share_a_batch() -> None:
    lanes = [A, B, Lane(variant="a", layer=2), Lane(variant="a", pooling=Pooling.CLS)]
    part = scheduler()
    for work_id, lane in enumerate(lanes * 2):
        part.admit(work(work_id, lane=lane), 0.0)
    assert drained(part) == [[(i, 0), (i + 4, 0)] for i in range(4)]


@pytest.mark.parametrize(
    ("works", "order"),
    [
        pytest.param([work(1, at=1.0), work(2, at=0.0)], [2, 1], id="earlier arrival"),
        pytest.param([work(1, deadline=4.0), work(2, deadline=3.0)], [2, 1], id="earlier deadline"),
        pytest.param([work(1), work(2, deadline=3.0)], [2, 1], id="a deadline before patience ends"),
        pytest.param(
            [work(1, at=0.0), work(2, at=1.0, deadline=9.0)], [1, 2], id="patience before a far deadline"
        ),
        pytest.param([work(1, priority=1, deadline=2.0), work(2)], [2, 1], id="priority before due"),
        pytest.param([work(1), work(2), work(3)], [1, 2, 3], id="ties in order of admission"),
    ],
)
def test_order_is_priority_then_due_then_arrival(works: list[Work], order: list[int]) -> None:
    # In one lane, and over lanes: a budget of one token gives each work a batch of its own.
    for lanes in ([A, A, A], [A, B, Lane(variant="c")]):
        part = scheduler(Limits(max_batch_tokens=1, max_queue_tokens=100, patience_s=5.0))
        for one, lane in zip(works, lanes, strict=False):
            part.admit(
                work(one.work_id, lane=lane, at=one.arrived_at, priority=one.priority, deadline=one.deadline),
                1.0,
            )
        assert [ids[0][0] for ids in drained(part, 1.0)] == order


@pytest.mark.parametrize("other", [A, B])
def test_past_due_goes_before_any_priority(other: Lane) -> None:
    part = scheduler(Limits(max_batch_tokens=1, max_queue_tokens=100, patience_s=5.0))
    part.admit(work(1, priority=9, at=0.0), 0.0)
    part.admit(work(2, priority=9, at=1.0), 1.0)
    part.admit(work(3, priority=0, at=4.0, lane=other), 4.0)
    assert dispatched(part.decide(4.9, 1)) == [(3, 0)]
    part.admit(work(4, priority=0, at=4.9, lane=other), 4.9)
    assert dispatched(part.decide(5.0, 1)) == [(1, 0)]  # due at 5
    assert dispatched(part.decide(5.0, 1)) == [(4, 0)]  # work 2 is due at 6 only
    assert dispatched(part.decide(5.0, 1)) == [(2, 0)]


def test_the_lane_with_the_first_head_is_served_with_all_that_fits() -> None:
    part = scheduler()
    part.admit(work(1, [2], lane=A, at=0.0), 0.0)
    part.admit(work(2, [2], lane=B, at=1.0), 1.0)
    part.admit(work(3, [2], lane=A, at=2.0), 2.0)
    assert drained(part, 2.0) == [[(1, 0), (3, 0)], [(2, 0)]]


def test_cancelled_work_is_not_dispatched() -> None:
    part = scheduler()
    for work_id in (1, 2, 3):
        part.admit(work(work_id, [2]), 0.0)
    assert part.cancel(2)
    assert not part.cancel(2)
    assert not part.cancel(99)
    assert drained(part) == [[(1, 0), (3, 0)]]
    assert part.statistics().num_cancelled == 1


def test_the_rest_of_a_work_that_is_running_can_be_cancelled() -> None:
    part = scheduler()
    part.admit(work(1, [6, 6, 6]), 0.0)
    assert dispatched(part.decide(0.0, 1)) == [(1, 0)]
    assert part.statistics().queue_tokens == 12
    assert part.cancel(1)
    assert part.decide(0.0, 1) == Idle()
    assert part.statistics().queue_tokens == 0


def test_expired_work_is_reported_once_and_never_dispatched() -> None:
    part = scheduler()
    part.admit(work(1, deadline=3.0), 0.0)
    part.admit(work(2, deadline=2.0), 0.0)
    part.admit(work(3, deadline=9.0), 0.0)
    part.admit(work(4), 0.0)
    assert part.expire(1.9) == ()
    assert part.expire(3.0) == (2, 1)
    assert part.expire(3.0) == ()
    assert drained(part, 3.0) == [[(3, 0), (4, 0)]]
    assert part.statistics().num_expired == 2


def test_decide_drops_what_expired_even_when_nobody_asked() -> None:
    part = scheduler()
    part.admit(work(1, deadline=2.0), 0.0)
    assert part.decide(2.0, 1) == Idle()
    assert part.expire(2.0) == (1,)


def test_while_the_engine_is_busy_the_next_deadline_is_the_next_moment() -> None:
    part = scheduler()
    part.admit(work(1, deadline=7.0), 0.0)
    part.admit(work(2, deadline=3.0), 0.0)
    assert part.decide(0.0, 0) == WaitUntil(at=3.0)
    part.cancel(2)
    assert part.decide(0.0, 0) == WaitUntil(at=7.0)


def test_admission_is_all_or_nothing_and_refuses_only_above_the_limit() -> None:
    part = scheduler(Limits(max_batch_tokens=10, max_queue_tokens=20))
    part.admit(work(1, [8, 8]), 0.0)
    with pytest.raises(QueueFullError, match="holds 16 tokens and may hold 20; this request brings 5"):
        part.admit(work(2, [4, 1]), 0.0)
    part.admit(work(3, [4]), 0.0)
    assert part.statistics().queue_tokens == 20
    assert part.statistics().num_refused == 1
    assert [pair for batch in drained(part) for pair in batch] == [(1, 0), (1, 1), (3, 0)]


def test_an_empty_queue_takes_any_work_and_then_refuses_until_it_fits() -> None:
    part = scheduler(Limits(max_batch_tokens=10, max_queue_tokens=20))
    part.admit(work(1, [9, 9, 9]), 0.0)
    with pytest.raises(QueueFullError):
        part.admit(work(2, [1]), 0.0)
    assert dispatched(part.decide(0.0, 1)) == [(1, 0)]
    part.admit(work(2, [1]), 0.0)


def test_retry_after_is_the_predicted_time_until_the_work_fits() -> None:
    part = scheduler(Limits(max_batch_tokens=10, max_queue_tokens=40))
    # One second a batch and a tenth a token, no price on pairs of tokens.
    truth = [
        Measurement(load=load, seconds=1.0 + 0.1 * load.num_tokens)
        for load in map(Load.of, ([1], [9], [3, 3]))
    ]
    part.calibrate(shape_of(A), CostModel.fit(truth))
    part.admit(work(1, [10]), 0.0)
    assert isinstance(part.decide(0.0, 1), Dispatch)  # 2 s of engine time, half done at 1.0
    part.admit(work(2, [10, 10, 10, 10]), 1.0)  # 4 batches of 2 s
    with pytest.raises(QueueFullError) as refused:
        part.admit(work(3, [5, 5]), 1.0)  # a quarter of the queue must go first
    assert refused.value.retry_after_s == pytest.approx(1.0 + 8.0 / 4)
    assert part.statistics().backlog_s == pytest.approx(2.0 + 8.0)


def test_retry_after_counts_batches_behind_the_running_one_in_full() -> None:
    part = scheduler(Limits(max_batch_tokens=10, max_queue_tokens=10))
    truth = [
        Measurement(load=load, seconds=0.1 * load.num_tokens) for load in map(Load.of, ([1], [9], [3, 3]))
    ]
    part.calibrate(shape_of(A), CostModel.fit(truth))
    for work_id, at in ((1, 0.0), (2, 0.25)):
        part.admit(work(work_id, [10], at=at), at)
        assert isinstance(part.decide(at, 1), Dispatch)
    part.admit(work(3, [10]), 0.5)
    for now, expected in ((0.5, 0.5 + 1.0 + 1.0), (9.0, 1.0 + 1.0)):  # at 9 the first is long overdue
        with pytest.raises(QueueFullError) as refused:
            part.admit(work(4, [10]), now)
        assert refused.value.retry_after_s == pytest.approx(expected)


def test_retry_after_is_a_second_while_nothing_was_measured() -> None:
    part = scheduler(Limits(max_batch_tokens=10, max_queue_tokens=10))
    part.admit(work(1, [10]), 0.0)
    with pytest.raises(QueueFullError) as refused:
        part.admit(work(2, [1]), 0.0)
    assert refused.value.retry_after_s == 1.0


def test_a_calibrated_shape_has_its_own_budget() -> None:
    part = scheduler()
    early = Lane(variant="a", layer=2)
    part.calibrate(shape_of(early), CostModel.unfitted(), max_batch_tokens=20)
    for lane, first_id in ((A, 0), (early, 10)):
        for work_id in range(first_id, first_id + 4):
            part.admit(work(work_id, [5], lane=lane), 0.0)
    assert [len(batch) for batch in drained(part)] == [2, 2, 4]


@pytest.mark.parametrize("failed_or_too_short", [None, 0.0])
def test_completed_batches_refine_the_model_of_their_shape(failed_or_too_short: float | None) -> None:
    part = scheduler()
    part.admit(work(1, [4, 4]), 0.0)
    part.admit(work(2, [4], lane=Lane(variant="z", layer=2)), 0.0)
    first, second = part.decide(0.0, 2), part.decide(0.0, 1)
    assert isinstance(first, Dispatch)
    assert isinstance(second, Dispatch)
    assert part.statistics().running_batches == 2
    part.completed(first, 0.8)
    part.completed(second, failed_or_too_short)
    by_layer = {cost.shape.layer: cost for cost in part.statistics().costs}
    assert by_layer[4].num_measurements == 1
    assert by_layer[2].num_measurements == 0
    assert part.statistics().running_batches == 0
    part.admit(work(3, [4, 4]), 1.0)
    again = part.decide(1.0, 1)
    assert isinstance(again, Dispatch)
    assert again.predicted_s == pytest.approx(0.8)


class TestWaiting:
    LIMITS = Limits(max_batch_tokens=10, max_queue_tokens=100, max_wait_s=1.0, patience_s=5.0)

    def test_a_batch_waits_for_more_and_is_cut_when_the_wait_is_over(self) -> None:
        part = scheduler(self.LIMITS)
        part.admit(work(1, [4], at=0.0), 0.0)
        assert part.decide(0.0, 1) == WaitUntil(at=1.0)
        part.admit(work(2, [4], at=0.5), 0.5)
        assert part.decide(0.5, 1) == WaitUntil(at=1.0)
        batch = part.decide(1.0, 1)
        assert dispatched(batch) == [(1, 0), (2, 0)]
        assert isinstance(batch, Dispatch)
        assert batch.cut is Cut.WAIT

    def test_a_full_batch_does_not_wait(self) -> None:
        part = scheduler(self.LIMITS)
        part.admit(work(1, [4], at=0.0), 0.0)
        part.admit(work(2, [6], at=0.1), 0.1)
        batch = part.decide(0.1, 1)
        assert isinstance(batch, Dispatch)
        assert batch.cut is Cut.BUDGET

    @pytest.mark.parametrize("deadline", [0.9, 1.0])
    def test_a_deadline_is_not_lost_to_a_wait(self, deadline: float) -> None:
        part = scheduler(self.LIMITS)
        part.admit(work(1, [4], at=0.0, deadline=deadline), 0.0)
        assert dispatched(part.decide(0.0, 1)) == [(1, 0)]

    def test_another_lane_that_is_full_goes_meanwhile(self) -> None:
        part = scheduler(self.LIMITS)
        part.admit(work(1, [4], lane=A, at=0.0), 0.0)
        part.admit(work(2, [10], lane=B, at=0.2), 0.2)
        assert dispatched(part.decide(0.2, 1)) == [(2, 0)]
        assert part.decide(0.2, 1) == WaitUntil(at=1.0)

    def test_the_next_deadline_comes_before_the_end_of_the_wait(self) -> None:
        part = scheduler(self.LIMITS)
        part.admit(work(1, [4], at=0.0), 0.0)
        part.admit(work(2, [4], lane=B, at=0.5, deadline=1.6), 0.5)
        assert part.decide(0.6, 1) == WaitUntil(at=1.0)
        assert part.decide(0.6, 0) == WaitUntil(at=1.6)


def test_statistics_count_what_happened() -> None:
    part = scheduler()
    for work_id, length in enumerate([6, 6, 11]):
        part.admit(work(work_id, [length]), 0.0)
    drained(part)
    statistics = part.statistics()
    assert (statistics.queue_requests, statistics.queue_tokens, statistics.running_batches) == (0, 0, 3)
    assert (statistics.num_admitted, statistics.num_sequences, statistics.num_tokens) == (3, 3, 23)
    assert statistics.num_batches == {Cut.BUDGET: 2, Cut.LONE: 1, Cut.EMPTY: 0, Cut.WAIT: 0}


@pytest.mark.parametrize("sequences", [(), (np.zeros(0, dtype=np.int32),)])
def test_work_without_tokens_is_a_bug(
    sequences: tuple[np.ndarray[tuple[int], np.dtype[np.int32]], ...],
) -> None:
    with pytest.raises(AssertionError, match="This is a bug"):
        scheduler().admit(Work(work_id=1, lane=A, sequences=sequences, arrived_at=0.0), 0.0)


def test_admitting_twice_is_a_bug() -> None:
    part = scheduler()
    part.admit(work(1), 0.0)
    with pytest.raises(AssertionError, match="This is a bug"):
        part.admit(work(1), 0.0)


def test_cancelled_and_dispatched_work_is_forgotten() -> None:
    part = scheduler(Limits(max_batch_tokens=4, max_queue_tokens=10**9))
    part.admit(work(0), 0.0)
    for work_id in range(1, 5001):
        part.admit(work(work_id, deadline=1000.0), 0.0)
        part.cancel(work_id)
    queue = part._lanes[A]
    for heap in (queue._by_order, queue._by_due, part._deadlines):
        assert len(heap._entries) < 200
    drained(part)
    assert not part._lanes
    assert not part._works
