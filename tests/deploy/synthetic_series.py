"""Input for `promtool test rules`: every known metric with every label value that it can have."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from service.api.problems import REASONS
from service.batching.decisions import Cut
from service.domain import Result, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deploy.metric_names import Metric

LINEAGES = {"v1": "english", "v2": "multilingual"}
VALUES = {
    "job": ("xlmr-serve",),
    "instance": ("a:8000",),
    "variant": tuple(LINEAGES),
    "protocol": ("native",),
    "outcome": tuple(result.value for result in Result),
    "stage": tuple(stage.value for stage in Stage),
    "reason": REASONS,
    "cut": tuple(cut.value for cut in Cut),
    "result": ("ok", "failed"),
    "le": ("0.1", "0.5", "1.0", "16.0", "+Inf"),
}
LOAD_OUTCOMES = ("ok", "failed", "censored")


def input_series(metric: Metric, num_steps: int) -> Iterator[dict[str, str]]:
    """Yield a metric's series: counters and buckets grow by one a step, gauges stay at one."""
    for sample in metric.sample_names:
        labels = sorted(metric.labels_of(sample) - {"lineage"})
        for values in product(*(_values(metric, label) for label in labels)):
            chosen = dict(zip(labels, values, strict=True))
            if "lineage" in metric.labels:
                chosen["lineage"] = LINEAGES[chosen["variant"]]
            text = ", ".join(f'{label}="{value}"' for label, value in chosen.items())
            growing = metric.kind != "gauge"
            step = 1 + _values(metric, "le").index(chosen["le"]) if "le" in chosen else 5
            yield {
                "series": f"{sample}{{{text}}}",
                "values": f"0+{step}x{num_steps}" if growing else f"1x{num_steps}",
            }


def _values(metric: Metric, label: str) -> tuple[str, ...]:
    if label == "outcome" and metric.name.startswith("xlmr_load_"):
        return LOAD_OUTCOMES
    return VALUES.get(label, (f"some-{label}",))
