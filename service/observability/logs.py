"""Logs: one JSON object a line on standard output.

Rules: an event has a fixed name and keys; what a client wrote never gets in, so that a log
may be kept and shipped. The library's own configuration is global, so this runs once, at
the top of the program, and nowhere else.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import structlog

if TYPE_CHECKING:
    from typing import TextIO

    from structlog.typing import EventDict, Processor

# Enough to find the place; a recursion error would bring a thousand.
_MAX_FRAMES = 30
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logs(*, level: str, form: str, stream: TextIO, process: str | None = None) -> None:
    """Send structlog's and the standard library's events to a stream in one form.

    ``level``: debug, info, warning or error. ``form``: json, or console for people. ``process``: what
    every event says of where it comes from; None where there is but one process.
    """
    unheard = _Unheard(stream)
    shared: list[Processor] = [
        _Always({} if process is None else {"process": process}),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _tell_exception,
    ]
    render: Processor = _Json() if form == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        # One write a line, also where the stream is unbuffered: several processes share it.
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", unheard)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(unheard)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(_LEVELS[level], logging.WARNING), force=True)


class _Unheard:
    """A stream that perhaps nobody reads any more: no reason to stop serving, nor not to end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class _Always:
    """Puts the same keys into every event, whatever thread it comes from."""

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        return {**self._known, **event}


class _Json:
    """Writes an event as JSON; its encoder is made once, where the library makes one for every event."""

    def __init__(self) -> None:
        self._encode = json.JSONEncoder(default=repr).encode

    def __call__(self, _logger: object, _method: str, event: EventDict) -> str:
        return self._encode(event)


def _tell_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Put an exception's class and places in the event, without its message.

    Messages of libraries quote the values that they choke on, and these may be a client's.
    """
    info = event.pop("exc_info", None)
    if not info:
        return event
    error = (
        info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else sys.exception()
    )
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
        event["exception"] = type(error).__qualname__
        event["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return event
