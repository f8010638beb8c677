"""Work is given up when its client hangs up, and for no other reason."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.api.disconnect import unless_gone
from service.errors import ClientGoneError

pytestmark = pytest.mark.anyio


class Client:
    """The receiving side of a request whose body has been read."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.given_up = False

    async def receive(self) -> dict[str, Any]:
        try:
            await self.gone.wait()
        except asyncio.CancelledError:
            self.given_up = True
            raise
        return {"type": "http.disconnect"}


class Job:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.cancelled = False

    async def work(self) -> str:
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "done"


async def test_work_that_ends_first_is_returned_and_nobody_listens_on() -> None:
    client, job = Client(), Job()
    waiting = asyncio.ensure_future(unless_gone(client.receive, job.work()))
    await asyncio.sleep(0)
    job.end.set()
    assert await waiting == "done"
    await asyncio.sleep(0)
    assert client.given_up


async def test_a_client_that_hangs_up_cancels_the_work() -> None:
    client, job = Client(), Job()
    waiting = asyncio.ensure_future(unless_gone(client.receive, job.work()))
    await asyncio.sleep(0)
    client.gone.set()
    with pytest.raises(ClientGoneError):
        await waiting
    assert job.cancelled


async def test_an_error_of_the_work_goes_through() -> None:
    async def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await unless_gone(Client().receive, fail())


async def test_a_cancellation_from_outside_stays_one() -> None:
    client, job = Client(), Job()
    waiting = asyncio.ensure_future(unless_gone(client.receive, job.work()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert job.cancelled


async def test_a_cancellation_from_outside_wins_over_the_clients() -> None:
    client, job = Client(), Job()
    waiting = asyncio.ensure_future(unless_gone(client.receive, job.work()))
    await asyncio.sleep(0)
    client.gone.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_is_received_besides_the_hanging_up_is_passed_over() -> None:
    messages = iter([{"type": "http.request", "body": b""}])
    client = Client()

    async def receive() -> dict[str, Any]:
        return next(messages, None) or await client.receive()

    job = Job()
    waiting = asyncio.ensure_future(unless_gone(receive, job.work()))
    await asyncio.sleep(0)
    assert not waiting.done()
    job.end.set()
    assert await waiting == "done"


async def test_work_that_ends_as_the_client_hangs_up_leaves_no_cancellation_behind() -> None:
    client, job = Client(), Job()

    async def request() -> str:
        try:
            result = await unless_gone(client.receive, job.work())
        except ClientGoneError:
            result = "gone"
        await asyncio.sleep(0)  # would raise if a cancellation were still under way
        await asyncio.sleep(0)
        return result

    waiting = asyncio.ensure_future(request())
    await asyncio.sleep(0)
    job.end.set()
    client.gone.set()
    assert await waiting in {"done", "gone"}


async def test_work_that_ends_within_the_grace_is_not_watched() -> None:
    client, job = Client(), Job()
    waiting = asyncio.ensure_future(unless_gone(client.receive, job.work(), grace_s=30.0))
    await asyncio.sleep(0)
    job.end.set()
    assert await waiting == "done"
    await asyncio.sleep(0)
    assert not client.given_up


async def test_a_client_that_hung_up_is_noticed_after_the_grace() -> None:
    client, job = Client(), Job()
    client.gone.set()
    with pytest.raises(ClientGoneError):
        await unless_gone(client.receive, job.work(), grace_s=0.001)
    assert job.cancelled
