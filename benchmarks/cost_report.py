"""Errors of the cost model by shape into a table and verdicts; pure.

Rules: an error is that of a prediction made as the batch was cut; a shape is a dtype, on the whole device or
beside other batches; one with fewer batches than a percentile needs is told, not judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.engine_report import QUIET_RATIO, markdown, reasons
from service.batching.cost import LEAST_ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GOAL = 0.25
HEAD = ["dtype", "runs", "load", "batches", "median tokens", "median error", "p90 error"]


def table(phases: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a line for each dtype, way of running and load, and one for all loads together."""
    lines = [HEAD]
    for dtype, beside in _shapes(phases):
        loads = sorted({phase["load"] for phase in phases if phase["dtype"] == dtype})
        for load in (*loads, None):
            found = _batches(phases, dtype, load, beside=beside)
            if found:
                lines.append([dtype, _way(beside=beside), load or "all", *_figures(found)])
    return lines


def verdicts(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each shape whether the goal is met."""
    says = []
    for dtype, beside in _shapes(phases):
        errors = [batch["error"] for batch in _batches(phases, dtype, None, beside=beside)]
        goal = f"p90 of relative error <= {GOAL:.0%}, {dtype}, {_way(beside=beside)}"
        if len(errors) < LEAST_ERRORS:
            says.append(f"{goal}: not judged ({len(errors)} batches of at least {LEAST_ERRORS})")
        else:
            found = _p90(errors)
            says.append(
                f"{goal}: {'met' if found <= GOAL else 'MISSED'} ({found:.2f}, {len(errors)} batches)"
            )
    return says


def page(record: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    environment, phases = record["environment"], record["phases"]
    changed = " with changes" if environment.get("dirty") else ""
    parts = ["# How well the cost of a batch is predicted"]
    if record["quick"]:
        parts.append("**A quick try: the parts run, and their figures are no result.**")
    loud = [phase["others_ratio"] for phase in phases if phase["others_ratio"] > QUIET_RATIO]
    if loud:
        parts.append(
            f"**Not quiet: in {len(loud)} of {len(phases)} stretches other processes had more than "
            f"{QUIET_RATIO:.0%} of the cores (up to {max(loud):.0%}).**"
        )
    parts += [
        "\n".join(f"- {line}" for line in record["verdicts"]),
        *reasons(record["verdicts"], "the-cost-model"),
        (
            f"{record['at']}, commit {environment.get('commit')}{changed}; {environment.get('cpu_model')}, "
            f"{environment.get('num_cores')} cores; {record['size']} size, XNLI's pairs over HTTP, a request "
            f"each, {record['repeats']} stretches of {record['seconds']:g} s a load in turns, seed "
            f"{record['seed']}; client and service share the cores. An error is |predicted - actual| / "
            "actual of a prediction made as the batch was cut. Every batch is in cost.json, from which "
            "`bench_cost.py --replay` asks the present model again."
        ),
        markdown(table(phases)),
    ]
    return "\n\n".join(parts) + "\n"


def _shapes(phases: Sequence[Mapping[str, Any]]) -> list[tuple[str, bool]]:
    return sorted({(phase["dtype"], batch["beside"]) for phase in phases for batch in phase["batches"]})


def _batches(
    phases: Sequence[Mapping[str, Any]], dtype: str, load: str | None, *, beside: bool
) -> list[Mapping[str, Any]]:
    return [
        batch
        for phase in phases
        if phase["dtype"] == dtype and load in (None, phase["load"])
        for batch in phase["batches"]
        if batch["beside"] == beside
    ]


def _figures(batches: Sequence[Mapping[str, Any]]) -> list[str]:
    errors = [batch["error"] for batch in batches]
    tokens = float(np.median([batch["num_tokens"] for batch in batches]))
    p90 = f"{_p90(errors):.2f}" if len(errors) >= LEAST_ERRORS else ""
    return [f"{len(errors):,}", f"{tokens:.0f}", f"{np.median(errors):.2f}", p90]


def _p90(errors: Sequence[float]) -> float:
    return float(np.quantile(errors, 0.9, method="inverted_cdf"))


def _way(*, beside: bool) -> str:
    return "beside others" if beside else "on the whole device"
