"""Logs: one JSON object a line, and nothing of what a client wrote."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from service.observability.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave the libraries' global configuration as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_a_json_object_with_its_keys_and_context() -> None:
    stream = io.StringIO()
    configure_logs(level="info", form="json", stream=stream)
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger().info("request", status=200)
    (event,) = lines(stream)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "request", "level": "info", "request_id": "r1", "status": 200}


def test_logs_that_nobody_reads_any_more_stop_nothing() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(f"{len(text)} bytes for nobody")

        def flush(self) -> None:
            raise BrokenPipeError

    configure_logs(level="info", form="json", stream=Closed())
    structlog.get_logger().info("draining")
    logging.getLogger("library").warning("two")


def test_what_is_below_the_level_is_left_out() -> None:
    stream = io.StringIO()
    configure_logs(level="warning", form="json", stream=stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [event["event"] for event in lines(stream)] == ["loud"]


def test_an_exception_is_told_by_class_and_place_without_its_message() -> None:
    stream = io.StringIO()
    configure_logs(level="info", form="json", stream=stream)
    try:
        int("keep-this-to-yourself")
    except ValueError as error:
        structlog.get_logger().error("one", exc_info=error)
        structlog.get_logger().exception("two")
        logging.getLogger("library").exception("three")
    assert "yourself" not in stream.getvalue()
    events = lines(stream)
    assert [event["event"] for event in events] == ["one", "two", "three"]
    for event in events:
        assert event["exception"] == "ValueError"
        assert event["frames"][-1].startswith(__file__)


def test_the_standard_librarys_logs_come_out_in_the_same_form() -> None:
    stream = io.StringIO()
    configure_logs(level="info", form="json", stream=stream)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("uvicorn.error").info("not this")
    (event,) = lines(stream)
    assert (event["event"], event["logger"], event["level"]) == (
        "Invalid HTTP request received.",
        "uvicorn.error",
        "warning",
    )


def test_text_that_cannot_be_encoded_does_not_break_the_log() -> None:
    stream = io.StringIO()
    configure_logs(level="info", form="json", stream=stream)
    structlog.get_logger().info("request", path="\ud800")
    assert lines(stream)[0]["path"] == "\ud800"
    stream.getvalue().encode()


def test_people_can_have_it_plain() -> None:
    stream = io.StringIO()
    configure_logs(level="info", form="console", stream=stream)
    structlog.get_logger().info("listening", port=8000)
    assert "listening" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
