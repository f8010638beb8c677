"""Whether the process lives, and whether it takes requests.

Rules: live answers as soon as the socket is bound, and says no only where a restart would
help; ready says yes only between warm-up and draining.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from service.api.openapi import PROBLEM
from service.api.schemas import HealthInfo
from service.backend.phase import WHY_NOT_READY
from service.errors import NotReadyError

if TYPE_CHECKING:
    from service.api.predictor import Predictor
    from service.domain import Backend


def health_router(backend: Backend, predictor: Predictor) -> APIRouter:
    """Return the routes that an orchestrator asks."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", responses={"default": PROBLEM}, summary="Is the process alive?")
    async def live() -> HealthInfo:
        """Say that the process need not be restarted."""
        statistics = backend.statistics()
        if not statistics.alive:
            raise NotReadyError(WHY_NOT_READY[statistics.phase])
        return HealthInfo(status="live")

    @router.get("/ready", responses={"default": PROBLEM}, summary="Are requests taken?")
    async def ready() -> HealthInfo:
        """Say that requests are taken: weights loaded, warmed up, not draining."""
        if not predictor.is_ready:
            raise NotReadyError(WHY_NOT_READY[predictor.phase])
        return HealthInfo(status="ready")

    return router
