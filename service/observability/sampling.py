"""Which traces are kept: a caller's own choice, else a share of requests, and every batch that served one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, TraceState
    from opentelemetry.util.types import Attributes


class LinkedOr(Sampler):
    """Keeps what is linked to something that was kept, else as another sampler says."""

    def __init__(self, other: Sampler) -> None:
        self._other = other

    def should_sample(  # noqa: PLR0913, PLR0917 - the signature is OpenTelemetry's
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide on a span that is about to start."""
        kept = any(link.context.trace_flags.sampled for link in links or ())
        chosen: Sampler = ALWAYS_ON if kept else self._other
        return chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Say what this is."""
        return f"LinkedOr{{{self._other.get_description()}}}"


def sampler(ratio: float) -> Sampler:
    """Return a sampler that follows the caller, and keeps a share of requests that come without a trace."""
    return ParentBased(LinkedOr(TraceIdRatioBased(ratio)))
