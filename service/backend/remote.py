"""The backend in another process, seen from an HTTP process.

Rules: the same calls as the local one's, framed over a Unix socket. A work ends once: by its answer, by
its refusal, by its deadline, because nobody waits, or because the link ended before any of these; what comes
later for it is dropped. While there is no backend at the other end nothing is sent, and every submit says
so at once. Whoever holds the listening socket keeps it open over the backend's deaths, so that connecting
never has to be tried again and again: it waits in the socket's queue for the next backend. One that says
nothing for too long counts as gone, whether its process still exists or not. A backend that comes after
another is ready from here once what it serves is what is asked of it here: the same as before, or adopted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from service.backend.frames import FrameError
from service.backend.heartbeat import Heartbeat
from service.backend.link import Link
from service.backend.messages import Answer, Cancel, Read, Refusal, State, Submit, decode, encode
from service.backend.naming import Naming
from service.backend.pending import too_late
from service.backend.phase import REPLACED, WHY_NOT_READY
from service.domain import BackendStatistics, Phase
from service.errors import NotReadyError, QueueFullError

if TYPE_CHECKING:
    from collections.abc import Sequence as Many
    from pathlib import Path

    from service.backend.clock import Clock
    from service.backend.frames import Frame
    from service.backend.heartbeat import Patience
    from service.domain import Outcome, VariantCard, Work

_UNKNOWN = BackendStatistics(
    queue_requests=0, queue_tokens=0, engine_busy_s=0.0, num_batches=0, ready=False, phase=Phase.STARTING
)
# A backend that takes connections and ends them at once must not keep its front ends busy with that.
_BETWEEN_TRIES_S = 0.2
# Long enough for a busy machine; what the backend said last stands in for one that takes longer.
_READ_S = 2.0


class RemoteBackend:
    """Submits to the backend behind a socket; implements ``domain.Backend``."""

    def __init__(self, path: Path, *, clock: Clock, patience: Patience | None = None) -> None:
        """Connect to nothing yet.

        ``path``: of the socket of a ``BackendListener``. ``patience``: with a backend that says nothing; None
        for patience without end.
        """
        self._path = path
        self._clock = clock
        self._link: Link | None = None
        self._statistics = _UNKNOWN
        self._cards: tuple[VariantCard, ...] = ()
        self._opened_cards: tuple[VariantCard, ...] = ()
        # What this process asks for, by our names, and whether the backend may serve others: from the end of
        # a link on, not from a swap, after which old weights stay for those who still ask for them.
        self._adopted: frozenset[str] = frozenset()
        self._is_behind = False
        self._naming = Naming()
        # Questions for the state that are not answered, in order; None where only a sign of life was wanted.
        self._reads: deque[asyncio.Future[None] | None] = deque()
        self._heartbeat = Heartbeat(
            patience, clock=clock, ask=lambda: self._ask(None), on_silence=self._silent
        )
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._changed = asyncio.Event()
        self._is_closed = False

    async def open(self) -> None:
        """Return once a backend takes work, however long that is.

        Raises:
            NotReadyError: this end was closed meanwhile.
        """
        pause_s = 0.0
        while not self._statistics.ready:
            if self._is_closed:
                raise NotReadyError(WHY_NOT_READY[Phase.CLOSED])
            self._changed.clear()
            if self._link is None:
                await asyncio.sleep(pause_s)
                pause_s = _BETWEEN_TRIES_S
                if not self._is_closed:  # while it slept
                    await self._connect()
            else:
                await self._changed.wait()
        self._opened_cards = self._cards

    def adopted(self) -> None:
        """Hear that what was served when ``open`` returned is what is asked for from now on."""
        self._adopted = _names(self._opened_cards)
        self._is_behind = self._link is None  # it went meanwhile, and the next one may serve something else

    async def changed(self) -> None:
        """Return once the backend is gone, or serves other variants than when ``open`` returned.

        Raises:
            NotReadyError: this end was closed.
        """
        while self._link is not None and self._cards is self._opened_cards:
            self._changed.clear()
            await self._changed.wait()
            if self._is_closed:
                raise NotReadyError(WHY_NOT_READY[Phase.CLOSED])

    async def submit(self, work: Work) -> Outcome:
        """Answer a work; cancelling the awaiting task gives it up.

        Raises:
            NotReadyError: there is no backend, it takes no work, or it died before it answered.
            QueueFullError, DeadlineError, EngineError: as the backend says.
        """
        link, statistics = self._link, self._statistics
        if link is None or not statistics.ready:
            raise NotReadyError(WHY_NOT_READY[self._phase_now()])
        theirs = self._naming.theirs(work.lane.variant)
        if theirs is None:
            raise NotReadyError(REPLACED)
        if work.deadline is not None and work.deadline <= self._clock.time():
            raise too_late()
        link.send(_submit_frame(work, theirs))
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[work.work_id] = future
        timer = None
        if work.deadline is not None:  # the backend keeps it too, unless it hangs
            delay_s = work.deadline - self._clock.time()
            timer = self._clock.call_later(delay_s, lambda: _fail(future, too_late()))
        try:
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            if self._waiting.pop(work.work_id, None) is not None:
                link.send(encode(Cancel(work_id=work.work_id)))

    async def read(self) -> BackendStatistics:
        """Ask the backend for its statistics; the last known ones where it does not say them soon."""
        if self._link is not None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            timer = self._clock.call_later(_READ_S, lambda: _resolve(future))
            self._ask(future)
            try:
                await future
            finally:
                timer.cancel()
        return self.statistics()

    def cards(self) -> Many[VariantCard]:
        """Describe every loaded variant of the latest backend."""
        return self._cards

    def statistics(self) -> BackendStatistics:
        """Return what the backend said last; not ready where it is gone, or others are asked for here."""
        phase = self._phase_now()
        if phase is Phase.READY and self._is_behind:
            phase = Phase.RESTARTING
        return replace(self._statistics, phase=phase, ready=self._statistics.ready and phase is Phase.READY)

    def close(self) -> None:
        """End the link; what is not answered raises NotReadyError where it is awaited."""
        self._is_closed = True
        self._heartbeat.stop()
        if self._link is not None:
            self._link.close()
        self._end(Phase.CLOSED)
        self._changed.set()

    def _phase_now(self) -> Phase:
        return Phase.CLOSED if self._is_closed else self._statistics.phase

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        link = Link(name="backend", on_frame=self._take, on_end=self._gone)
        self._link = link  # its state may come, and it may end, before the next line returns
        try:
            await loop.create_unix_connection(lambda: link, str(self._path))
        except OSError as error:
            self._link = None
            structlog.get_logger().warning("backend_not_connected", reason=error.strerror)

    def _ask(self, future: asyncio.Future[None] | None) -> None:
        """Ask for the state; its answers come in the order of the questions."""
        if self._link is not None:
            self._reads.append(future)
            self._link.send(encode(Read()))

    def _silent(self) -> None:
        """Treat a backend that gives no sign of life as gone; if it comes to itself, it hears of that too."""
        if self._link is not None:
            structlog.get_logger().error("backend_silent", num_pending=len(self._waiting))
            self._link.abort()

    def _take(self, frame: Frame) -> None:
        message = decode(frame)
        self._heartbeat.heard()
        match message:
            case Answer(work_id=work_id, outcome=outcome):
                future = self._waiting.pop(work_id, None)
                if future is not None and not future.done():
                    future.set_result(outcome)
            case Refusal(work_id=work_id, error=error):
                future = self._waiting.pop(work_id, None)
                if future is not None:
                    _fail(future, error)
            case State(statistics=statistics, cards=cards):
                self._statistics = statistics
                if cards is None:  # what was asked for; the rest it says of itself
                    _resolve(self._reads.popleft() if self._reads else None)
                else:
                    self._introduced(cards)
                self._changed.set()
            case _:
                raise FrameError(f"A backend does not say {type(message).__name__}.")

    def _introduced(self, cards: tuple[VariantCard, ...]) -> None:
        """Hear what is served; from now on signs of life are asked for: before, it may not have started."""
        named = self._naming.told(cards)
        if named != self._cards:
            self._cards = named
        if _names(named) == self._adopted:
            self._is_behind = False
        self._heartbeat.start()

    def _gone(self) -> None:
        self._link = None
        self._is_behind = True
        self._heartbeat.stop()
        self._naming.forget_backend()
        if not self._is_closed:
            structlog.get_logger().warning("backend_lost", num_pending=len(self._waiting))
            self._end(Phase.RESTARTING)
        self._changed.set()

    def _end(self, phase: Phase) -> None:
        self._statistics = replace(_UNKNOWN, phase=phase)
        reads, self._reads = self._reads, deque()
        for read in reads:
            _resolve(read)
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            _fail(future, NotReadyError(WHY_NOT_READY[phase]))


def _names(cards: tuple[VariantCard, ...]) -> frozenset[str]:
    """Return our names, each of which stands for one set of weights for ever."""
    return frozenset(card.served_as for card in cards)


def _submit_frame(work: Work, theirs: str) -> bytes:
    """``theirs``: what the backend calls the weights that the work asks for."""
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    if theirs != work.lane.variant:
        work = replace(work, lane=replace(work.lane, variant=theirs))
    try:
        return encode(Submit(work=work, request_id=request_id))
    except FrameError as error:
        raise QueueFullError("The request has more tokens than any queue takes. Send it in parts.") from error


def _fail(future: asyncio.Future[Outcome], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
