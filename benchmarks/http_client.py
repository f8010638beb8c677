"""A keep-alive HTTP/1.1 client that costs little beside the server that it measures.

Rules: requests are bytes that were made beforehand; a connection has one request under way; every answer
must be 200. Latency counts from the moment that the request was meant to be sent: in a closed loop that is
when it was sent, in an open one when its turn came, so that a slow server cannot hide by slowing the client.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as Many

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_OK = b"200"


class AnswerError(Exception):
    """A server answered with something else than 200, or hung up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of sending requests. ``latencies_s``: one a request, in the order of the requests."""

    wall_s: float
    cpu_s: float
    latencies_s: tuple[float, ...]

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.wall_s


def post(path: str, body: bytes) -> bytes:
    """Return a whole request as a common client sends it."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench/1\r\naccept: */*\r\n"
        f"accept-encoding: identity\r\nconnection: keep-alive\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection, which is asked one thing at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        # uvloop's transports are not of asyncio's class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect an answer until it is whole."""
        self._received += data
        end = self._received.find(_END_OF_HEAD)
        if end < 0 or self._answer is None:
            return
        head = bytes(self._received[:end])
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        begin = end + len(_END_OF_HEAD)
        if len(self._received) < begin + length or self._answer.done():
            return
        body = bytes(self._received[begin : begin + length])
        self._received.clear()
        if head[9:12] == _OK:
            self._answer.set_result(body)
        else:
            self._answer.set_exception(AnswerError(f"{head[:12].decode()}: {body[:500].decode()}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let who waits know."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(AnswerError(f"the server hung up: {exc}"))

    async def ask(self, request: bytes) -> bytes:
        """Send a request; return the body of its answer.

        Raises:
            AnswerError: it was not 200.
        """
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def connect(address: Address, count: int) -> list[Connection]:
    """Open connections."""
    loop = asyncio.get_running_loop()
    opened = [loop.create_connection(Connection, address.host, address.port) for _ in range(count)]
    return [protocol for _, protocol in await asyncio.gather(*opened)]


async def closed_loop(connections: Many[Connection], requests: Many[bytes]) -> Load:
    """Send requests; each connection sends the next one as soon as its last is answered."""
    latencies = [0.0] * len(requests)
    turns = iter(enumerate(requests))

    async def serve(connection: Connection, mine: Iterator[tuple[int, bytes]]) -> None:
        for index, request in mine:
            sent_at = time.perf_counter()
            await connection.ask(request)
            latencies[index] = time.perf_counter() - sent_at

    began, cpu_began = time.perf_counter(), time.process_time()
    await asyncio.gather(*(serve(connection, turns) for connection in connections))
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    return Load(wall_s=wall_s, cpu_s=cpu_s, latencies_s=tuple(latencies))


async def open_loop(address: Address, requests: Many[bytes], instants_s: Many[float]) -> Load:
    """Send each request at its instant (seconds from the start), on an idle connection or a new one."""
    loop = asyncio.get_running_loop()
    idle: deque[Connection] = deque()
    latencies = [0.0] * len(requests)
    began, cpu_began = time.perf_counter(), time.process_time()

    async def send(index: int) -> None:
        connection = idle.pop() if idle else (await connect(address, 1))[0]
        await connection.ask(requests[index])
        latencies[index] = time.perf_counter() - began - instants_s[index]
        idle.append(connection)

    sending = []
    for index, instant_s in enumerate(instants_s):
        if (wait_s := instant_s - (time.perf_counter() - began)) > 0.0:
            await asyncio.sleep(wait_s)
        sending.append(loop.create_task(send(index)))
    await asyncio.gather(*sending)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    for connection in idle:
        connection.close()
    return Load(wall_s=wall_s, cpu_s=cpu_s, latencies_s=tuple(latencies))
