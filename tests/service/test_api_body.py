"""Bodies: how long, and whether they are JSON."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.body import parse_json, read_body
from service.errors import ClientGoneError, MalformedError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@given(ANY_JSON)
def test_json_is_parsed_as_it_was_written(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary())
def test_whatever_is_sent_is_parsed_or_refused(body: bytes) -> None:
    with suppress(MalformedError):
        parse_json(body)


def test_a_lone_surrogate_is_let_through() -> None:
    assert parse_json(b'"\\ud800"') == "\ud800"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"NaN", b"[Infinity]", b"-Infinity", b"\xff", b"[" * 100_000, b"9" * 5000, b"\xef\xbb\xbf{}"],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_json(body)


def test_what_was_sent_is_not_repeated() -> None:
    with pytest.raises(MalformedError) as refusal:
        parse_json(b'{"a": keep-this-to-yourself}')
    assert "yourself" not in str(refusal.value)
    assert "column 7" in str(refusal.value)


def request_of(
    chunks: Iterable[bytes], *headers: tuple[bytes, bytes], gone: bool = False
) -> tuple[list[tuple[bytes, bytes]], Receive]:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
    ]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request", "body": b""})
    queue = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(queue)

    return list(headers), receive


@pytest.mark.anyio
@pytest.mark.parametrize("chunks", [[b""], [b"abcd"], [b"a", b"b", b"cd"], [b"a", b"", b"bcd"]])
async def test_a_body_within_the_limit_is_read_whole(chunks: list[bytes]) -> None:
    assert await read_body(*request_of(chunks), max_bytes=4) == b"".join(chunks)


@pytest.mark.anyio
async def test_a_body_past_the_limit_is_not_read_further() -> None:
    def chunks() -> Iterable[bytes]:
        yield b"abc"
        yield b"de"

    with pytest.raises(TooLargeError, match="4 bytes"):
        await read_body(*request_of(chunks()), max_bytes=4)


@pytest.mark.anyio
async def test_an_announced_length_past_the_limit_is_refused_unread() -> None:
    with pytest.raises(TooLargeError):
        await read_body(*request_of([], (b"content-length", b"5"), gone=True), max_bytes=4)


@pytest.mark.anyio
async def test_a_client_that_hangs_up_while_it_sends_is_told_apart() -> None:
    with pytest.raises(ClientGoneError):
        await read_body(*request_of([b"a"], gone=True), max_bytes=4)


@pytest.mark.anyio
async def test_compression_is_refused() -> None:
    with pytest.raises(MalformedError, match="Content-Encoding"):
        await read_body(*request_of([b"a"], (b"content-encoding", b"gzip")), max_bytes=4)
