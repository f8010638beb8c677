"""The service's metrics, as Prometheus reads them.

Rules: names are those of the design and start with ``xlmr_``; base units; labels come from
closed sets, and every series of a variant exists from the moment that it is loaded, at
zero, so that rates and alerts do not start in the dark. The registry is handed in. Metrics
observe: nothing depends on them. What is observed of requests and batches is tallied and told
at each ``read``, all of it on the event loop. The file is long because it is a list: one place
to look a metric up in.
"""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge
from prometheus_client.exposition import choose_encoder

from service.backend.swap import CATALOGUE
from service.domain import Result, Stage
from service.observability.families import families_of
from service.observability.tally import BulkHistogram, Count, Tally
from service.tasks.script import SCRIPTS, scripts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import CollectorRegistry

    from service.domain import (
        BackendStatistics,
        BatchReport,
        CanaryStatistics,
        RequestReport,
        Stages,
        VariantCard,
    )
    from service.observability.families import Families
    from service.tasks.kinds import Input

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
# How a load of a variant went. One that fails at the start ends the service; later, what was served still is.
LOADED, FAILED = "ok", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _VariantSeries:
    """The series of one variant, looked up once: by labels that costs more than counting.

    ``duration``: where an observation goes that has an exemplar, which a tally cannot hold.
    """

    duration: BulkHistogram
    durations: Tally
    tokenize: Tally
    queue: Tally
    infer: Tally
    decode: Tally
    inputs: Count
    tokens: Count
    truncated: Count
    batches: dict[str, Count]
    predicted: Count
    actual: Count


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
        self._tallies: list[Count | Tally] = []
        self._rejected_by = {reason: self._count(self._rejected.labels(reason)) for reason in reasons}
        self._deadlines = self._count(self._deadline_missed)
        self._cancellations = self._count(self._cancelled)
        self._batch_tallies = (
            self._tally(self._batch_tokens, TOKENS_EDGES),
            self._tally(self._batch_sequences, SEQUENCES_EDGES),
            self._tally(self._batch_fill, FILL_EDGES),
        )
        self._errors = self._tally(self._prediction_error, ERROR_EDGES)
        self._busy = self._count(self._engine_busy)
        self._by_variant: dict[str, _VariantSeries] = {}
        self._requests_by: dict[tuple[str, str, Result], Count] = {}
        self._canaries: dict[str, CanaryStatistics] = {}
        self._loaded: dict[str, VariantCard] = {}
        self._num_loads: dict[tuple[str, str], int] = defaultdict(int)
        self._open_requests(NO_VARIANT)

    def _count(self, counter: Counter) -> Count:
        self._tallies.append(count := Count(counter))
        return count

    def _tally(self, histogram: BulkHistogram, edges: tuple[float, ...]) -> Tally:
        self._tallies.append(tally := Tally(histogram, edges))
        return tally

    def _make_request_metrics(self) -> None:
        registry = self._registry
        self._requests = Counter(
            "xlmr_requests_total",
            "Requests by how they ended.",
            ["variant", "protocol", "outcome"],
            registry=registry,
        )
        self._duration = BulkHistogram(
            "xlmr_request_duration_seconds",
            "Time from the body read to the answer's bytes, of answered requests.",
            ["variant"],
            buckets=SECONDS_EDGES,
            registry=registry,
        )
        self._stage = BulkHistogram(
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
        self._batch_tokens = BulkHistogram(
            "xlmr_batch_tokens",
            "Tokens in a batch; there is no padding.",
            buckets=TOKENS_EDGES,
            registry=registry,
        )
        self._batch_sequences = BulkHistogram(
            "xlmr_batch_sequences", "Sequences in a batch.", buckets=SEQUENCES_EDGES, registry=registry
        )
        self._engine_busy = Counter(
            "xlmr_engine_busy_seconds_total",
            "Time that the whole engine spent on batches.",
            registry=registry,
        )
        self._batch_fill = BulkHistogram(
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
        self._prediction_error = BulkHistogram(
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
        self._cost_error.set(math.nan)  # unknown at first, and zero would say that predictions are perfect

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
            "Whether a variant answers its canary as it did when it was loaded.",
            ["variant"],
            registry=registry,
        )
        self._canary_error = Gauge(
            "xlmr_canary_max_relative_error_ratio",
            "Largest difference from the answers at load in the latest check, over the largest logit.",
            ["variant"],
            registry=registry,
        )
        self._canary_checks = Counter(
            "xlmr_canary_checks_total",
            "Checks of a variant's canary by result; skipped ones were not answered.",
            ["variant", "result"],
            registry=registry,
        )
        self._parity_error = Gauge(
            "xlmr_parity_max_relative_error_ratio",
            "Largest difference from float32 when a variant was loaded, over the largest logit.",
            ["variant"],
            registry=registry,
        )
        self._loads = Counter(
            "xlmr_variant_loads_total",
            "Times that a variant was loaded, at the start or by a swap, by how that went.",
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
        """Tell of all variants that are loaded here, instead of those told before, and open their series."""
        now = {card.name: card for card in cards}
        for name, before in self._loaded.items():
            if now.get(name) != before:
                self._forget(before)
        self._loaded = now
        for card in now.values():
            self._variant_info.labels(card.name, card.revision, card.head, card.dtype, card.lineage).set(1)
            self._owned.labels(card.name).set(card.owned_bytes)
            self._shared.labels(card.name).set(card.shared_bytes)
            if card.parity is not None:  # one that fails is not served
                self._canary_ok.labels(card.name).set(1)
                self._parity_error.labels(card.name).set(card.parity.max_error)
            for result in (LOADED, FAILED):
                self._loads.labels(card.name, result)
        self._loads.labels(CATALOGUE, FAILED)
        self.variants_opened(now.values())

    def variants_opened(self, cards: Iterable[VariantCard]) -> None:
        """Open every series of the variants that are served from now on, wherever they were loaded."""
        for card in cards:
            self._open_requests(card.name)
            if card.name not in self._by_variant:
                self._by_variant[card.name] = self._open_series(card.name)

    def _forget(self, card: VariantCard) -> None:
        """Say no more of what a variant is; what it did stays counted."""
        self._variant_info.remove(card.name, card.revision, card.head, card.dtype, card.lineage)
        for gauge in (self._owned, self._shared, self._canary_ok, self._canary_error, self._parity_error):
            with suppress(KeyError):  # not every variant has every one
                gauge.remove(card.name)

    def open_scripts(self) -> Callable[[Sequence[Input]], None]:
        """Open the series of inputs by script, and return what counts them."""
        counter = Counter(
            "xlmr_inputs_by_script_total",
            "Inputs read, by the script of most of their letters; only where this was asked for.",
            ["script"],
            registry=self._registry,
        )
        counts = {script: self._count(counter.labels(script)) for script in SCRIPTS}

        def count(inputs: Sequence[Input]) -> None:
            for script, number in scripts_of(inputs).items():
                counts[script].pending += number

        return count

    def _open_requests(self, variant: str) -> None:
        for protocol in self._protocols:
            for result in Result:
                key = (variant, protocol, result)
                if key not in self._requests_by:
                    counter = self._requests.labels(variant, protocol, result.value)
                    self._requests_by[key] = self._count(counter)

    def _open_series(self, variant: str) -> _VariantSeries:
        def stage(of: Stage) -> Tally:
            return self._tally(self._stage.labels(variant, of.value), SECONDS_EDGES)

        duration = self._duration.labels(variant)
        return _VariantSeries(
            duration=duration,
            durations=self._tally(duration, SECONDS_EDGES),
            tokenize=stage(Stage.TOKENIZE),
            queue=stage(Stage.QUEUE),
            infer=stage(Stage.INFER),
            decode=stage(Stage.DECODE),
            inputs=self._count(self._inputs.labels(variant)),
            tokens=self._count(self._tokens.labels(variant)),
            truncated=self._count(self._truncated.labels(variant)),
            batches={cut: self._count(self._batches.labels(variant, cut)) for cut in self._cuts},
            predicted=self._count(self._batch_predicted.labels(variant)),
            actual=self._count(self._batch_actual.labels(variant)),
        )

    def request_ended(self, report: RequestReport) -> None:
        """Count a request; durations and volumes only where it was answered."""
        variant = NO_VARIANT if report.variant is None else report.variant
        self._requests_by[variant, report.protocol, report.result].pending += 1
        stages = report.stages
        if stages is not None:
            self._count_answer(self._by_variant[variant], report, stages)
            return
        if report.reason is not None:
            self._rejected_by[report.reason].pending += 1
        if report.result is Result.DEADLINE:
            self._deadlines.pending += 1
        if report.result is Result.CANCELLED:
            self._cancellations.pending += 1

    def _count_answer(self, series: _VariantSeries, report: RequestReport, stages: Stages) -> None:
        trace = report.trace
        if trace is not None and trace.sampled:
            series.duration.observe(stages.total_s, {"trace_id": trace.trace_id})
        else:
            series.durations.add(stages.total_s)
        series.tokenize.add(stages.tokenize_s)
        series.queue.add(stages.queue_s)
        series.infer.add(stages.infer_s)
        series.decode.add(stages.decode_s)
        series.inputs.pending += report.num_inputs
        series.tokens.pending += report.num_tokens
        series.truncated.pending += report.num_truncated

    def batch_ended(self, report: BatchReport) -> None:
        """Count a batch, failed ones too: the engine was busy with them."""
        if report.variant not in self._by_variant:  # a canary's, of one that takes no requests yet
            self._by_variant[report.variant] = self._open_series(report.variant)
        series = self._by_variant[report.variant]
        series.batches[report.cut].pending += 1
        tokens, sequences, fill = self._batch_tallies
        tokens.add(report.num_tokens)
        sequences.add(report.num_sequences)
        fill.add(min(1.0, report.num_tokens / report.max_tokens))
        self._busy.pending += report.engine_s * report.share
        # A batch that failed says nothing of the model, nor does one before there was a model.
        if report.predicted_s > 0.0 and report.engine_s > 0.0 and not report.failed:
            series.predicted.pending += report.predicted_s
            series.actual.pending += report.engine_s
            self._errors.add(abs(report.predicted_s / report.engine_s - 1.0))

    def flush(self) -> None:
        """Tell the metrics what was tallied since the last time; on the event loop."""
        for tally in self._tallies:
            tally.empty()

    def read(self, statistics: BackendStatistics, *, ready: bool) -> None:
        """Take a reading, and what was tallied; call it on the event loop, just before exposition."""
        self.flush()
        self._ready.set(ready)
        if not self._loaded:
            return  # the backend is another process, which tells of itself, or has not started
        self._queue_requests.set(statistics.queue_requests)
        self._queue_tokens.set(statistics.queue_tokens)
        self._queue_predicted.set(statistics.backlog_s)
        if statistics.cost_error_p90 is not None:
            self._cost_error.set(statistics.cost_error_p90)
        for canary in statistics.canaries:
            self._read_canary(canary)
        for counts, result in ((statistics.num_loads, LOADED), (statistics.num_failed_loads, FAILED)):
            for name, count in counts.items():
                self._loads.labels(name, result).inc(count - self._num_loads[name, result])
                self._num_loads[name, result] = count

    def _read_canary(self, canary: CanaryStatistics) -> None:
        before = self._canaries.get(canary.variant)
        self._canaries[canary.variant] = canary
        self._canary_ok.labels(canary.variant).set(canary.ok)
        self._canary_error.labels(canary.variant).set(canary.difference)
        counts = {"ok": canary.num_ok, "failed": canary.num_failed, "skipped": canary.num_skipped}
        told = (0, 0, 0) if before is None else (before.num_ok, before.num_failed, before.num_skipped)
        for (result, count), seen in zip(counts.items(), told, strict=True):
            self._canary_checks.labels(canary.variant, result).inc(count - seen)

    def families(self) -> Families:
        """Return every series as plain values, for another process."""
        return families_of(self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the body and content type that suit an Accept header; OpenMetrics where asked."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type
