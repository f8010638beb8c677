"""Give up work for a client that has hung up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from service.errors import ClientGoneError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Receive

T = TypeVar("T")


async def unless_gone(receive: Receive, work: Awaitable[T], *, grace_s: float = 0.0) -> T:
    """Return what the work returns; cancel it as soon as the client hangs up.

    The request's body must have been read: what is received after it is the hanging up. ``grace_s``: how
    long the work goes on unwatched, since watching costs a task.

    Raises:
        ClientGoneError: the client hung up first.
    """
    task = asyncio.current_task()
    assert task is not None, "A request is answered outside of a task. This is a bug."
    watch = _Watch(receive, task)
    beginning = asyncio.get_running_loop().call_later(grace_s, watch.begin) if grace_s > 0.0 else None
    if beginning is None:
        watch.begin()
    try:
        return await work
    except asyncio.CancelledError:
        # The watch's cancellation ends here; anybody else's, such as the server's, goes on.
        if watch.client_is_gone and not task.uncancel():
            raise ClientGoneError("The client hung up before its answer was ready.") from None
        raise
    finally:
        if beginning is not None:
            beginning.cancel()
        watch.end()


class _Watch:
    """Cancels a task when its client hangs up, unless the task is over by then."""

    def __init__(self, receive: Receive, task: asyncio.Task[object]) -> None:
        self._receive = receive
        self._task = task
        self._watching: asyncio.Task[None] | None = None
        self._is_over = False
        self.client_is_gone = False

    def begin(self) -> None:
        self._watching = asyncio.get_running_loop().create_task(self._run())

    def end(self) -> None:
        self._is_over = True
        if self._watching is not None:
            self._watching.cancel()

    async def _run(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._is_over:
            self.client_is_gone = True
            self._task.cancel()
