"""What surrounds a request: its id, its line in the log, and the net under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from service.api.context import RequestContext

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio


class App:
    """Answers with a status, or fails before or after it has begun to."""

    def __init__(self, status: int | None, error: Exception | None = None) -> None:
        self._status = status
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive  # nothing depends on the request
        if self._status is not None:
            await send({"type": "http.response.start", "status": self._status, "headers": []})
        if self._error is not None:
            raise self._error
        await send({"type": "http.response.body", "body": b"ok"})


async def call(app: App, path: str = "/v1", *headers: tuple[bytes, bytes]) -> tuple[list[Message], list[Any]]:
    sent: list[Message] = []
    ticks = iter([10.0, 10.25])

    async def receive() -> Message:
        raise AssertionError("nothing is read here")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": list(headers)}
    with capture_logs() as events:
        context = RequestContext(app, clock=lambda: next(ticks), quiet=("/health/",))
        await context(scope, receive, send)
    return sent, events


async def test_the_id_goes_out_and_the_line_says_how_it_went() -> None:
    sent, events = await call(App(200), "/v1", (b"x-request-id", b"mine"))
    assert (b"x-request-id", b"mine") in sent[0]["headers"]
    assert events == [
        {
            "event": "request",
            "log_level": "info",
            "method": "GET",
            "path": "/v1",
            "status": 200,
            "duration_ms": 250.0,
        }
    ]


@pytest.mark.parametrize(
    ("status", "path", "level"),
    [
        (200, "/v1", "info"),
        (422, "/v1", "info"),
        (503, "/v1", "warning"),
        (200, "/health/live", "debug"),
        (503, "/health/ready", "debug"),
    ],
)
async def test_what_fails_is_louder_and_what_machines_ask_is_quiet(
    status: int, path: str, level: str
) -> None:
    _, events = await call(App(status), path)
    assert [event["log_level"] for event in events] == [level]


async def test_a_long_path_is_cut_in_the_log() -> None:
    _, events = await call(App(404), "/" + "a" * 10_000)
    assert len(events[0]["path"]) == 200


async def test_an_unexpected_error_becomes_a_problem() -> None:
    sent, events = await call(App(None, ValueError("secret")))
    assert sent[0]["status"] == 500
    assert (b"content-type", b"application/problem+json") in sent[0]["headers"]
    assert b"secret" not in sent[1]["body"]
    assert [event["event"] for event in events] == ["request_failed", "request"]
    assert events[1]["status"] == 500


async def test_an_answer_that_has_begun_cannot_be_taken_back() -> None:
    sent, events = await call(App(200, ValueError("secret")))
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert events[0]["event"] == "request_failed"
