"""The supervisor as a child sees it: orders come from it, news and readings go to it.

Rules: a child leaves signals to the supervisor, since a terminal and some service managers send them to every
process at once, and the order in which processes end matters. A child whose supervisor is gone ends too.
"""

from __future__ import annotations

import asyncio
import signal
import struct
import sys
from itertools import count
from typing import TYPE_CHECKING

from service.backend.frames import FrameError
from service.backend.link import Link
from service.errors import NotReadyError
from service.observability.families import to_bytes
from service.observability.logs import configure_logs
from service.processes.orders import LAST, Order, order_bytes, read_order

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from service.backend.frames import Frame
    from service.observability.families import Families
    from service.settings import Settings

# It only adds up; one that takes longer is stuck.
_EXPOSE_S = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def begin_child(name: str, settings: Settings) -> None:
    """Leave signals to the supervisor and log under a name of one's own; call it first."""
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    configure_logs(level=settings.log_level, form=settings.log_format, stream=sys.stdout, process=name)


class Superior:
    """A child's end of the socket to its supervisor."""

    def __init__(
        self,
        *,
        read: Callable[[], object],
        families: Callable[[], Families],
        on_drain: Callable[[], object],
        on_give_up: Callable[[], object],
        on_reload: Callable[[], object] = lambda: None,
    ) -> None:
        """Hear nothing yet. A supervisor that is gone asks to give up and to drain.

        ``read``: brings the child's metrics up to date, on the event loop. ``families``: returns them; in a
        thread, since that takes milliseconds.
        """
        self._read = read
        self._families = families
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_drain = on_drain
        self._on_give_up = on_give_up
        self._on_reload = on_reload
        self._link = Link(name="supervisor", on_frame=self._take, on_end=self._gone)
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[tuple[bytes, str]]] = {}

    async def connect(self, sock: socket.socket) -> None:
        """Obey what comes from a socket."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self._link, sock=sock)

    def tell(self, order: Order, said: str = "") -> None:
        """Tell of oneself."""
        self._link.send(order_bytes(order, said.encode()))

    async def leave(self) -> None:
        """Give the last reading and end the link."""
        self._on_drain = self._on_give_up = _nothing
        await self._give_reading(LAST)
        self._link.close()
        await self._link.ended()

    async def expose(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics of every process, as body and content type.

        Raises:
            NotReadyError: the supervisor does not answer.
        """
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        self._link.send(order_bytes(Order.EXPOSE, accept.encode(), number=number))
        try:
            async with asyncio.timeout(_EXPOSE_S):
                return await self._asked[number]
        except TimeoutError as error:
            raise NotReadyError("The metrics of all processes cannot be read now. Ask again.") from error
        finally:
            del self._asked[number]

    def _take(self, frame: Frame) -> None:
        try:
            number, content = read_order(frame.payload)
        except struct.error as error:
            raise FrameError("An order has no number.") from error
        match frame.kind:
            case Order.ASK_ALIVE:
                self.tell(Order.ALIVE)
            case Order.READ:
                task = asyncio.get_running_loop().create_task(self._give_reading(number))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Order.EXPOSITION:
                content_type, _, body = content.partition(b"\0")
                future = self._asked.get(number)
                if future is not None and not future.done():
                    future.set_result((body, content_type.decode()))
            case Order.DRAIN:
                self._on_drain()
            case Order.GIVE_UP:
                self._on_give_up()
            case Order.RELOAD:
                self._on_reload()
            case _:
                raise FrameError(f"A supervisor does not say {frame.kind}.")

    async def _give_reading(self, number: int) -> None:
        self._read()
        written = await asyncio.to_thread(lambda: to_bytes(self._families()))
        self._link.send(order_bytes(Order.READING, written, number=number))

    def _gone(self) -> None:
        self._on_give_up()
        self._on_drain()


def _nothing() -> None:
    """Obey nobody."""
