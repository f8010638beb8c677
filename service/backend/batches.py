"""Batches that are with the engine: from their dispatch until they have been reported.

Rules: the event loop alone owns what is here. An engine's thread does one thing: it asks the loop to call
``_landed``, once for each time that the engine was asked, and the loop makes these calls in that order. A
batch waits for one answer at a time: first to all of its sequences; where that failed, to each of them by
itself, so that only the request at fault is told so. It ends in one turn of the loop: its last answers are
delivered, it is reported, its slot is free. What lands after ``close`` is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from service.backend.stuck import Limit, limit_s
from service.domain import BatchReport
from service.engine.contract import Failed, Run
from service.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from service.backend.clock import Clock
    from service.backend.pending import PendingWorks
    from service.backend.roster import Roster
    from service.batching.decisions import Dispatch, Item
    from service.batching.scheduler import Scheduler
    from service.domain import Observer, TraceContext
    from service.engine.contract import Engine


@dataclass(slots=True, kw_only=True, eq=False)
class _UnderWay:
    """A batch that waits for the engine.

    ``asked``: the sequences that the engine has now. ``whole``: what it said of all of them together; None
    until then. ``to_try``: those that are still to be run alone. ``engine_s``: the work on it so far.
    """

    batch: Dispatch
    traces: tuple[TraceContext, ...]
    asked: tuple[Item, ...]
    whole: Run | Failed | None = None
    to_try: deque[Item]
    engine_s: float = 0.0
    limit: Limit | None = None


class Batches:
    """Owns the batches that were dispatched and have not ended."""

    def __init__(  # noqa: PLR0913 - what a batch meets on its way, by keyword
        self,
        *,
        engine: Engine,
        scheduler: Scheduler,
        pending: PendingWorks,
        roster: Roster,
        clock: Clock,
        observer: Observer,
        stuck_batch_s: float,
        on_ended: Callable[[], object],
        on_broken: Callable[[BaseException], object],
    ) -> None:
        """Start empty.

        ``stuck_batch_s``: the least time after which a batch counts as stuck (``stuck.py``); 0 for never.
        ``on_ended``: called when a slot has become free. ``on_broken``: told why nothing can be trusted here.
        """
        self._engine = engine
        self._scheduler = scheduler
        self._pending = pending
        self._roster = roster
        self._clock = clock
        self._observer = observer
        self._stuck_batch_s = stuck_batch_s
        self._on_ended = on_ended
        self._on_broken = on_broken
        self._under_way: set[_UnderWay] = set()
        self._taken: list[_UnderWay] = []
        self._is_closed = False
        # Bound once: a batch would otherwise make a logger of its own, to say nothing with it.
        self._log = structlog.get_logger().bind()
        self._tells_each = self._log.is_enabled_for(logging.DEBUG)
        self.num_replicas = 1
        self.busy_s = 0.0
        self.num_ended = 0

    def __len__(self) -> int:
        """How many slots of the engine are taken."""
        return len(self._under_way)

    def take(self, batch: Dispatch) -> None:
        """Take a slot for a batch; ``begin`` gives it to the engine."""
        one = _UnderWay(
            batch=batch, traces=self._pending.traces(batch.items), asked=batch.items, to_try=deque()
        )
        self._under_way.add(one)
        self._taken.append(one)
        one.limit = self._limit_of(batch)  # now: it counts those before it, and more may be taken

    def begin(self) -> None:
        """Give the engine what was taken; the last thing to do in a turn of the loop.

        Its thread wakes up at once, and would wait for the interpreter's lock while this one goes on.
        """
        taken, self._taken = self._taken, []
        for one in taken:
            self._ask(one, beside=one.batch.beside)

    def close(self) -> None:
        """Wait for no batch any more."""
        self._is_closed = True
        for one in self._under_way:
            if one.limit is not None:
                one.limit.end()
        self._under_way.clear()
        self._taken.clear()

    def _ask(self, one: _UnderWay, *, beside: bool = False) -> None:
        """Give a batch's ``asked`` sequences to the engine; ``_landed`` follows, never within this call."""
        running = self._engine.run(one.batch.lane, [item.ids for item in one.asked], beside=beside)
        running.add_done_callback(partial(_call_on, asyncio.get_running_loop(), partial(self._landed, one)))

    def _landed(self, one: _UnderWay, answered: Future[Run | Failed]) -> None:
        """Hear on the loop that the engine has answered what a batch asked."""
        if self._is_closed:
            return
        if one.limit is not None:
            one.limit.end()
        try:
            self._take(one, answered.result())
        except BaseException as error:  # noqa: BLE001 - the engine's end, or a bug: nobody must be left hanging
            self._under_way.discard(one)
            self._on_broken(error)

    def _take(self, one: _UnderWay, run: Run | Failed) -> None:
        """Hand out what the engine said, and ask it again or end."""
        seconds = run.finished_at - run.started_at
        one.engine_s += seconds
        if isinstance(run, Run):
            for item, logits in zip(one.asked, run.logits, strict=True):
                self._pending.deliver(item, logits, run)
        elif len(one.asked) == 1:
            self._pending.fail(one.asked[0].work_id, _engine_failed(run.error))
        if one.whole is None:
            one.whole = run
            self._scheduler.completed(one.batch, seconds if isinstance(run, Run) else None)
            if isinstance(run, Failed):
                self._log.error("batch_failed", variant=one.batch.lane.variant, exc_info=run.error)
                one.to_try.extend(one.batch.items if len(one.batch.items) > 1 else ())
        while one.to_try:
            item = one.to_try.popleft()
            if self._pending.awaits(item.work_id):
                one.asked = (item,)
                one.limit = self._limit_of(one.batch)
                self._ask(one)
                return
        self._end(one, one.whole)

    def _end(self, one: _UnderWay, whole: Run | Failed) -> None:
        batch, failed = one.batch, isinstance(whole, Failed)
        self._under_way.remove(one)
        # Of the whole device: a replica that works while the others are idle keeps a part of it busy.
        share = 1 / self.num_replicas if batch.beside else 1.0
        self.busy_s += one.engine_s * share
        self.num_ended += 1
        if self._tells_each:
            self._tell(one, failed=failed)
        self._observer.batch_ended(
            BatchReport(
                variant=self._roster.name_of(batch.lane),
                cut=batch.cut.value,
                num_tokens=batch.load.num_tokens,
                num_sequences=len(batch.items),
                max_tokens=self._scheduler.budget(batch),
                engine_s=one.engine_s,
                predicted_s=batch.predicted_s,
                failed=failed,
                started_at=whole.started_at,
                traces=one.traces,
                share=share,
            )
        )
        self._on_ended()

    def _tell(self, one: _UnderWay, *, failed: bool) -> None:
        batch, shape = one.batch, self._roster.shape_of(one.batch.lane)
        self._log.debug(
            "batch_ran",
            dtype=shape.dtype,
            layer=shape.layer,
            beside=batch.beside,
            crowded=batch.crowded,
            sequences=len(batch.items),
            tokens=batch.load.num_tokens,
            squares=batch.load.num_squares,
            predicted_s=round(batch.predicted_s, 6),
            engine_s=round(one.engine_s, 6),
            failed=failed,
        )

    def _limit_of(self, batch: Dispatch) -> Limit | None:
        """Watch how long a batch takes, with those that are before it in the engine."""
        if not self._stuck_batch_s:
            return None
        expected = [one.batch.predicted_s for one in self._under_way]
        seconds = limit_s(self._stuck_batch_s, sum(expected) if all(expected) else 0.0)
        return Limit(seconds, lambda: self._stuck(batch, seconds), clock=self._clock)

    def _stuck(self, batch: Dispatch, seconds: float) -> None:
        """Give up a device that does not come back: only a new process makes it work, if anything does."""
        self._log.error(
            "batch_stuck",
            variant=self._roster.name_of(batch.lane),
            num_tokens=batch.load.num_tokens,
            predicted_s=round(batch.predicted_s, 3),
            waited_s=round(seconds, 3),
        )
        self._on_broken(EngineError("A batch did not come back from the device."))


def _call_on(
    loop: asyncio.AbstractEventLoop,
    landed: Callable[[Future[Run | Failed]], None],
    answered: Future[Run | Failed],
) -> None:
    """Ask a loop to make a call; in whatever thread the answer came."""
    with suppress(RuntimeError):  # the loop is closed, and with it everybody who waited
        loop.call_soon_threadsafe(landed, answered)


def _engine_failed(error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    return EngineError(
        f"The device failed on this request ({type(error).__name__}), also when it ran alone; "
        "others were answered. Send it again later, or in smaller parts."
    )
