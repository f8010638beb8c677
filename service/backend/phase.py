"""Where a backend is in its life, and what a client is told outside of its prime."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class Phase(StrEnum):
    """Where the backend is in its life; it only moves on."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    BROKEN = "broken"
    CLOSED = "closed"


WHY_NOT_READY = MappingProxyType(
    {
        Phase.STARTING: "The service is loading its weights. Wait for /health/ready, then send it again.",
        Phase.DRAINING: "The service is shutting down. Send the request to another instance, or again later.",
        Phase.BROKEN: "The service has failed and must be restarted. Send the request to another instance.",
        Phase.CLOSED: "The service has shut down. Send the request to another instance.",
    }
)
