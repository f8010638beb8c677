"""A world for `promtool test rules` in which every known metric has every label value that it can have."""

from __future__ import annotations

import subprocess
from itertools import product
from typing import TYPE_CHECKING

import yaml

from service.api.problems import REASONS
from service.batching.decisions import Cut
from service.domain import Result, Stage
from tests.deploy.metric_names import known_metrics
from tests.deploy.prometheus_rules import RULE_FILES, groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

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
STEP_S = 5
NUM_STEPS = 180
AT = "12m"


def answers(expr: str) -> dict[str, object]:
    """Say that an expression has an answer."""
    samples = [{"labels": "{}", "value": 1}]
    return {"expr": f"count({expr}) > bool 0", "eval_time": AT, "exp_samples": samples}


def silent(expr: str) -> dict[str, object]:
    """Say that an expression has none."""
    return {"expr": expr, "eval_time": AT, "exp_samples": []}


def evaluate(
    promtool: str, folder: Path, tests: Sequence[Mapping[str, object]]
) -> subprocess.CompletedProcess[str]:
    """Ask Prometheus' own engine, with the committed rules over the series of every metric."""
    metrics = {metric.name: metric for metric in known_metrics().values() if metric.name != "ALERTS"}
    series = [one for metric in metrics.values() for one in input_series(metric, NUM_STEPS)]
    # An alert that fires, for the panels that show alerts.
    alert = 'ALERTS{alertname="XlmrTest", alertstate="firing", severity="ticket"}'
    series.append({"series": alert, "values": f"1x{NUM_STEPS}"})
    case = {"interval": f"{STEP_S}s", "input_series": series, "promql_expr_test": list(tests)}
    document = {
        "rule_files": [str(path) for path in RULE_FILES],
        "evaluation_interval": "15s",
        "group_eval_order": groups(),
        "tests": [case],
    }
    file = folder / "world.yml"
    file.write_text(yaml.safe_dump(document, width=10_000), encoding="utf-8")
    command = [promtool, "test", "rules", str(file)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


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
