"""Traces: what became of one request, as OpenTelemetry's spans.

Rules: off unless an endpoint is set, and then without cost; spans are made after the fact, from
the reports that metrics are made of, so that nothing on the way of a request knows of them. The
span of the HTTP request itself is FastAPI's; `tokenize`, `queue`, `infer` and `decode` are its
children. A `batch` serves many requests, so it has no parent but links to each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from service.domain import Stage, TraceContext
from service.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import TracerProvider

    from service.domain import BatchReport, RequestReport

_NS_PER_S = 1_000_000_000
_TRACES_PATH = "/v1/traces"


def current_trace() -> TraceContext | None:
    """Return the trace of the request that this task serves; None where there is none."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return TraceContext(
        trace_id=trace.format_trace_id(context.trace_id),
        span_id=trace.format_span_id(context.span_id),
        sampled=context.trace_flags.sampled,
    )


class Tracing:
    """An observer that makes spans of what it is told."""

    def __init__(self, provider: TracerProvider, *, epoch_ns_of: Callable[[float], int]) -> None:
        """Use a provider. ``epoch_ns_of``: turns monotonic seconds into nanoseconds of the epoch."""
        self.provider = provider
        self._tracer = provider.get_tracer("xlmr-serve")
        self._epoch_ns_of = epoch_ns_of

    def request_ended(self, report: RequestReport) -> None:
        """Make a span of each stage of an answered request, one after the other, below the current one."""
        stages = report.stages
        if stages is None or report.trace is None or not report.trace.sampled:
            return
        parts = {
            Stage.TOKENIZE: stages.tokenize_s,
            Stage.QUEUE: stages.queue_s,
            Stage.INFER: stages.infer_s,
            Stage.DECODE: stages.decode_s,
        }
        parent = trace.set_span_in_context(trace.NonRecordingSpan(_context_of(report.trace)), Context())
        begin_ns = self._epoch_ns_of(report.began_at)
        for stage, seconds in parts.items():
            end_ns = begin_ns + round(seconds * _NS_PER_S)
            span = self._tracer.start_span(
                stage.value,
                context=parent,
                start_time=begin_ns,
                attributes={"xlmr.variant": report.variant or "", "xlmr.tokens": report.num_tokens},
            )
            span.end(end_ns)
            begin_ns = end_ns

    def batch_ended(self, report: BatchReport) -> None:
        """Make a span of a batch that served a traced request, with a link to each of those."""
        links = [Link(_context_of(one)) for one in report.traces if one.sampled]
        if not links:
            return
        begin_ns = self._epoch_ns_of(report.started_at)
        span = self._tracer.start_span(
            "batch",
            context=Context(),
            kind=SpanKind.INTERNAL,
            links=links,
            start_time=begin_ns,
            attributes={
                "xlmr.variant": report.variant,
                "xlmr.cut": report.cut,
                "xlmr.tokens": report.num_tokens,
                "xlmr.sequences": report.num_sequences,
                "xlmr.failed": report.failed,
            },
        )
        span.end(begin_ns + round(report.engine_s * _NS_PER_S))

    def close(self) -> None:
        """Send what has not been sent, and stop."""
        self.provider.shutdown()


def open_tracing(
    endpoint: str, *, sample_ratio: float, version: str, epoch_ns_of: Callable[[float], int]
) -> Tracing:
    """Send spans to an OpenTelemetry collector over HTTP. ``sample_ratio``: of requests without a trace.

    Raises:
        StartupError: OpenTelemetry's SDK is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra; see below
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra; see below
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra; see below

        from service.observability.sampling import sampler  # noqa: PLC0415 - it needs the SDK
    except ImportError as error:
        raise StartupError(
            "--otlp-endpoint needs OpenTelemetry's SDK: pip install 'xlmr-serve[otel]'."
        ) from error
    resource = Resource.create({"service.name": "xlmr-serve", "service.version": version})
    provider = TracerProvider(sampler=sampler(sample_ratio), resource=resource)
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _TRACES_PATH)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider, epoch_ns_of=epoch_ns_of)


def _context_of(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(
        int(context.trace_id, 16), int(context.span_id, 16), is_remote=False, trace_flags=flags
    )
