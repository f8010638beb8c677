"""What a client is told when the backend takes no work."""

from __future__ import annotations

from types import MappingProxyType

from service.domain import Phase

WHY_NOT_READY = MappingProxyType(
    {
        Phase.STARTING: "The service is loading its weights. Wait for /health/ready, then send the request.",
        Phase.READY: "The service is about to take requests. Send the request again.",
        Phase.DRAINING: "The service is shutting down. Send the request to another instance, or later.",
        Phase.BROKEN: "The service has failed and must be restarted. Send the request to another instance.",
        Phase.RESTARTING: "The engine died and is being restarted. Wait for /health/ready, then send again.",
        Phase.CLOSED: "The service has shut down. Send the request to another instance, or later.",
    }
)
REPLACED = "The variant was replaced while this request came in. Send it again."
