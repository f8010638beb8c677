"""An answer goes out in one write, and nothing else changes: uvicorn's own protocol says the same bytes."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.api.one_write import HoldingTransport, OneWriteProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
TIMEOUT_S = 240.0


class Recorder:
    """A transport that remembers what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[bytes | str] = []
        self.has_ended = False

    def write(self, data: bytes) -> None:
        self.calls.append(data)

    def close(self) -> None:
        self.calls.append("close")
        self.has_ended = True

    def abort(self) -> None:
        self.calls.append("abort")
        self.has_ended = True

    def is_closing(self) -> bool:
        return self.has_ended

    def get_extra_info(self, name: str) -> str:
        return f"its {name}"


def holding(recorder: Recorder) -> HoldingTransport:
    return HoldingTransport(cast("asyncio.BaseTransport", recorder))


async def turn() -> None:
    await asyncio.sleep(0)


async def test_head_and_body_go_out_together() -> None:
    recorder = Recorder()
    transport = holding(recorder)
    for body in (b"ok", b"no"):
        transport.write(HEAD)
        assert len(recorder.calls) == (body == b"no")
        transport.write(body)
    await turn()
    assert recorder.calls == [HEAD + b"ok", HEAD + b"no"]


async def test_a_head_that_nothing_follows_goes_out_at_the_end_of_the_turn() -> None:
    recorder = Recorder()
    transport = holding(recorder)
    transport.write(HEAD)
    await turn()
    assert recorder.calls == [HEAD]
    transport.write(b"ok")
    assert recorder.calls == [HEAD, b"ok"]


async def test_the_end_comes_after_what_was_written() -> None:
    recorder = Recorder()
    transport = holding(recorder)
    transport.write(HEAD)
    transport.close()
    await turn()
    assert recorder.calls == [HEAD, "close"]
    assert transport.is_closing()


async def test_a_head_for_a_connection_that_has_ended_is_dropped() -> None:
    recorder = Recorder()
    transport = holding(recorder)
    transport.write(HEAD)
    transport.abort()
    await turn()
    assert recorder.calls == ["abort"]


async def test_what_is_no_head_goes_out_at_once() -> None:
    recorder = Recorder()
    transport = holding(recorder)
    transport.write(b"one")
    transport.writelines([b"t", b"wo"])
    assert recorder.calls == [b"one", b"two"]
    assert transport.get_extra_info("peername") == "its peername"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Say the body backwards; /slow between two turns of the loop, /late in two parts, /broken by half."""
    body, is_whole = b"", False
    while not is_whole:
        message = await receive()
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
    said = body[::-1] or b"nothing"
    length = len(said) + (scope["path"] == "/broken")
    headers = [(b"content-length", b"%d" % length)] if scope["path"] != "/chunked" else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/slow":
        await turn()
    if scope["path"] in {"/late", "/chunked"}:
        await send({"type": "http.response.body", "body": said[:1], "more_body": True})
        await turn()
        said = said[1:]
    await send({"type": "http.response.body", "body": said, "more_body": scope["path"] == "/broken"})


def request(path: str, body: bytes = b"", method: str = "POST", headers: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: t\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


LAST = "connection: close\r\n"
CONVERSATIONS = {
    "one": [request("/", b"abc", headers=LAST)],
    "kept alive": [
        request("/", b"abc"),
        request("/slow", b"defg"),
        request("/", b"x" * 99_999, headers=LAST),
    ],
    "pipelined": [request("/", b"abc") + request("/late", b"de") + request("/", b"f", headers=LAST)],
    "no body in the answer": [request("/", method="HEAD"), request("/", b"after", headers=LAST)],
    "in parts": [request("/late", b"abc"), request("/chunked", b"abc", headers=LAST)],
    "an app that stops halfway": [request("/broken", b"abc")],
    "no HTTP": [b"\x00\x01 what\r\n\r\n"],
    "asked to continue": [request("/", b"abc", headers="expect: 100-continue\r\n" + LAST)],
    "old": [b"GET / HTTP/1.0\r\n\r\n"],
}


@asynccontextmanager
async def server(protocol: type[HttpToolsProtocol]) -> AsyncIterator[int]:
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None)
    running = uvicorn.Server(config)
    config.load()
    running.lifespan = config.lifespan_class(config)
    loop = asyncio.get_running_loop()
    made = partial(protocol, config=config, server_state=running.server_state, app_state={})
    listener = await loop.create_server(made, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


async def said(protocol: type[HttpToolsProtocol], parts: list[bytes]) -> bytes:
    """Return every byte that a server says to a client that sends each part after hearing something."""
    async with server(protocol) as port, asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        heard = b""
        for index, part in enumerate(parts):
            writer.write(part)
            if index + 1 < len(parts):
                heard += await reader.readuntil(b"\r\n\r\n")
                length = re.findall(rb"content-length: (\d+)", heard)[-1]
                heard += await reader.readexactly(0 if part.startswith(b"HEAD") else int(length))
        heard += await reader.read()
        writer.close()
    return re.sub(rb"date: [^\r]*", b"date", heard)


@pytest.mark.parametrize("parts", CONVERSATIONS.values(), ids=CONVERSATIONS)
async def test_every_byte_is_uvicorns_own(parts: list[bytes]) -> None:
    wanted = await said(HttpToolsProtocol, parts)
    assert wanted
    assert await said(OneWriteProtocol, parts) == wanted
