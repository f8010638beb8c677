"""The one client that all servers get: plain HTTP/1.1 over kept connections, closed and open loops.

Rules: bodies are made before the clock starts; an open loop's latency counts from the instant at which the
request was due, sent or not; a request that fails, or has no answer ``TIMEOUT_S`` after it was sent, is
counted and has no latency. No library, so that the client takes little of the cores that servers compute on.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 60.0
_OK = 200


class ReplyError(Exception):
    """The server closed the connection, or sent what is no HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One request's fate, in seconds since the load began. ``item``: its place in the trace."""

    item: int
    due_s: float
    done_s: float
    is_ok: bool
    body: bytes = b""

    @property
    def latency_s(self) -> float:
        """From when it was due to its answer."""
        return self.done_s - self.due_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go."""

    port: int
    path: str

    def request(self, body: bytes) -> bytes:
        """Return the bytes of a request."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAccept: application/json\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A load's requests: bodies in order from number ``first`` on, from the start again after the last."""

    target: Target
    bodies: Sequence[bytes]
    first: int = 0

    def request(self, number: int) -> tuple[int, bytes]:
        """Return the place in the trace, and the bytes, of the load's request of that number."""
        item = (self.first + number) % len(self.bodies)
        return item, self.target.request(self.bodies[item])


class Connection:
    """One connection at a time; opened anew after a failure."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def ask(self, request: bytes) -> tuple[bool, bytes]:
        """Return whether the answer was 200, and its body; a failure is no answer.

        A server may close a connection that was idle while a request is on its way to it. That is no failure
        of the request, which is sent again over a new one, as HTTP's clients do.
        """
        was_open = self._streams is not None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                try:
                    return await self._ask(request)
                except (ConnectionError, asyncio.IncompleteReadError) as error:
                    had_begun = isinstance(error, asyncio.IncompleteReadError) and error.partial
                    if not was_open or had_begun:
                        raise
                    self.close()
                    return await self._ask(request)
        except (OSError, TimeoutError, ReplyError, asyncio.IncompleteReadError):
            self.close()
            return False, b""

    async def _ask(self, request: bytes) -> tuple[bool, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        status, body, stays = await read_reply(reader)
        if not stays:
            self.close()
        return status == _OK, body


async def read_reply(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Return status, body, and whether the connection stays open.

    Raises:
        ReplyError: it is no HTTP/1.1.
        asyncio.IncompleteReadError: the connection was closed before its end.
    """
    try:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(first.split(" ", 2)[1])
        headers = dict(line.lower().split(":", 1) for line in lines if line)
        if "chunked" in headers.get("transfer-encoding", ""):
            body = await _read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers["content-length"]))
    except (ValueError, LookupError, asyncio.LimitOverrunError) as error:
        raise ReplyError("what came is no HTTP/1.1") from error
    return status, body, "close" not in headers.get("connection", "")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)


async def closed_loop(
    stream: Stream, *, concurrency: int, duration_s: float, at_least: int = 0
) -> list[Reply]:
    """Keep so many requests under way for a duration, longer until ``at_least`` were sent; wait for all."""
    replies, sent = list[Reply](), 0
    began = time.perf_counter()

    async def user() -> None:
        nonlocal sent
        async with Connection(stream.target.port) as connection:
            while sent < at_least or time.perf_counter() - began < duration_s:
                item, request = stream.request(sent)
                sent += 1
                due_s = time.perf_counter() - began
                is_ok, body = await connection.ask(request)
                done_s = time.perf_counter() - began
                replies.append(Reply(item=item, due_s=due_s, done_s=done_s, is_ok=is_ok, body=body))
                if not is_ok:
                    await asyncio.sleep(0)  # others get their turn where every request fails at once

    async with asyncio.TaskGroup() as users:
        for _ in range(concurrency):
            users.create_task(user())
    return replies


async def open_loop(stream: Stream, *, times_s: Sequence[float]) -> list[Reply]:
    """Send a request at each instant, whatever became of those before; wait for all."""
    replies, idle = list[Reply](), list[Connection]()
    began = time.perf_counter()

    async def one(number: int, due_s: float) -> None:
        connection = idle.pop() if idle else Connection(stream.target.port)
        item, request = stream.request(number)
        is_ok, body = await connection.ask(request)
        done_s = time.perf_counter() - began
        replies.append(Reply(item=item, due_s=due_s, done_s=done_s, is_ok=is_ok, body=body))
        idle.append(connection)

    async with asyncio.TaskGroup() as under_way:
        for number, due_s in enumerate(times_s):
            await asyncio.sleep(max(0.0, due_s - (time.perf_counter() - began)))
            under_way.create_task(one(number, due_s))
    for connection in idle:
        connection.close()
    return replies
