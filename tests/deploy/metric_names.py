"""Which metrics exist: those of the service's own registry, and those that other programs export.

Dashboards and rules are held to this list, and the list to the registry: a metric that stands
in both must have the same kind and labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from service.api.problems import REASONS
from service.batching.decisions import Cut
from service.observability.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
# What a scrape adds.
TARGET_LABELS = frozenset({"job", "instance"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric as it stands in `# TYPE`; ``labels`` without those of the target."""

    name: str
    kind: str
    labels: tuple[str, ...]

    @property
    def sample_names(self) -> tuple[str, ...]:
        """Return the names that a query may use."""
        if self.kind == "histogram":
            return tuple(f"{self.name}{suffix}" for suffix in ("_bucket", "_sum", "_count"))
        return (self.name,)

    def labels_of(self, sample_name: str) -> frozenset[str]:
        """Return the labels of a sample, those of its target included."""
        bucket = {"le"} if sample_name == f"{self.name}_bucket" else set()
        return TARGET_LABELS | bucket | set(self.labels)


def _table(kind: str, text: str) -> Iterable[Metric]:
    for line in text.split():
        name, _, labels = line.partition("{")
        yield Metric(name=name, kind=kind, labels=tuple(labels.rstrip("}").split(",")) if labels else ())


DESIGNED = (
    *_table(
        "counter",
        """
        xlmr_batch_predicted_seconds_total{variant} xlmr_batch_actual_seconds_total{variant}
        xlmr_deadline_missed_total xlmr_cancelled_total xlmr_variant_loads_total{variant,result}
        xlmr_canary_checks_total{variant,result} xlmr_inputs_by_script_total{script}
        xlmr_process_restarts_total{process} xlmr_process_hangs_total{process}
        xlmr_load_offered_total xlmr_load_sent_total xlmr_load_completed_total{outcome}
        process_cpu_seconds_total
        """,
    ),
    *_table(
        "gauge",
        """
        xlmr_queue_predicted_seconds xlmr_cost_error_p90_ratio
        xlmr_variant_owned_bytes{variant} xlmr_variant_shared_bytes{variant}
        xlmr_canary_ok{variant} xlmr_canary_max_relative_error_ratio{variant}
        xlmr_parity_max_relative_error_ratio{variant}
        xlmr_build_info{version,revision,torch,python}
        xlmr_gpu_utilisation_ratio{gpu} xlmr_gpu_memory_used_bytes{gpu} xlmr_gpu_power_watts{gpu}
        xlmr_load_inflight_requests xlmr_load_run_info{run,arm,trace,target}
        xlmr_load_run_start_timestamp_seconds xlmr_load_run_end_timestamp_seconds
        process_resident_memory_bytes up
        """,
    ),
    *_table(
        "histogram",
        """
        xlmr_batch_fill_ratio xlmr_batch_prediction_error_ratio
        xlmr_load_latency_seconds xlmr_load_lateness_seconds
        """,
    ),
    # Source: default-counters.csv of NVIDIA/dcgm-exporter.
    *_table(
        "gauge",
        """
        DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu,UUID,Hostname} DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{gpu,UUID,Hostname}
        DCGM_FI_PROF_DRAM_ACTIVE{gpu,UUID,Hostname}
        """,
    ),
    # Prometheus itself.
    *_table("gauge", "ALERTS{alertname,alertstate,severity}"),
)


def exported_metrics() -> tuple[Metric, ...]:
    """Return what the service's registry holds now."""
    metrics = Metrics(
        CollectorRegistry(), protocols=["native"], reasons=REASONS, cuts=[cut.value for cut in Cut]
    )
    found = [part for part in vars(metrics).values() if isinstance(part, MetricWrapperBase)]
    assert found, "The service's metrics are kept elsewhere; find them there."
    return tuple(_described(part) for part in found)


def _described(part: MetricWrapperBase) -> Metric:
    kind = next(kind for library, kind in KINDS.items() if isinstance(part, library))
    name = f"{part._name}_total" if kind == "counter" else part._name
    return Metric(name=name, kind=kind, labels=tuple(part._labelnames))


@cache
def known_metrics() -> dict[str, Metric]:
    """Return every metric by its samples' names; the service's own word goes first."""
    return {sample: metric for metric in (*DESIGNED, *exported_metrics()) for sample in metric.sample_names}
