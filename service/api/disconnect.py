"""Give up work for a client that has hung up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from service.errors import ClientGoneError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from starlette.types import Receive

T = TypeVar("T")


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns; cancel it as soon as the client hangs up.

    The request's body must have been read: what is received after it is the hanging up.

    Raises:
        ClientGoneError: the client hung up first.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError("The client hung up before its answer was ready.")
    finally:
        for task in (working, watching):
            task.cancel()
        # Both must be over before the request is: they hold its channel and its place in the queue.
        await asyncio.gather(working, watching, return_exceptions=True)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
