"""Which waiting sequences run next, and when. No clock, no threads, no I/O.

Rules:

* Order: (priority, due, arrival), where work is due at its deadline and at the latest
  ``patience_s`` after it arrived; work past due goes before all other (``queue.py`` says
  why nothing starves).
* One queue a lane. The lane whose head comes first in that order gets the next batch, which
  takes sequences of that lane in order until the next one would exceed the budget. A work
  may be spread over several batches.
* A batch is cut by tokens, never by count, and exceeds its budget only with one sequence alone.
* Where a device has replicas, what waits is spread over the idle ones in equal shares of tokens, unless the
  cost model says that one batch on the whole device ends sooner than the shares side by side.
* No batch waits while the engine has a free slot. A ``max_wait_s`` above 0 gives that up: a
  lane then waits for a full batch until the work due first has waited that long, and not at
  all where that would be past due.
* Admission is all or nothing for a work, and refuses only what would bring the waiting
  tokens above ``max_queue_tokens``. An empty queue takes any work: refused there, it could
  never be answered, however often its client came back.
* Work that was cancelled, or whose deadline has come, is never dispatched.

The shell tells what happened and asks what to do. After each arrival, cancellation and
completion, and at the moment of ``WaitUntil``: ``expire(now)``, then ``decide`` until it
returns no Dispatch. What a Dispatch holds has left the queue; ``completed`` must follow.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from service.batching.cost import Load, Measurement
from service.batching.cost_book import CostBook
from service.batching.decisions import Cut, Dispatch, Idle, Item, SchedulerStatistics, WaitUntil
from service.batching.queue import LaneQueue, LazyHeap, Waiting, rank
from service.errors import QueueFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Sequence as Many

    from service.batching.cost import CostModel, Shape
    from service.batching.decisions import Decision, Limits
    from service.domain import Lane, Work

# What a batch takes although other replicas will soon be idle: below that its fixed cost is more than 4 % of
# float32's time and 6 % of int8's (base size, two replicas of one thread on an EPYC 9005, where 57 tokens ran
# at 0.88 and 0.81 of the speed of 461).
_LEAST_SHARE_TOKENS: Final = 256
# Said to a client while nothing is known of the cost of a batch.
_UNKNOWN_RETRY_S: Final = 1.0


class Scheduler:
    """Owns the queues and the cost models; one caller at a time."""

    def __init__(self, limits: Limits, shape_of: Callable[[Lane], Shape]) -> None:
        """Start empty. ``shape_of``: equal for lanes whose batches cost alike."""
        self._limits = limits
        self._costs = CostBook(shape_of, max_batch_tokens=limits.max_batch_tokens)
        self._lanes: dict[Lane, LaneQueue] = {}
        self._works: dict[int, Waiting] = {}
        self._deadlines = LazyHeap()
        self._unreported: list[int] = []
        self._running: set[Dispatch] = set()
        self._num_replicas = 1
        self._queue_tokens = 0
        self._num_admitted = 0
        self._num_refused = 0
        self._num_cancelled = 0
        self._num_expired = 0
        self._num_sequences = 0
        self._num_tokens = 0
        self._num_batches: Counter[Cut] = Counter(dict.fromkeys(Cut, 0))

    def calibrate(self, shape: Shape, model: CostModel, *, max_batch_tokens: int | None = None) -> None:
        """Take over what warm-up measured: a shape's cost model, and the budget at its knee."""
        self._costs.calibrate(shape, model, max_batch_tokens=max_batch_tokens)

    def use_replicas(self, num_replicas: int) -> None:
        """Hear how many batches the device can run side by side; at first it is one."""
        self._num_replicas = num_replicas

    def admit(self, work: Work, now: float) -> None:
        """Queue every sequence of a work, or none.

        Raises:
            QueueFullError: others wait, and the tokens would exceed ``max_queue_tokens``.
        """
        assert work.work_id not in self._works, f"Work {work.work_id} was admitted twice. This is a bug."
        lengths = tuple(map(len, work.sequences))
        assert lengths, f"Work {work.work_id} holds no sequence. This is a bug."
        assert min(lengths) > 0, f"Work {work.work_id} holds a sequence without tokens. This is a bug."
        self._refuse_if_full(sum(lengths), now)
        self._num_admitted += 1
        due = work.arrived_at + self._limits.patience_s
        if work.deadline is not None:
            due = min(due, work.deadline)
        waiting = Waiting(work=work, lengths=lengths, due=due, turn=self._num_admitted)
        self._works[work.work_id] = waiting
        self._lanes.setdefault(work.lane, LaneQueue()).push(waiting)
        if work.deadline is not None:
            self._deadlines.push((work.deadline,), waiting)
        self._queue_tokens += sum(lengths)

    def cancel(self, work_id: int) -> bool:
        """Drop what still waits of a work; return whether anything did."""
        waiting = self._works.get(work_id)
        if waiting is None:
            return False
        self._drop(waiting)
        self._num_cancelled += 1
        return True

    def expire(self, now: float) -> tuple[int, ...]:
        """Drop works whose deadline has come before their last sequence was dispatched.

        Returns each work_id once, earliest deadline first; some of its sequences may be running.
        """
        self._drop_expired(now)
        expired, self._unreported = tuple(self._unreported), []
        return expired

    def completed(self, batch: Dispatch, seconds: float | None) -> None:
        """Hear that a batch left the engine after ``seconds`` of work on it; None if it failed.

        Nothing is learnt from a failure, nor from a time too short for the caller's clock.
        """
        self._running.remove(batch)
        if seconds:
            measurement = Measurement(load=batch.load, seconds=seconds, crowded=batch.crowded)
            self._costs.learn(batch.lane, measurement, predicted_s=batch.predicted_s, beside=batch.beside)

    def decide(self, now: float, free_slots: int) -> Decision:
        """Return what to do at monotonic time ``now``; remove what it dispatches.

        ``free_slots``: how many more batches the engine would take up at once.
        """
        self._drop_expired(now)
        if any(not batch.beside for batch in self._running):
            free_slots -= self._num_replicas - 1  # it has the whole device
        if free_slots > 0:
            ripe = [queue for lane, queue in self._lanes.items() if self._ripe_at(lane, queue) <= now]
            if ripe:
                head = min((queue.head(now) for queue in ripe), key=lambda waiting: rank(waiting, now))
                return self._dispatch(head.work.lane, now)
        moments = [] if (first := self._deadlines.first()) is None else [_deadline(first)]
        if free_slots > 0:
            moments += [self._ripe_at(lane, queue) for lane, queue in self._lanes.items()]
        return WaitUntil(at=min(moments)) if moments else Idle()

    def budget(self, batch: Dispatch) -> int:
        """Return how many tokens a batch of this kind may hold."""
        return self._costs.budget(batch.lane, beside=batch.beside)

    def statistics(self) -> SchedulerStatistics:
        """Read gauges and counters."""
        return SchedulerStatistics(
            queue_requests=len(self._works),
            queue_tokens=self._queue_tokens,
            running_batches=len(self._running),
            backlog_s=self._waiting_s() + self._side_by_side_s(batch.predicted_s for batch in self._running),
            num_admitted=self._num_admitted,
            num_refused=self._num_refused,
            num_cancelled=self._num_cancelled,
            num_expired=self._num_expired,
            num_sequences=self._num_sequences,
            num_tokens=self._num_tokens,
            num_batches=dict(self._num_batches),
            costs=self._costs.statistics(),
        )

    def _ripe_at(self, lane: Lane, queue: LaneQueue) -> float:
        """Return when a lane's next batch may be cut; the past when it may be now."""
        if self._limits.max_wait_s == 0.0 or queue.num_tokens >= self._costs.budget(lane):
            return -inf
        first = queue.first_due()
        wait_over = first.work.arrived_at + self._limits.max_wait_s
        return wait_over if wait_over < first.due else -inf

    def _dispatch(self, lane: Lane, now: float) -> Dispatch:
        """Cut the next batch of a lane that is not empty."""
        queue = self._lanes[lane]
        items: list[Item] = []
        beside = self._num_replicas > 1
        budget = self._costs.budget(lane, beside=beside)
        self._fill(items, queue, min(budget, self._share()), now)
        if beside and not self._running and self._ends_sooner_alone(lane, queue, _load(items)):
            beside, budget = False, self._costs.budget(lane)
            self._fill(items, queue, budget, now)
        load, crowded = _load(items), beside and bool(self._running)
        batch = Dispatch(
            lane=lane,
            items=tuple(items),
            cut=self._why(load.num_tokens, budget, lane_is_empty=not queue),
            load=load,
            predicted_s=self._costs.predict(lane, load, beside=beside, crowded=crowded),
            dispatched_at=now,
            beside=beside,
            crowded=crowded,
        )
        if not queue:
            del self._lanes[lane]
        self._running.add(batch)
        self._num_batches[batch.cut] += 1
        self._num_sequences += len(items)
        self._num_tokens += load.num_tokens
        return batch

    def _fill(self, items: list[Item], queue: LaneQueue, most: int, now: float) -> None:
        """Take sequences in order until the next one would exceed so many tokens, but at least one."""
        num_tokens = sum(len(item.ids) for item in items)
        while queue:
            waiting = queue.head(now)
            length = waiting.lengths[waiting.next_index]
            if items and num_tokens + length > most:
                break
            items.append(self._take(queue, waiting))
            num_tokens += length

    def _share(self) -> int:
        """Return the part of all waiting tokens that one batch should take."""
        num_idle = self._num_replicas - len(self._running)
        if num_idle > 1:
            return ceil(self._queue_tokens / num_idle)
        # The others will be back for their part, unless that would make small batches of it.
        return max(ceil(self._queue_tokens / self._num_replicas), _LEAST_SHARE_TOKENS)

    def _ends_sooner_alone(self, lane: Lane, queue: LaneQueue, first: Load) -> bool:
        """Whether a first share and all that still waits end sooner as one batch on the whole idle device."""
        if len(self._lanes) > 1:
            return False
        rest = Load(num_batches=0, num_tokens=queue.num_tokens, num_squares=queue.num_squares)
        whole = Load(
            num_tokens=first.num_tokens + rest.num_tokens, num_squares=first.num_squares + rest.num_squares
        )
        if rest.num_tokens and whole.num_tokens > self._costs.budget(lane):
            return False
        alone_s = self._costs.predict(lane, whole)
        crowded = bool(rest.num_tokens)
        first_s = self._costs.predict(lane, first, beside=True, crowded=crowded)
        rest_s = self._costs.predict(lane, replace(rest, num_batches=1), beside=True, crowded=crowded)
        return alone_s <= max(first_s, rest_s / (self._num_replicas - 1) if rest.num_tokens else 0.0)

    def _why(self, num_tokens: int, max_batch_tokens: int, *, lane_is_empty: bool) -> Cut:
        if num_tokens > max_batch_tokens:
            return Cut.LONE
        if num_tokens == max_batch_tokens or not lane_is_empty:
            return Cut.BUDGET
        return Cut.EMPTY if self._limits.max_wait_s == 0.0 else Cut.WAIT

    def _take(self, queue: LaneQueue, waiting: Waiting) -> Item:
        index = queue.take_sequence(waiting)
        work = waiting.work
        self._queue_tokens -= waiting.lengths[index]
        if not waiting.live:
            self._forget(waiting)
        return Item(work_id=work.work_id, index=index, ids=work.sequences[index])

    def _drop_expired(self, now: float) -> None:
        while (waiting := self._deadlines.first()) is not None and _deadline(waiting) <= now:
            self._drop(waiting)
            self._unreported.append(waiting.work.work_id)
            self._num_expired += 1

    def _drop(self, waiting: Waiting) -> None:
        lane = waiting.work.lane
        self._queue_tokens -= sum(waiting.lengths[waiting.next_index :])
        self._lanes[lane].drop(waiting)
        if not self._lanes[lane]:
            del self._lanes[lane]
        self._forget(waiting)

    def _forget(self, waiting: Waiting) -> None:
        del self._works[waiting.work.work_id]
        if waiting.work.deadline is not None:
            self._deadlines.removed()

    def _refuse_if_full(self, num_tokens: int, now: float) -> None:
        excess = self._queue_tokens + num_tokens - self._limits.max_queue_tokens
        if excess <= 0 or not self._works:
            return
        self._num_refused += 1
        raise QueueFullError(
            f"The queue holds {self._queue_tokens} tokens and may hold {self._limits.max_queue_tokens}; "
            f"this request brings {num_tokens}. Retry after the time given, or send fewer inputs at once.",
            retry_after_s=self._drained_after_s(excess, now),
        )

    def _drained_after_s(self, num_tokens: int, now: float) -> float:
        """Predict how long it takes until so many of the waiting tokens have left the queue."""
        share = min(1.0, num_tokens / self._queue_tokens)
        predicted_s = self._running_s(now) + share * self._waiting_s()
        return predicted_s if predicted_s > 0.0 else _UNKNOWN_RETRY_S

    def _running_s(self, now: float) -> float:
        """Predict the engine time that is left of what was dispatched, one batch after the other."""
        if not self._running:
            return 0.0
        in_order = sorted(self._running, key=lambda batch: batch.dispatched_at)
        begun = in_order[: self._num_replicas]
        done_s = sum(min(batch.predicted_s, now - batch.dispatched_at) for batch in begun)
        return self._side_by_side_s([*(batch.predicted_s for batch in in_order), -done_s])

    def _waiting_s(self) -> float:
        beside = self._num_replicas > 1
        return self._side_by_side_s(
            self._costs.predict_queue(lane, queue, beside=beside) for lane, queue in self._lanes.items()
        )

    def _side_by_side_s(self, seconds: Iterable[float]) -> float:
        """Return how long works of so many seconds each take all replicas, about."""
        return sum(seconds) / self._num_replicas


def _load(items: Many[Item]) -> Load:
    return Load.of([len(item.ids) for item in items])


def _deadline(waiting: Waiting) -> float:
    deadline = waiting.work.deadline
    assert deadline is not None, "Work without a deadline is among the deadlines. This is a bug."
    return deadline
