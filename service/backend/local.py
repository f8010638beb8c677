"""The backend in this process: asks the scheduler, obeys it, and feeds the engine.

Rules: all of it runs on the event loop, and nothing here waits for the device. Whatever
happens (work came, was given up or is due, a batch is done) wakes the pump once, which asks
the scheduler until it has nothing more to dispatch; nothing polls. Every admitted work ends
in exactly one way (``pending.py``); what becomes of a batch is in ``batches.py``. The file is long
because weights that come while others serve go through the same engine and scheduler; what is
known of them is in ``roster.py``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import structlog

from service.backend.batches import Batches
from service.backend.calibration import calibrate
from service.backend.canary import Canary
from service.backend.pending import PendingWorks, too_late
from service.backend.phase import REPLACED, WHY_NOT_READY
from service.backend.roster import Roster
from service.batching.decisions import Dispatch, Idle, Limits, WaitUntil
from service.batching.scheduler import Scheduler
from service.domain import BackendStatistics, Phase
from service.engine.contract import Failed
from service.engine.warm_up import default_lane
from service.errors import EngineError, NotReadyError, StartupError, loading_failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence as Many

    from models.variant import Variant
    from service.backend.clock import Clock, Timer
    from service.domain import Observer, Outcome, VariantCard, Work
    from service.engine.contract import Engine
    from service.engine.device import Loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A variant was replaced, or added. ``before``: as what the old weights are served; None if added."""

    before: str | None


class LocalBackend:
    """Owns the scheduler and the engine; implements ``domain.Backend``."""

    def __init__(  # noqa: PLR0913 - what it joins, and two numbers
        self,
        *,
        engine: Engine,
        limits: Limits,
        num_slots: int,
        clock: Clock,
        observer: Observer,
        canary_interval_s: float = 0.0,
        stuck_batch_s: float = 0.0,
        on_broken: Callable[[], object] = lambda: None,
    ) -> None:
        """Start nothing.

        ``num_slots``: batches with the engine at once, prefetched ones included. ``canary_interval_s``: in
        which each variant is asked whether its answers are still the same; 0 for never. ``stuck_batch_s``:
        the least time after which a batch counts as stuck (``stuck.py``); 0 for never.
        ``on_broken``: called when only a new backend helps.
        """
        self._engine = engine
        self._limits = limits
        self._num_slots = num_slots
        self._on_broken = on_broken
        self._clock = clock
        self._roster = Roster()
        self._scheduler = Scheduler(limits, self._roster.shape_of)
        self._phase = Phase.STARTING
        self._pending = PendingWorks(clock, on_deadline=self._wake)
        self._batches = Batches(
            engine=engine,
            scheduler=self._scheduler,
            pending=self._pending,
            roster=self._roster,
            clock=clock,
            observer=observer,
            stuck_batch_s=stuck_batch_s,
            on_ended=self._wake,
            on_broken=self._break,
        )
        self._next_pump: asyncio.Handle | None = None
        self._timer: Timer | None = None
        self._canary = Canary(self.submit, clock=clock, interval_s=canary_interval_s)

    async def start(self, *, calibrate_budget: bool) -> None:
        """Load and warm up every variant, then take work.

        ``calibrate_budget``: let what warm-up measured lower the limits' token budget.

        Raises:
            StartupError: a variant cannot be served.
            NotReadyError: the backend was closed meanwhile.
        """
        warm = await asyncio.wrap_future(self._engine.start(max_batch_tokens=self._limits.max_batch_tokens))
        self._roster.begin(warm.loaded)
        calibrate(self._scheduler, warm, limits=self._limits, calibrate_budget=calibrate_budget)
        if warm.num_replicas > 1:
            # Nothing is prefetched: while one replica waits for its next batch, the others use the cores.
            self._num_slots = self._batches.num_replicas = warm.num_replicas
            self._scheduler.use_replicas(warm.num_replicas)
        for loaded in warm.loaded:
            await self._watch(loaded)
        if self._phase is Phase.STARTING:
            self._phase = Phase.READY
            self._canary.start()

    async def submit(self, work: Work) -> Outcome:
        """Answer a work; cancelling the awaiting task gives it up.

        Raises:
            NotReadyError: the backend takes no work, or closed before it was answered.
            QueueFullError: its tokens do not fit in the queue.
            DeadlineError: its deadline passed.
            EngineError: the device cannot run it.
        """
        if self._phase is not Phase.READY:
            raise NotReadyError(WHY_NOT_READY[self._phase])
        if not self._roster.takes(work.lane):
            raise NotReadyError(REPLACED)
        now = self._clock.time()
        if work.deadline is not None and work.deadline <= now:
            raise too_late()
        self._scheduler.admit(work, now)
        future = self._pending.add(work)
        self._wake()
        try:
            return await future
        finally:
            self._pending.remove(work.work_id)
            if self._scheduler.cancel(work.work_id):
                self._wake()

    def cards(self) -> Many[VariantCard]:
        """Describe every loaded variant; none before the backend has started."""
        return self._roster.cards()

    async def load(self, variant: Variant, *, is_new: bool) -> Change | None:
        """Serve a variant's present weights, loaded while the old ones answer; one call at a time.

        ``is_new``: also where the digest is that of the weights that are served. Returns None where
        nothing changed.

        Raises:
            StartupError: it cannot be served; what was served before still is.
            NotReadyError: the backend was closed meanwhile.
        """
        try:
            loaded = await self._load_beside(variant, is_new=is_new)
        except NotReadyError:
            raise
        except StartupError:
            self.load_failed(variant.name)
            raise
        except Exception as error:
            structlog.get_logger().exception("load_failed", variant=variant.name)
            self.load_failed(variant.name)
            raise loading_failed(error) from error
        return None if loaded is None else Change(before=self._roster.serve(loaded))

    def load_failed(self, variant: str) -> None:
        """Count a load that failed before it began."""
        self._roster.load_failed(variant)

    def withdraw(self, variant: str) -> str:
        """Serve a variant no more; returns as what it was served, to be retired."""
        self._canary.forget(variant)
        return self._roster.withdraw(variant)

    async def retire(self, served_as: str) -> None:
        """Let weights go when the last work that asks for them has ended; later ones are refused."""
        self._roster.refuse(served_as)
        await self._pending.ended_of(served_as)
        await self._let_go(served_as)

    def statistics(self) -> BackendStatistics:
        """Read gauges and counters."""
        scheduler = self._scheduler.statistics()
        errors = [cost.error_p90 for cost in scheduler.costs if cost.error_p90 is not None]
        alive = self._phase is Phase.STARTING or (self._phase is not Phase.BROKEN and self._engine.alive)
        return BackendStatistics(
            queue_requests=scheduler.queue_requests,
            queue_tokens=scheduler.queue_tokens,
            engine_busy_s=self._batches.busy_s,
            num_batches=self._batches.num_ended,
            ready=alive and self._phase is Phase.READY,
            alive=alive,
            phase=self._phase,
            backlog_s=scheduler.backlog_s,
            cost_error_p90=max(errors, default=None),
            canaries=self._canary.statistics(),
            num_loads=dict(self._roster.num_loads),
            num_failed_loads=dict(self._roster.num_failed_loads),
        )

    async def drain(self, timeout_s: float) -> bool:
        """Take no more work and wait for what was admitted; return whether all of it was answered."""
        if self._phase in (Phase.STARTING, Phase.READY):
            self._phase = Phase.DRAINING
        return await self._pending.ended(timeout_s)

    def close(self) -> None:
        """Stop the engine; what is not answered raises NotReadyError where it is awaited."""
        self._phase = Phase.CLOSED
        self._pending.fail_all(NotReadyError(WHY_NOT_READY[Phase.CLOSED]))
        self._engine.stop()
        self._batches.close()
        self._canary.close()
        for handle in (self._timer, self._next_pump):
            if handle is not None:
                handle.cancel()

    async def _load_beside(self, variant: Variant, *, is_new: bool) -> Loaded | None:
        digest = None if is_new else self._roster.digest_of(variant.name)
        generation = self._roster.generation_of(variant.name)
        loaded = await asyncio.wrap_future(
            self._engine.prepare(variant, generation=generation, digest=digest)
        )
        if loaded is None:
            return None
        served_as = loaded.card.served_as
        self._roster.add(loaded)
        try:
            await asyncio.wrap_future(self._engine.install(loaded))
        except Exception:  # what could not be installed, the engine has let go of
            self._roster.forget(served_as)
            raise
        try:
            await self._watch(loaded)
        except Exception:
            await self._let_go(served_as)
            raise
        return loaded

    async def _let_go(self, served_as: str) -> None:
        """Drop weights that no work asks for, once the batches that were cut of them have been reported."""
        await asyncio.wrap_future(self._engine.drop(served_as))
        self._roster.forget(served_as)

    async def _watch(self, loaded: Loaded) -> None:
        """Ask a new variant's canary once, so that its answers can be held to these."""
        if not (self._canary.is_on and loaded.canary):
            return
        lane = default_lane(loaded.card)
        run = await asyncio.wrap_future(self._engine.run(lane, loaded.canary))
        if isinstance(run, Failed):
            raise StartupError(
                f"Variant {loaded.card.name} cannot answer its canary on this device: "
                f"{type(run.error).__name__}."
            ) from run.error
        self._canary.watch(loaded.card, lane, loaded.canary, run.logits)

    def _wake(self) -> None:
        """Let the pump run once, after everything that happens in this turn of the loop."""
        if self._next_pump is None and self._phase is not Phase.CLOSED:
            self._next_pump = asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._next_pump = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._obey()
        except Exception as error:  # noqa: BLE001 - a bug below must not leave every request hanging
            self._break(error)

    def _obey(self) -> None:
        while True:
            now = self._clock.time()
            for work_id in self._scheduler.expire(now):
                self._pending.fail(work_id, too_late())
            decision = self._scheduler.decide(now, self._num_slots - len(self._batches))
            match decision:
                case Dispatch():
                    self._batches.take(decision)
                case WaitUntil(at=at):
                    self._timer = self._clock.call_later(at - now, self._wake)
                    break
                case Idle():
                    break
                case _:
                    assert_never(decision)
        self._batches.begin()

    def _break(self, error: BaseException) -> None:
        """Give up in a state that was thought impossible, and say so, rather than hang."""
        if self._phase is not Phase.CLOSED:
            self._phase = Phase.BROKEN
            structlog.get_logger().error("backend_broken", exc_info=error)
            self._on_broken()
        self._pending.fail_all(EngineError("The service failed while working on this. Send it again later."))
