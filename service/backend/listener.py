"""The backend's end of the socket: front ends connect, and their works go to the backend of this process.

Rules: works of different front ends are kept apart by giving each an id of the backend's own; a front end
that goes takes its works with it, and one that sends garbage is treated as gone; nothing that it sends can
hurt the others. Each front end is told the backend's state when it connects and whenever that changes.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import structlog

from service.backend.frames import FrameError
from service.backend.link import Link
from service.backend.messages import Answer, Cancel, Read, Refusal, State, Submit, decode, encode
from service.errors import EngineError, ServiceError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from service.backend.frames import Frame
    from service.domain import Backend, Work


class BackendListener:
    """Lets other processes use a backend."""

    def __init__(self, backend: Backend) -> None:
        """Listen to nobody yet."""
        self._backend = backend
        self._connections: set[_Connection] = set()
        self._names = count(1)
        self._work_ids = count()
        self._server: asyncio.Server | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Take connections from a Unix socket that listens already."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._connected, sock=listener)

    def tell_state(self) -> None:
        """Say the state and the variants to every front end; call it whenever they have changed."""
        for connection in tuple(self._connections):
            connection.introduce()

    def close(self) -> None:
        """Take no more connections and end those that there are, once what was said has gone out."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.close()

    def _connected(self) -> Link:
        connection = _Connection(
            self._backend, name=f"front end {next(self._names)}", work_ids=self._work_ids, gone=self._gone
        )
        self._connections.add(connection)
        connection.introduce()  # sent in the next turn of the loop, when the link has its socket
        return connection.link

    def _gone(self, connection: _Connection) -> None:
        self._connections.discard(connection)


class _Connection:
    """One front end: its link and the tasks that answer it."""

    def __init__(
        self, backend: Backend, *, name: str, work_ids: Iterator[int], gone: Callable[[_Connection], object]
    ) -> None:
        self.link = Link(name=name, on_frame=self._take, on_end=self._end)
        self._backend = backend
        self._name = name
        self._work_ids = work_ids
        self._gone = gone
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def introduce(self) -> None:
        """Say the state and the variants."""
        cards = tuple(self._backend.cards())
        self.link.send(encode(State(statistics=self._backend.statistics(), cards=cards)))

    def close(self) -> None:
        self.link.close()

    def _take(self, frame: Frame) -> None:
        message = decode(frame)
        match message:
            case Submit(work=work, request_id=request_id):
                if work.work_id in self._tasks:
                    raise FrameError("A work came twice.")
                task = asyncio.get_running_loop().create_task(self._answer(work, request_id))
                self._tasks[work.work_id] = task
                task.add_done_callback(lambda _: self._tasks.pop(work.work_id))
            case Cancel(work_id=work_id):
                if work_id in self._tasks:  # else its answer is on its way
                    self._tasks[work_id].cancel()
            case Read():
                self.link.send(encode(State(statistics=self._backend.statistics())))
            case _:
                raise FrameError(f"A front end does not say {type(message).__name__}.")

    async def _answer(self, work: Work, request_id: str) -> None:
        known = {"request_id": request_id} if request_id else {}
        with structlog.contextvars.bound_contextvars(**known):
            frame = await self._frame_of(work)
        self.link.send(frame)

    async def _frame_of(self, work: Work) -> bytes:
        """Return what answers a work, whatever happens to it."""
        theirs = work.work_id
        try:
            _check(work)
            outcome = await self._backend.submit(replace(work, work_id=next(self._work_ids)))
            return encode(Answer(work_id=theirs, outcome=outcome))
        except ServiceError as error:
            return encode(Refusal(work_id=theirs, error=error))
        except FrameError as error:
            structlog.get_logger().error("answer_too_long", reason=str(error))
            too_long = EngineError("The answer is too long to be sent. Send the inputs in parts.")
            return encode(Refusal(work_id=theirs, error=too_long))
        except Exception as error:  # noqa: BLE001 - the front end waits for something, and the bug is logged
            structlog.get_logger().error("submit_failed", exc_info=error)
            failed = EngineError("The backend failed on this request; its log says where.")
            return encode(Refusal(work_id=theirs, error=failed))

    def _end(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._gone(self)


def _check(work: Work) -> None:
    """Keep from the scheduler what would break it for everybody; weights not loaded it refuses itself."""
    if not work.sequences or not all(map(len, work.sequences)):
        raise EngineError("The request holds a sequence without tokens. Send it again.")
