"""Where Prometheus reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from starlette.responses import Response

# An Accept header into a body and its content type.
Exposition = Callable[[str], Awaitable[tuple[bytes, str]]]


def metrics_router(exposition: Exposition) -> APIRouter:
    """Return the route of /metrics."""
    router = APIRouter(tags=["metrics"])

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        summary="Metrics for Prometheus",
    )
    async def metrics(request: Request) -> Response:
        """Give every metric, as text or as OpenMetrics where that is asked for."""
        body, content_type = await exposition(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return router
