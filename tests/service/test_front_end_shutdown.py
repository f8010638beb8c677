"""What becomes of those who connect to a front end that ends, whose socket the supervisor still holds."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

import pytest
import uvicorn

from service.processes.front_end import _ManagedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from service.processes.orders import Order
    from service.processes.superior import Superior
    from service.service import Service

pytestmark = pytest.mark.anyio


class Told:
    """A supervisor's end that hears when the front end listens."""

    def __init__(self) -> None:
        self.news = asyncio.Event()

    async def connect(self, sock: socket.socket) -> None:
        sock.close()

    def tell(self, order: Order) -> None:
        del order  # there is but one
        self.news.set()

    async def leave(self) -> None:
        return


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nobody: nobody asks."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens at a port of its own choice, as the supervisor makes them.

    A port that the system chose is given back when the socket listens no more, and anybody may then have it.
    """
    with socket.socket() as keeper, socket.socket() as listener:
        for one in (keeper, listener):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keeper.bind(("127.0.0.1", 0))
        listener.bind(keeper.getsockname())
        listener.listen()
        yield listener


async def test_who_comes_too_late_is_refused_at_once(listener: socket.socket) -> None:
    superior = Told()
    server = _ManagedServer(
        uvicorn.Config(nothing, lifespan="off", log_config=None),
        service=cast("Service", None),
        drain_timeout_s=1.0,
        superior=cast("Superior", superior),
        control=socket.socket(socket.AF_UNIX),
    )
    with listener.dup() as held:  # as the supervisor does, until the process has ended
        address = held.getsockname()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with asyncio.timeout(240.0):
            await superior.news.wait()
            _, writer = await asyncio.open_connection(*address)
            writer.close()
            server.should_exit = True
            await serving
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
