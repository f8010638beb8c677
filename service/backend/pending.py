"""Works that were admitted and are not answered, and the one way in which each of them ends.

Rules: a work's future is resolved once, by whatever comes first: its last sequence, its
deadline, a failure, or its caller who no longer waits. What comes later is dropped here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.domain import Outcome
from service.errors import DeadlineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence as Many

    import numpy as np
    from numpy.typing import NDArray

    from service.backend.clock import Clock, Timer
    from service.batching.decisions import Item
    from service.domain import TraceContext, Work
    from service.engine.contract import Run
    from service.errors import ServiceError


@dataclass(slots=True, kw_only=True, eq=False)
class _Pending:
    work: Work
    future: asyncio.Future[Outcome]
    logits: list[NDArray[np.float32] | None]
    num_missing: int
    timer: Timer | None = None


class PendingWorks:
    """Owns the futures of admitted works."""

    def __init__(self, clock: Clock, *, on_deadline: Callable[[], object]) -> None:
        """Start empty. ``on_deadline``: called after a work has failed by its deadline."""
        self._clock = clock
        self._on_deadline = on_deadline
        self._by_id: dict[int, _Pending] = {}

    def awaits(self, work_id: int) -> bool:
        """Whether somebody still waits for a work."""
        pending = self._by_id.get(work_id)
        return pending is not None and not pending.future.done()

    def traces(self, items: Many[Item]) -> tuple[TraceContext, ...]:
        """Return the traces of the works that these sequences belong to, each once."""
        works = (self._by_id.get(work_id) for work_id in {item.work_id: None for item in items})
        return tuple(one.work.trace for one in works if one is not None and one.work.trace is not None)

    def add(self, work: Work) -> asyncio.Future[Outcome]:
        """Return the future of a work; it fails by itself at the work's deadline."""
        pending = _Pending(
            work=work,
            future=asyncio.get_running_loop().create_future(),
            logits=[None] * len(work.sequences),
            num_missing=len(work.sequences),
        )
        self._by_id[work.work_id] = pending
        self._watch_deadline(pending)
        return pending.future

    def remove(self, work_id: int) -> None:
        """Forget a work, however it ended."""
        pending = self._by_id.pop(work_id)
        if pending.timer is not None:
            pending.timer.cancel()

    def deliver(self, item: Item, logits: NDArray[np.float32], run: Run) -> None:
        """Give a sequence's logits to its work, unless nobody waits for it any more."""
        pending = self._by_id.get(item.work_id)
        if pending is None or pending.future.done():
            return
        assert pending.logits[item.index] is None, "A sequence was answered twice. This is a bug."
        pending.logits[item.index] = logits
        pending.num_missing -= 1
        if not pending.num_missing:
            pending.future.set_result(
                Outcome(
                    logits=tuple(part for part in pending.logits if part is not None),
                    queue_s=max(0.0, run.started_at - pending.work.arrived_at),
                    infer_s=run.finished_at - run.started_at,
                )
            )

    def fail(self, work_id: int, error: ServiceError) -> None:
        """End a work in an error, unless it has ended."""
        pending = self._by_id.get(work_id)
        if pending is not None and not pending.future.done():
            pending.future.set_exception(error)

    def fail_all(self, error: ServiceError) -> None:
        """End every work in an error."""
        for work_id in tuple(self._by_id):
            self.fail(work_id, error)

    async def ended_of(self, variant: str) -> None:
        """Wait until the works of a lane's variant that are pending now have ended."""
        futures = [one.future for one in self._by_id.values() if one.work.lane.variant == variant]
        if futures:
            await asyncio.wait(futures)

    async def ended(self, timeout_s: float) -> bool:
        """Wait until every work that is pending now has ended; False if one has not by then."""
        futures = [pending.future for pending in self._by_id.values()]
        if not futures:
            return True
        _, late = await asyncio.wait(futures, timeout=timeout_s)
        return not late

    def _watch_deadline(self, pending: _Pending) -> None:
        """Fail a work at its deadline, also where the scheduler no longer knows it: it is running."""
        deadline = pending.work.deadline
        if deadline is None or pending.future.done():
            return
        remaining_s = deadline - self._clock.time()
        if remaining_s > 0.0:  # a timer may come early by the loop's resolution
            pending.timer = self._clock.call_later(remaining_s, lambda: self._watch_deadline(pending))
            return
        pending.future.set_exception(too_late())
        self._on_deadline()


def too_late() -> DeadlineError:
    """Return what a client is told whose deadline has passed."""
    return DeadlineError(
        "The deadline passed before the answer was ready. Send fewer inputs at once, "
        "or allow more time in X-Request-Timeout-Ms."
    )
