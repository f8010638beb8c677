"""The scheduler's laws, under any sequence of events that a shell can bring about.

The model here is a plain list, sorted anew for every decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.batching.cost import Shape
from service.batching.decisions import Cut, Dispatch, Idle, Limits, WaitUntil
from service.batching.scheduler import Scheduler
from service.domain import Lane, Work
from service.errors import QueueFullError

LANES = [Lane(variant="a"), Lane(variant="b"), Lane(variant="a", layer=1)]
PATIENCE_S = 4.0


@dataclass
class Known:
    """What the model knows of an admitted work."""

    work: Work
    turn: int
    waiting: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    ended: str | None = None

    def length(self, index: int) -> int:
        return len(self.work.sequences[index])

    def expired(self, now: float) -> bool:
        return self.work.deadline is not None and self.work.deadline <= now

    def key(self, now: float) -> tuple[float, ...]:
        due = self.work.arrived_at + PATIENCE_S
        if self.work.deadline is not None:
            due = min(due, self.work.deadline)
        overdue = due <= now
        return (not overdue, 0 if overdue else self.work.priority, due, self.work.arrived_at, self.turn)


class SchedulerLaws(RuleBasedStateMachine):
    @initialize(
        max_batch_tokens=st.integers(1, 12),
        max_queue_tokens=st.integers(5, 60),
        max_wait_s=st.sampled_from([0.0, 0.0, 0.5, 3.0]),
    )
    def start(self, max_batch_tokens: int, max_queue_tokens: int, max_wait_s: float) -> None:
        self.limits = Limits(
            max_batch_tokens=max_batch_tokens,
            max_queue_tokens=max_queue_tokens,
            max_wait_s=max_wait_s,
            patience_s=PATIENCE_S,
        )
        self.scheduler = Scheduler(
            self.limits, lambda lane: Shape(architecture="m", dtype="f", layer=lane.layer or 9, device="d")
        )
        self.now = 0.0
        self.known: dict[int, Known] = {}
        self.running: list[Dispatch] = []

    def live(self) -> list[Known]:
        return [one for one in self.known.values() if one.waiting and one.ended is None]

    def waiting_tokens(self) -> int:
        return sum(one.length(index) for one in self.live() for index in one.waiting)

    @rule(
        lane=st.sampled_from(LANES),
        lengths=st.lists(st.integers(1, 14), min_size=1, max_size=5),
        priority=st.integers(-1, 1),
        timeout_s=st.none() | st.floats(0.0, 8.0),
        late_s=st.floats(0.0, 1.0),
    )
    def admit(
        self, lane: Lane, lengths: list[int], priority: int, timeout_s: float | None, late_s: float
    ) -> None:
        work_id = len(self.known)
        arrived_at = self.now - late_s
        work = Work(
            work_id=work_id,
            lane=lane,
            sequences=tuple(np.full(length, work_id, dtype=np.int32) for length in lengths),
            arrived_at=arrived_at,
            priority=priority,
            deadline=None if timeout_s is None else arrived_at + timeout_s,
        )
        known = Known(work=work, turn=work_id, waiting=list(range(len(lengths))))
        others = self.waiting_tokens()
        fits = others == 0 or others + sum(lengths) <= self.limits.max_queue_tokens
        if fits:
            self.scheduler.admit(work, self.now)
        else:
            with pytest.raises(QueueFullError) as refused:
                self.scheduler.admit(work, self.now)
            assert refused.value.retry_after_s > 0.0
            known.ended = "refused"
        self.known[work_id] = known

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        one = self.known[data.draw(st.sampled_from(sorted(self.known)))]
        waited = bool(one.waiting) and one.ended is None
        assert self.scheduler.cancel(one.work.work_id) == waited
        if waited:
            one.ended = "cancelled"

    @rule(seconds=st.floats(0.0, 3.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        due = [one for one in self.known.values() if one.ended == "expired, unreported"]
        due += [one for one in self.live() if one.expired(self.now)]
        reported = self.scheduler.expire(self.now)
        assert sorted(reported) == sorted(one.work.work_id for one in due)
        for one in due:
            one.ended = "expired"

    @precondition(lambda self: self.running)
    @rule(data=st.data(), seconds=st.none() | st.floats(1e-3, 1.0))
    def complete(self, data: st.DataObject, seconds: float | None) -> None:
        batch = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.scheduler.completed(batch, seconds)

    @rule(free_slots=st.integers(0, 2))
    def decide(self, free_slots: int) -> None:
        for one in self.live():
            if one.expired(self.now):
                one.ended = "expired, unreported"
        decision = self.scheduler.decide(self.now, free_slots)
        match decision:
            case Dispatch():
                assert free_slots > 0
                self.check_and_book(decision)
            case WaitUntil(at=at):
                assert at > self.now
                self.check_nothing_is_ripe(free_slots)
            case Idle():
                assert not self.live() or free_slots == 0
                assert not any(one.work.deadline is not None for one in self.live())

    def check_nothing_is_ripe(self, free_slots: int) -> None:
        """A batch waits only for a slot, or where waiting was asked for."""
        if free_slots == 0:
            return
        assert self.limits.max_wait_s > 0.0
        for lane in LANES:
            mine = [one for one in self.live() if one.work.lane == lane]
            assert sum(one.length(i) for one in mine for i in one.waiting) < self.limits.max_batch_tokens
            assert all(one.key(self.now)[2] > self.now for one in mine), "Past due, and waiting for more."
            if mine:
                first = min(mine, key=lambda one: (one.key(self.now)[2], one.work.arrived_at, one.turn))
                assert first.work.arrived_at + self.limits.max_wait_s > self.now, "Waited long enough."

    def check_and_book(self, batch: Dispatch) -> None:
        mine = sorted(
            (one for one in self.live() if one.work.lane == batch.lane), key=lambda one: one.key(self.now)
        )
        expected = [(one.work.work_id, index) for one in mine for index in one.waiting]
        taken = [(item.work_id, item.index) for item in batch.items]
        assert taken == expected[: len(taken)], "Out of order, or not this lane's, or cancelled, or expired."
        lengths = [len(item.ids) for item in batch.items]
        budget = self.limits.max_batch_tokens
        assert sum(lengths) <= budget or len(lengths) == 1
        rest = expected[len(taken) :]
        if rest:
            work_id, index = rest[0]
            assert sum(lengths) + self.known[work_id].length(index) > budget, "Cut too early."
        if self.limits.max_wait_s == 0.0:
            first = min(self.live(), key=lambda one: one.key(self.now))
            assert taken[0][0] == first.work.work_id, "Another lane's head came first."
        expected_cut = Cut.WAIT if self.limits.max_wait_s else Cut.EMPTY
        if sum(lengths) > budget:
            expected_cut = Cut.LONE
        elif rest or sum(lengths) == budget:
            expected_cut = Cut.BUDGET
        assert batch.cut is expected_cut
        for item in batch.items:
            one = self.known[item.work_id]
            assert item.ids is one.work.sequences[item.index]
            one.waiting.remove(item.index)
            one.answered.append(item.index)
        self.running.append(batch)

    @invariant()
    def gauges_agree(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        statistics = self.scheduler.statistics()
        assert statistics.queue_tokens == self.waiting_tokens()
        assert statistics.queue_requests == len(self.live())
        assert statistics.running_batches == len(self.running)
        sums = [(queue.num_tokens, queue.num_squares) for queue in self.scheduler._lanes.values()]
        assert sum(tokens for tokens, _ in sums) == self.waiting_tokens()
        squares = sum(one.length(index) ** 2 for one in self.live() for index in one.waiting)
        assert sum(square for _, square in sums) == squares

    def teardown(self) -> None:
        """Whatever happened, what is left is answered, each sequence once."""
        if not hasattr(self, "scheduler"):
            return
        while self.live():
            self.now += 1.0
            self.decide(free_slots=1)
        for one in self.known.values():
            assert len(set(one.answered)) == len(one.answered)
            if one.ended is None:
                assert sorted(one.answered) == list(range(len(one.work.sequences)))


TestSchedulerLaws = SchedulerLaws.TestCase
TestSchedulerLaws.settings = settings(max_examples=250, stateful_step_count=50, deadline=None)
