"""One process of the service as the supervisor sees it, from its start to its end.

Rules: a child is started afresh (no fork), so that it shares nothing but the sockets that it is given. It has
ended when the system says so and everything that it had to say has been read.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from contextlib import suppress
from itertools import count
from multiprocessing import get_context, resource_tracker
from typing import TYPE_CHECKING, Any

from service.backend.clock import LoopClock
from service.backend.frames import FrameError
from service.backend.heartbeat import Heartbeat
from service.backend.link import Link
from service.observability.families import from_bytes
from service.processes.orders import LAST, Order, order_bytes, read_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.backend.frames import Frame
    from service.backend.heartbeat import Patience
    from service.observability.families import Families

# Long enough for a busy machine; what a process told before stands in for one that takes longer.
_READ_S = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Child:
    """A process, and the socket to it."""

    def __init__(
        self,
        name: str,
        *,
        on_news: Callable[[Child, Order], object],
        on_expose: Callable[[Child, int, str], object],
        patience: Patience | None = None,
        on_silence: Callable[[Child], object] = lambda _: None,
    ) -> None:
        """Start nothing.

        ``on_news``: called when it listens, is ready or has failed. ``patience``: with a child that was ready
        and gives no sign of life; ``on_silence``: called at its end, before the child is killed.
        """
        self.name = name
        self.failure: str | None = None
        self.is_ready = False
        self.last_reading: Families = ()
        self._on_news = on_news
        self._on_expose = on_expose
        self._link = Link(name=name, on_frame=self._take, on_end=self._gone)
        self._on_silence = on_silence
        # From when it is ready: before, importing torch from a cold disk may keep the interpreter for long.
        self._heartbeat = Heartbeat(
            patience,
            clock=LoopClock(),
            ask=lambda: self.order(Order.ASK_ALIVE),
            on_silence=self._silent,
        )
        self._has_left = False
        self._is_cut_off = False
        self._readings: dict[int, asyncio.Future[None]] = {}
        self._numbers = count(1)

    async def start(self, main: Callable[..., object], **arguments: Any) -> None:
        """Start the process: its main function gets these arguments and ``control``, its socket to here.

        It starts with signals blocked: what comes before it ignores them must not end it.
        """
        ours, theirs = socket.socketpair()
        self._process = get_context("spawn").Process(
            target=main, name=self.name, kwargs=arguments | {"control": theirs}
        )
        resource_tracker.ensure_running()  # else it is started with the child, and unblocks signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        await asyncio.get_running_loop().create_unix_connection(lambda: self._link, sock=ours)

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid

    async def ended(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._process.sentinel, _resolve, future)
        try:
            await future
        finally:
            loop.remove_reader(self._process.sentinel)
        await self._link.ended()
        self._process.join()
        code = self._process.exitcode
        assert code is not None, "A process has ended without an exit code. This is a bug."
        return code

    def order(self, order: Order, content: bytes = b"", *, number: int = 0) -> None:
        """Tell it what to do."""
        self._link.send(order_bytes(order, content, number=number))

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()

    async def read(self) -> Families:
        """Return its metrics; its last ones where it does not answer."""
        if self._is_cut_off:
            return self.last_reading
        number = next(self._numbers)
        future = self._readings[number] = asyncio.get_running_loop().create_future()
        self.order(Order.READ, number=number)
        with suppress(TimeoutError):
            async with asyncio.timeout(_READ_S):
                await future
        self._readings.pop(number, None)
        return self.last_reading

    def _take(self, frame: Frame) -> None:
        self._heartbeat.heard()
        try:
            number, content = read_order(frame.payload)
            match frame.kind:
                case Order.ALIVE:
                    pass
                case Order.READING:
                    self.last_reading = from_bytes(content)
                    self._has_left = self._has_left or number == LAST
                    _resolve(self._readings.pop(number, None))
                case Order.EXPOSE:
                    self._on_expose(self, number, content.decode())
                case Order.FAILED:
                    self.failure = content.decode()
                case Order.LISTENING | Order.READY:
                    if frame.kind == Order.READY:
                        self.is_ready = True
                        self._heartbeat.start()
                    self._on_news(self, Order(frame.kind))
                case _:
                    raise FrameError(f"A child does not say {frame.kind}.")
        except (struct.error, ValueError, TypeError) as error:
            raise FrameError("An order does not add up.") from error

    def _silent(self) -> None:
        """End a process that hangs; one that is stopped dies of nothing less."""
        self._on_silence(self)
        self.kill()

    def _gone(self) -> None:
        """End a process that is cut off from here; whoever waits for a reading gets the last one."""
        self._heartbeat.stop()
        self._is_cut_off = True
        if not self._has_left:
            self._process.kill()
        for future in self._readings.values():
            _resolve(future)


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
