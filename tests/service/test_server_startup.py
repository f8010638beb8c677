"""What a server does before it takes connections."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import TYPE_CHECKING, cast

import pytest
import uvicorn

from service.server import DrainingServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from service.service import Service

pytestmark = pytest.mark.anyio
PYTHONS_OWN = 700


@pytest.fixture(autouse=True)
def _threshold() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(PYTHONS_OWN, *before[1:])
    yield
    gc.set_threshold(*before)


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nobody: nobody asks."""


async def test_requests_under_way_set_off_no_search_for_garbage() -> None:
    """Python's own threshold is that of a program that does one thing at a time."""
    listener = socket.create_server(("127.0.0.1", 0))
    listening = asyncio.Event()
    config = uvicorn.Config(nothing, lifespan="off", log_config=None)
    server = DrainingServer(
        config, service=cast("Service", None), drain_timeout_s=1.0, on_listening=listening.set
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(240.0):
        await asyncio.wait(
            {serving, asyncio.ensure_future(listening.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        assert gc.get_threshold()[0] >= 10_000
        server.should_exit = True
        await serving
