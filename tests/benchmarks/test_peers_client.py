"""The benchmark's client against servers of this file: both framings, failures, loops."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import pytest

from benchmarks.peers_client import Connection, Stream, Target, closed_loop, open_loop, read_reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.alone

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n"
CLOSING = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Recorder:
    """A server that sends the same reply always, the first of them once so many requests are under way."""

    def __init__(self, reply: bytes, *, waits_for: int = 1) -> None:
        self.reply, self.bodies = reply, list[bytes]()
        self.under_way = self.most = self.connections = 0
        self.waits_for, self.gate = waits_for, asyncio.Event()
        self.leaves_after: int | None = None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            for _ in itertools.count() if self.leaves_after is None else range(self.leaves_after):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                self.bodies.append(await reader.readexactly(length))
                self.under_way += 1
                self.most = max(self.most, self.under_way)
                if self.under_way >= self.waits_for:
                    self.gate.set()
                await self.gate.wait()
                self.under_way -= 1
                writer.write(self.reply)
                await writer.drain()
                if b"close" in self.reply:
                    return

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Target]:
        server = await asyncio.start_server(self.handle, "127.0.0.1", 0)
        async with server:
            yield Target(port=server.sockets[0].getsockname()[1], path="/x")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("sent", "found"),
    [(PLAIN, (200, b"ok", True)), (CHUNKED, (200, b"abcd", True)), (CLOSING, (503, b"", False))],
)
async def test_a_reply_is_read_to_its_end(sent: bytes, found: tuple[int, bytes, bool]) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(sent + b"HTTP/1.1 404")
    assert await read_reply(reader) == found
    assert await reader.readexactly(12) == b"HTTP/1.1 404"


@pytest.mark.anyio
async def test_a_closed_loop_sends_in_order_over_one_connection() -> None:
    recorder = Recorder(PLAIN)
    async with recorder.listening() as target:
        stream = Stream(target=target, bodies=[b"0", b"1", b"2"], first=2)
        replies = await closed_loop(stream, concurrency=1, duration_s=0, at_least=5)
        assert recorder.bodies == [b"2", b"0", b"1", b"2", b"0"]
        assert [reply.item for reply in replies] == [2, 0, 1, 2, 0]
        assert all(reply.is_ok and reply.latency_s > 0 for reply in replies)
    assert recorder.connections == 1


@pytest.mark.anyio
async def test_a_closed_loop_has_so_many_under_way_and_never_more() -> None:
    recorder = Recorder(PLAIN, waits_for=4)
    async with asyncio.timeout(60), recorder.listening() as target:
        stream = Stream(target=target, bodies=[b"0"])
        assert len(await closed_loop(stream, concurrency=4, duration_s=0, at_least=12)) == 12
    assert (recorder.most, recorder.connections) == (4, 4)


@pytest.mark.anyio
async def test_an_open_loop_sends_on_time_though_nothing_is_answered_and_counts_from_then() -> None:
    recorder = Recorder(PLAIN, waits_for=3)
    async with asyncio.timeout(60), recorder.listening() as target:
        replies = await open_loop(Stream(target=target, bodies=[b"a"]), times_s=[0.0, 0.01, 0.02])
    assert sorted(reply.due_s for reply in replies) == [0.0, 0.01, 0.02]
    assert all(reply.is_ok and reply.done_s > 0.02 for reply in replies)


@pytest.mark.anyio
async def test_a_refusal_and_what_is_no_http_are_failures_and_the_next_request_has_a_new_connection() -> None:
    recorder = Recorder(CLOSING)
    async with recorder.listening() as target, Connection(target.port) as connection:
        request = target.request(b"{}")
        assert await connection.ask(request) == (False, b"")
        recorder.reply = b"nonsense close\r\n\r\n"
        assert await connection.ask(request) == (False, b"")
        recorder.reply = PLAIN
        assert await connection.ask(request) == (True, b"ok")
    assert recorder.connections == 3


@pytest.mark.anyio
async def test_a_request_on_a_connection_that_the_server_has_left_is_sent_again_once() -> None:
    recorder = Recorder(PLAIN)
    recorder.leaves_after = 1
    async with recorder.listening() as target, Connection(target.port) as connection:
        assert await connection.ask(target.request(b"1")) == (True, b"ok")
        assert await connection.ask(target.request(b"2")) == (True, b"ok")
        recorder.leaves_after = 0
        assert await connection.ask(target.request(b"3")) == (False, b"")
    assert recorder.bodies == [b"1", b"2"]
