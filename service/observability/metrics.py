"""The service's metrics, as Prometheus reads them.

Rules: names are those of the design and start with ``xlmr_``; base units; labels come from
closed sets, and every series of a variant exists from the moment that it is loaded, at
zero, so that rates and alerts do not start in the dark. The registry is handed in. Metrics
observe: nothing depends on them. The file is long because it is a list: one place to look a
metric up in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from service.domain import Result, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry

    from service.domain import BackendStatistics, BatchReport, RequestReport, VariantCard

# One sub-word on a GPU takes a few milliseconds, 256 long texts on two CPU cores a minute;
# edges at 0.1, 0.25, 0.5 and 1 s, where latency objectives are usually put.
SECONDS_EDGES = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
TOKENS_EDGES = tuple(float(2**power) for power in range(4, 17))
FILL_EDGES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ERROR_EDGES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)
SEQUENCES_EDGES = tuple(float(2**power) for power in range(10))

# What a request that names no served variant is counted under; no variant can be called so,
# since names start with a letter or a digit.
NO_VARIANT = "_unknown"
# How a load of a variant went. One that fails at the start ends the service.
LOADED, FAILED = "ok", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _VariantSeries:
    """The series of one variant, looked up once: by labels that costs more than counting."""

    duration: Histogram
    stages: dict[Stage, Histogram]
    inputs: Counter
    tokens: Counter
    truncated: Counter
    batches: dict[str, Counter]
    predicted: Counter
    actual: Counter


class Metrics:
    """Every metric of the service, and how reports and readings change them."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        protocols: Iterable[str],
        reasons: Iterable[str],
        cuts: Iterable[str],
    ) -> None:
        self._registry = registry
        self._protocols = tuple(protocols)
        self._cuts = tuple(cuts)
        self._make_request_metrics()
        self._make_backend_metrics()
        for reason in reasons:
            self._rejected.labels(reason)
        self._by_variant: dict[str, _VariantSeries] = {}
        self._requests_by: dict[tuple[str, str, Result], Counter] = {}
        self._open_requests(NO_VARIANT)

    def _make_request_metrics(self) -> None:
        registry = self._registry
        self._requests = Counter(
            "xlmr_requests_total",
            "Requests by how they ended.",
            ["variant", "protocol", "outcome"],
            registry=registry,
        )
        self._duration = Histogram(
            "xlmr_request_duration_seconds",
            "Time from the body read to the answer's bytes, of answered requests.",
            ["variant"],
            buckets=SECONDS_EDGES,
            registry=registry,
        )
        self._stage = Histogram(
            "xlmr_stage_duration_seconds",
            "Time of answered requests by stage; the stages add up to the request.",
            ["variant", "stage"],
            buckets=SECONDS_EDGES,
            registry=registry,
        )
        self._inputs = Counter(
            "xlmr_inputs_total",
            "Inputs of answered requests, those that failed alone included.",
            ["variant"],
            registry=registry,
        )
        self._tokens = Counter(
            "xlmr_tokens_total",
            "Tokens given to the encoder for answered requests, windows and choices summed.",
            ["variant"],
            registry=registry,
        )
        self._truncated = Counter(
            "xlmr_truncated_total",
            "Inputs that were answered on a part of their text.",
            ["variant"],
            registry=registry,
        )
        self._rejected = Counter(
            "xlmr_rejected_total", "Requests that were not answered, by why.", ["reason"], registry=registry
        )

        self._deadline_missed = Counter(
            "xlmr_deadline_missed_total", "Requests whose deadline passed unanswered.", registry=registry
        )
        self._cancelled = Counter(
            "xlmr_cancelled_total", "Requests whose client hung up before the answer.", registry=registry
        )

    def _make_backend_metrics(self) -> None:
        registry = self._registry
        self._queue_requests = Gauge(
            "xlmr_queue_requests", "Requests of which something waits for a batch.", registry=registry
        )
        self._queue_tokens = Gauge("xlmr_queue_tokens", "Tokens waiting for a batch.", registry=registry)
        self._batches = Counter(
            "xlmr_batches_total",
            "Batches by why they were cut.",
            ["variant", "cut"],
            registry=registry,
        )
        self._batch_tokens = Histogram(
            "xlmr_batch_tokens",
            "Tokens in a batch; there is no padding.",
            buckets=TOKENS_EDGES,
            registry=registry,
        )
        self._batch_sequences = Histogram(
            "xlmr_batch_sequences", "Sequences in a batch.", buckets=SEQUENCES_EDGES, registry=registry
        )
        self._engine_busy = Counter(
            "xlmr_engine_busy_seconds_total", "Time that the engine spent on batches.", registry=registry
        )
        self._batch_fill = Histogram(
            "xlmr_batch_fill_ratio",
            "Tokens in a batch over its budget; 1 where it held more.",
            buckets=FILL_EDGES,
            registry=registry,
        )
        self._make_cost_metrics()
        self._make_variant_metrics()

    def _make_cost_metrics(self) -> None:
        registry = self._registry
        self._queue_predicted = Gauge(
            "xlmr_queue_predicted_seconds",
            "Predicted engine time of all that was admitted and has not left the engine.",
            registry=registry,
        )
        self._batch_predicted = Counter(
            "xlmr_batch_predicted_seconds_total",
            "Engine time that was predicted for batches that ran.",
            ["variant"],
            registry=registry,
        )
        self._batch_actual = Counter(
            "xlmr_batch_actual_seconds_total",
            "Engine time that batches took for which there was a prediction.",
            ["variant"],
            registry=registry,
        )
        self._prediction_error = Histogram(
            "xlmr_batch_prediction_error_ratio",
            "Difference of predicted and actual engine time of a batch, over the actual.",
            buckets=ERROR_EDGES,
            registry=registry,
        )
        self._cost_error = Gauge(
            "xlmr_cost_error_p90_ratio",
            "The 90th percentile of the latest prediction errors, of the worst shape.",
            registry=registry,
        )

    def _make_variant_metrics(self) -> None:
        registry = self._registry
        self._owned = Gauge(
            "xlmr_variant_owned_bytes", "Weights that only this variant has.", ["variant"], registry=registry
        )
        self._shared = Gauge(
            "xlmr_variant_shared_bytes",
            "Weights that this variant shares with others.",
            ["variant"],
            registry=registry,
        )
        self._canary_ok = Gauge(
            "xlmr_canary_ok",
            "Whether a variant passed its canary, a comparison with float32 when it was loaded.",
            ["variant"],
            registry=registry,
        )
        self._canary_error = Gauge(
            "xlmr_canary_max_relative_error_ratio",
            "Largest difference from float32 that the canary found, over the largest logit.",
            ["variant"],
            registry=registry,
        )
        self._loads = Counter(
            "xlmr_variant_loads_total",
            "Times that a variant was loaded since the process started, by how that went.",
            ["variant", "result"],
            registry=registry,
        )
        self._build_info = Gauge(
            "xlmr_build_info",
            "What runs here; always 1.",
            ["version", "revision", "torch", "python"],
            registry=registry,
        )
        self._variant_info = Gauge(
            "xlmr_variant_info",
            "A variant that is loaded; always 1.",
            ["variant", "revision", "head", "dtype", "lineage"],
            registry=registry,
        )
        self._ready = Gauge("xlmr_ready", "Whether the service takes requests.", registry=registry)

    def describe_build(self, *, version: str, revision: str, torch: str, python: str) -> None:
        """Say once what runs here."""
        self._build_info.labels(version, revision, torch, python).set(1)

    def variants_loaded(self, cards: Iterable[VariantCard]) -> None:
        """Open every series of the variants that are served from now on."""
        for card in cards:
            self._variant_info.labels(card.name, card.revision, card.head, card.dtype, card.lineage).set(1)
            self._owned.labels(card.name).set(card.owned_bytes)
            self._shared.labels(card.name).set(card.shared_bytes)
            if card.parity is not None:  # one that fails is not served
                self._canary_ok.labels(card.name).set(1)
                self._canary_error.labels(card.name).set(card.parity.max_error)
            self._loads.labels(card.name, LOADED).inc()
            self._loads.labels(card.name, FAILED)
            self._open_requests(card.name)
            self._by_variant[card.name] = _VariantSeries(
                duration=self._duration.labels(card.name),
                stages={stage: self._stage.labels(card.name, stage.value) for stage in Stage},
                inputs=self._inputs.labels(card.name),
                tokens=self._tokens.labels(card.name),
                truncated=self._truncated.labels(card.name),
                batches={cut: self._batches.labels(card.name, cut) for cut in self._cuts},
                predicted=self._batch_predicted.labels(card.name),
                actual=self._batch_actual.labels(card.name),
            )

    def _open_requests(self, variant: str) -> None:
        for protocol in self._protocols:
            for result in Result:
                key = (variant, protocol, result)
                self._requests_by[key] = self._requests.labels(variant, protocol, result.value)

    def request_ended(self, report: RequestReport) -> None:
        """Count a request; durations and volumes only where it was answered."""
        variant = NO_VARIANT if report.variant is None else report.variant
        self._requests_by[variant, report.protocol, report.result].inc()
        if report.reason is not None:
            self._rejected.labels(report.reason).inc()
        if report.result is Result.DEADLINE:
            self._deadline_missed.inc()
        if report.result is Result.CANCELLED:
            self._cancelled.inc()
        stages = report.stages
        if stages is None:
            return
        series = self._by_variant[variant]
        trace = report.trace
        exemplar = {"trace_id": trace.trace_id} if trace is not None and trace.sampled else None
        series.duration.observe(stages.total_s, exemplar)
        series.stages[Stage.TOKENIZE].observe(stages.tokenize_s)
        series.stages[Stage.QUEUE].observe(stages.queue_s)
        series.stages[Stage.INFER].observe(stages.infer_s)
        series.stages[Stage.DECODE].observe(stages.decode_s)
        series.inputs.inc(report.num_inputs)
        series.tokens.inc(report.num_tokens)
        series.truncated.inc(report.num_truncated)

    def batch_ended(self, report: BatchReport) -> None:
        """Count a batch, failed ones too: the engine was busy with them."""
        series = self._by_variant[report.variant]
        series.batches[report.cut].inc()
        self._batch_tokens.observe(report.num_tokens)
        self._batch_sequences.observe(report.num_sequences)
        self._batch_fill.observe(min(1.0, report.num_tokens / report.max_tokens))
        self._engine_busy.inc(report.engine_s)
        # A batch that failed says nothing of the model, nor does one before there was a model.
        if report.predicted_s > 0.0 and report.engine_s > 0.0 and not report.failed:
            series.predicted.inc(report.predicted_s)
            series.actual.inc(report.engine_s)
            self._prediction_error.observe(abs(report.predicted_s / report.engine_s - 1.0))

    def read(self, statistics: BackendStatistics, *, ready: bool) -> None:
        """Take a reading into the gauges; call it just before exposition."""
        self._queue_requests.set(statistics.queue_requests)
        self._queue_tokens.set(statistics.queue_tokens)
        self._queue_predicted.set(statistics.backlog_s)
        if statistics.cost_error_p90 is not None:
            self._cost_error.set(statistics.cost_error_p90)
        self._ready.set(ready)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the body and content type that suit an Accept header; OpenMetrics where asked."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type
