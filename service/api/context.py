"""What surrounds every request: its id, its line in the log, and the last net under it.

Rules: plain ASGI, since Starlette's own base class for middleware breaks cancellation. An
exception that nobody expected becomes a problem like any other; its message is not logged,
for it may quote what the client sent. Who ends says so with every answer: a client that sent its next
request over a connection that is just being closed would never hear of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from service.api.headers import REQUEST_ID, header, request_id
from service.api.problems import problem_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.domain import TraceContext

# Log lines are for people; a path of two megabytes is not.
_MAX_PATH = 200
_SERVER_ERROR = 500
_GONE = 499
_ID_KEY = REQUEST_ID.lower().encode()
_CLOSE = (b"connection", b"close")


class RequestContext:
    """ASGI middleware around the whole app."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        clock: Callable[[], float],
        quiet: tuple[str, ...] = (),
        current_trace: Callable[[], TraceContext | None] = lambda: None,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        """Surround an app.

        ``quiet``: beginnings of paths that machines ask every few seconds. ``is_ending``: whether connections
        will be closed soon.
        """
        self._app = app
        self._clock = clock
        self._quiet = quiet
        self._current_trace = current_trace
        self._is_ending = is_ending
        # Bound once: every request would otherwise make a logger of its own.
        self._log = structlog.get_logger().bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_at = self._clock()
        identity = request_id(header(scope["headers"], REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = identity
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_ID_KEY, identity.encode())]
                if self._is_ending():
                    message["headers"].append(_CLOSE)
            await send(message)

        known = {"request_id": identity}
        if (trace := self._current_trace()) is not None:
            known["trace_id"] = trace.trace_id
        before = structlog.contextvars.bind_contextvars(**known)
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the last net: a client must hear something
            structlog.get_logger().error("request_failed", exc_info=error)
            if status is None:
                await problem_response(error, request_id=identity)(scope, receive, send_with_id)
        finally:
            self._tell(scope, status, self._clock() - began_at)
            structlog.contextvars.reset_contextvars(**before)

    def _tell(self, scope: Scope, status: int | None, duration_s: float) -> None:
        shown = _GONE if status is None else status
        log = self._log
        if scope["path"].startswith(self._quiet):
            tell = log.debug
        elif shown >= _SERVER_ERROR:
            tell = log.warning
        else:
            tell = log.info
        tell(
            "request",
            method=scope["method"],
            path=scope["path"][:_MAX_PATH],
            status=shown,
            duration_ms=round(duration_s * 1000.0, 3),
        )
