"""Predict in front of the framework: its route as plain ASGI.

Rules: FastAPI's own route stays, since the document comes from it and a trace takes the route's name from
it: requests that are traced go through it, as does whatever is not exactly a POST to predict. What is
answered is the same either way. FastAPI's way to an endpoint and back costs as much as reading a request
and writing its answer (`docs/log.md`, "Front end").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from service.api.native import answer_headers
from service.api.problems import problem_response
from service.errors import ServiceError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.api.native import NativeProtocol

_OK: Final = 200
_PATH: Final = re.compile(r"/v1/variants/([^/]+)/predict")


class PredictRoute:
    """ASGI middleware that answers predict itself, and leaves everything else to the app behind it."""

    def __init__(self, app: ASGIApp, *, protocol: NativeProtocol) -> None:
        """Stand in front of an app that has the same route."""
        self._app = app
        self._protocol = protocol

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; `RequestContext` has given it its id."""
        variant = variant_of(scope)
        if variant is None:
            await self._app(scope, receive, send)
            return
        try:
            reply = await self._protocol.predict(variant, scope, receive)
        except ServiceError as error:
            await problem_response(error, request_id=scope["state"]["request_id"])(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": _OK, "headers": answer_headers(reply)})
        await send({"type": "http.response.body", "body": reply.body})


def variant_of(scope: Scope) -> str | None:
    """Return the variant that an untraced predict request names; None for any other request."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
        return None
    if scope.get("fastapi.telemetry") is not None:
        return None
    found = _PATH.fullmatch(scope["path"])
    return None if found is None else found[1]
