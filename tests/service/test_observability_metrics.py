"""Each metric's value after known traffic."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from service.domain import (
    BackendStatistics,
    BatchReport,
    CanaryStatistics,
    RequestReport,
    Result,
    Stage,
    Stages,
    VariantParity,
)
from service.observability.metrics import NO_VARIANT, Metrics
from service.tasks.script import SCRIPTS
from service.tasks.text_input import TextInput
from tests.service.backend_world import card

if TYPE_CHECKING:
    from service.domain import VariantCard

REASONS = ("shape", "queue-full")
CUTS = ("budget", "empty")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def cards() -> list[VariantCard]:
    parity = VariantParity(max_error=0.125, mean_error=0.01, agreement=1.0, num_answers=14, batch_error=0.0)
    return [
        card("v", lineage="multi-task", parity=parity),
        card("w", "embed", revision="r2", shared_bytes=20),
    ]


@pytest.fixture
def metrics(registry: CollectorRegistry, cards: list[VariantCard]) -> Metrics:
    metrics = Metrics(registry, protocols=["native"], reasons=REASONS, cuts=CUTS)
    metrics.variants_loaded(cards)
    return metrics


def answered(variant: str = "v", **changed: float) -> RequestReport:
    values: dict[str, float] = {"num_inputs": 3, "num_tokens": 40, "num_truncated": 1}
    return RequestReport(
        variant=variant,
        protocol="native",
        result=Result.OK,
        stages=Stages(tokenize_s=0.004, queue_s=0.02, infer_s=0.3, decode_s=0.001),
        **(values | changed),  # type: ignore[arg-type]  # a table of counts
    )


def test_answered_requests_count_with_all_that_they_took(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    metrics.request_ended(answered())
    metrics.request_ended(answered(num_inputs=1, num_tokens=2, num_truncated=0))
    assert registry.get_sample_value("xlmr_inputs_total", {"variant": "v"}) == 0.0, "not told yet"
    metrics.flush()
    metrics.flush()  # told once
    read = registry.get_sample_value
    assert read("xlmr_requests_total", {"variant": "v", "protocol": "native", "outcome": "ok"}) == 2.0
    assert read("xlmr_inputs_total", {"variant": "v"}) == 4.0
    assert read("xlmr_tokens_total", {"variant": "v"}) == 42.0
    assert read("xlmr_truncated_total", {"variant": "v"}) == 1.0
    assert read("xlmr_request_duration_seconds_count", {"variant": "v"}) == 2.0
    assert read("xlmr_request_duration_seconds_sum", {"variant": "v"}) == pytest.approx(0.65)
    assert read("xlmr_request_duration_seconds_bucket", {"variant": "v", "le": "0.25"}) == 0.0
    assert read("xlmr_request_duration_seconds_bucket", {"variant": "v", "le": "0.5"}) == 2.0
    sums = {
        stage: read("xlmr_stage_duration_seconds_sum", {"variant": "v", "stage": stage}) for stage in Stage
    }
    assert sums == pytest.approx({"tokenize": 0.008, "queue": 0.04, "infer": 0.6, "decode": 0.002})
    assert read("xlmr_inputs_total", {"variant": "w"}) == 0.0


def test_refused_requests_count_by_reason_and_not_by_duration(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    for variant, result, reason in [
        ("v", Result.OVERLOADED, "queue-full"),
        ("v", Result.DEADLINE, None),
        (None, Result.REJECTED, "shape"),
        (None, Result.CANCELLED, None),
    ]:
        metrics.request_ended(RequestReport(variant=variant, protocol="native", result=result, reason=reason))
    metrics.flush()
    read = registry.get_sample_value
    labels = {"protocol": "native"}
    assert read("xlmr_requests_total", labels | {"variant": "v", "outcome": "overloaded"}) == 1.0
    assert read("xlmr_requests_total", labels | {"variant": NO_VARIANT, "outcome": "rejected"}) == 1.0
    assert read("xlmr_requests_total", labels | {"variant": NO_VARIANT, "outcome": "cancelled"}) == 1.0
    assert read("xlmr_deadline_missed_total") == 1.0
    assert read("xlmr_cancelled_total") == 1.0
    assert read("xlmr_rejected_total", {"reason": "queue-full"}) == 1.0
    assert read("xlmr_rejected_total", {"reason": "shape"}) == 1.0
    assert read("xlmr_request_duration_seconds_count", {"variant": "v"}) == 0.0


def test_batches_count_with_their_cut_and_size(registry: CollectorRegistry, metrics: Metrics) -> None:
    for num_tokens, cut, predicted_s, failed in [
        (100, "budget", 0.2, False),
        (3, "empty", 0.2, True),
        (300, "empty", 0.0, False),
    ]:
        metrics.batch_ended(
            BatchReport(
                variant="v",
                cut=cut,
                num_tokens=num_tokens,
                num_sequences=2,
                max_tokens=200,
                engine_s=0.25,
                predicted_s=predicted_s,
                failed=failed,
                share=0.5 if failed else 1.0,
            )
        )
    metrics.flush()
    read = registry.get_sample_value
    assert read("xlmr_batches_total", {"variant": "v", "cut": "budget"}) == 1.0
    assert read("xlmr_batches_total", {"variant": "v", "cut": "empty"}) == 2.0
    assert read("xlmr_batch_tokens_sum") == 403.0
    assert read("xlmr_batch_tokens_bucket", {"le": "64.0"}) == 1.0
    assert read("xlmr_batch_sequences_sum") == 6.0
    assert read("xlmr_batch_sequences_bucket", {"le": "2.0"}) == 3.0
    # One had half of the device, beside another.
    assert read("xlmr_engine_busy_seconds_total") == 0.25 + 0.125 + 0.25
    assert read("xlmr_batch_fill_ratio_sum") == pytest.approx(0.5 + 0.015 + 1.0)
    # Only the first has a prediction that can be held against what it took.
    assert read("xlmr_batch_predicted_seconds_total", {"variant": "v"}) == 0.2
    assert read("xlmr_batch_actual_seconds_total", {"variant": "v"}) == 0.25
    assert read("xlmr_batch_prediction_error_ratio_count") == 1.0
    assert read("xlmr_batch_prediction_error_ratio_sum") == pytest.approx(0.2)


def reading(**changed: object) -> BackendStatistics:
    values: dict[str, object] = {
        "queue_requests": 3,
        "queue_tokens": 70,
        "engine_busy_s": 1.0,
        "num_batches": 2,
        "ready": True,
        "backlog_s": 1.5,
        "cost_error_p90": 0.25,
    }
    return BackendStatistics(**(values | changed))  # type: ignore[arg-type]  # a table of every field


def checked(**changed: object) -> CanaryStatistics:
    values: dict[str, object] = {
        "variant": "v",
        "ok": True,
        "difference": 0.0,
        "num_ok": 0,
        "num_failed": 0,
        "num_skipped": 0,
    }
    return CanaryStatistics(**(values | changed))  # type: ignore[arg-type]  # a table of every field


def test_a_canary_is_told_as_it_was_last_seen_and_its_checks_are_counted(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    read = registry.get_sample_value
    metrics.read(reading(canaries=(checked(),)), ready=True)
    checks = [("ok", 0.0), ("failed", 0.0), ("skipped", 0.0)]
    for result, count in checks:
        assert read("xlmr_canary_checks_total", {"variant": "v", "result": result}) == count
    metrics.read(reading(canaries=(checked(num_ok=3, num_skipped=1, difference=0.002),)), ready=True)
    later = checked(ok=False, difference=0.5, num_ok=3, num_failed=2, num_skipped=1)
    for _ in range(2):  # the same reading twice is counted once
        metrics.read(reading(canaries=(later,)), ready=True)
    for result, count in [("ok", 3.0), ("failed", 2.0), ("skipped", 1.0)]:
        assert read("xlmr_canary_checks_total", {"variant": "v", "result": result}) == count
    assert read("xlmr_canary_ok", {"variant": "v"}) == 0.0
    assert read("xlmr_canary_max_relative_error_ratio", {"variant": "v"}) == 0.5


def test_an_error_of_predictions_that_nobody_knows_yet_is_no_number(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    metrics.read(reading(cost_error_p90=None), ready=True)
    assert math.isnan(registry.get_sample_value("xlmr_cost_error_p90_ratio") or 0.0)
    metrics.read(reading(), ready=True)
    metrics.read(reading(cost_error_p90=None), ready=True)  # of weights that have just come
    assert registry.get_sample_value("xlmr_cost_error_p90_ratio") == 0.25


def test_gauges_are_what_was_read_last(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.read(reading(), ready=True)
    read = registry.get_sample_value
    assert read("xlmr_queue_requests") == 3.0
    assert read("xlmr_queue_tokens") == 70.0
    assert read("xlmr_queue_predicted_seconds") == 1.5
    assert read("xlmr_cost_error_p90_ratio") == 0.25
    assert read("xlmr_ready") == 1.0
    metrics.read(reading(), ready=False)
    assert read("xlmr_ready") == 0.0


def test_variants_are_described(registry: CollectorRegistry, metrics: Metrics) -> None:
    read = registry.get_sample_value
    common = {"dtype": "float32"}
    first = {"variant": "v", "revision": "r1", "head": "classify", "lineage": "multi-task"}
    second = {"variant": "w", "revision": "r2", "head": "embed", "lineage": "none"}
    assert read("xlmr_variant_info", first | common) == 1.0
    assert read("xlmr_variant_info", second | common) == 1.0
    assert read("xlmr_canary_ok", {"variant": "v"}) == 1.0
    assert read("xlmr_parity_max_relative_error_ratio", {"variant": "v"}) == 0.125
    assert read("xlmr_canary_ok", {"variant": "w"}) is None, "it was not measured"
    assert read("xlmr_variant_loads_total", {"variant": "v", "result": "ok"}) == 0.0
    assert read("xlmr_variant_loads_total", {"variant": "v", "result": "failed"}) == 0.0
    assert read("xlmr_variant_owned_bytes", {"variant": "v"}) == 100.0
    assert read("xlmr_variant_shared_bytes", {"variant": "w"}) == 20.0
    metrics.describe_build(version="0.1", revision="abc", torch="2.13", python="3.11")
    build = {"version": "0.1", "revision": "abc", "torch": "2.13", "python": "3.11"}
    assert read("xlmr_build_info", build) == 1.0


def test_loads_are_counted_as_the_backend_counts_them(registry: CollectorRegistry, metrics: Metrics) -> None:
    read = registry.get_sample_value
    metrics.read(reading(num_loads={"v": 1, "w": 1}), ready=True)
    later = reading(num_loads={"v": 3, "w": 1}, num_failed_loads={"w": 2, "_catalogue": 1})
    for _ in range(2):
        metrics.read(later, ready=True)
    assert read("xlmr_variant_loads_total", {"variant": "v", "result": "ok"}) == 3.0
    assert read("xlmr_variant_loads_total", {"variant": "w", "result": "failed"}) == 2.0
    assert read("xlmr_variant_loads_total", {"variant": "_catalogue", "result": "failed"}) == 1.0


def test_a_swapped_variant_is_described_as_it_is_now_and_goes_on_counting(
    registry: CollectorRegistry, metrics: Metrics, cards: list[VariantCard]
) -> None:
    metrics.request_ended(answered("v"))
    metrics.variants_loaded([replace(cards[0], revision="r9", generation=1, parity=None)])
    metrics.request_ended(answered("v"))
    metrics.flush()
    read = registry.get_sample_value
    info = {"variant": "v", "head": "classify", "lineage": "multi-task", "dtype": "float32"}
    assert read("xlmr_variant_info", info | {"revision": "r9"}) == 1.0
    assert read("xlmr_variant_info", info | {"revision": "r1"}) is None
    assert read("xlmr_canary_ok", {"variant": "v"}) is None
    # One that is served no more: its gauges go, what it answered stays counted.
    assert read("xlmr_variant_owned_bytes", {"variant": "w"}) is None
    assert read("xlmr_inputs_total", {"variant": "w"}) == 0.0
    assert read("xlmr_inputs_total", {"variant": "v"}) == 6.0


def test_the_backend_of_another_process_is_not_told_twice(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry, protocols=["native"], reasons=REASONS, cuts=CUTS)
    metrics.variants_opened([card("v")])
    metrics.read(reading(canaries=(checked(),), num_loads={"v": 1}), ready=True)
    read = registry.get_sample_value
    assert read("xlmr_ready") == 1.0
    assert read("xlmr_queue_requests") == 0.0
    assert read("xlmr_canary_ok", {"variant": "v"}) is None
    assert read("xlmr_variant_loads_total", {"variant": "v", "result": "ok"}) is None


def test_a_batch_of_a_variant_without_requests_is_counted(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    """A canary may be asked before requests are taken."""
    values = {"num_tokens": 3, "num_sequences": 1, "max_tokens": 8, "engine_s": 0.5, "predicted_s": 0.0}
    metrics.batch_ended(BatchReport(variant="new", cut="empty", failed=False, **values))  # type: ignore[arg-type]  # a table
    metrics.variants_opened([card("new")])
    metrics.request_ended(answered("new"))
    metrics.flush()
    assert registry.get_sample_value("xlmr_tokens_total", {"variant": "new"}) == 40.0
    assert registry.get_sample_value("xlmr_batches_total", {"variant": "new", "cut": "empty"}) == 1.0


def test_scripts_are_counted_from_a_closed_list_only_where_they_are_asked_for(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    read = registry.get_sample_value
    assert read("xlmr_inputs_by_script_total", {"script": "latin"}) is None
    count = metrics.open_scripts()
    assert {read("xlmr_inputs_by_script_total", {"script": script}) for script in SCRIPTS} == {0.0}
    count([TextInput(text="a train"), TextInput(text="un train"), TextInput(text="\u6c34")])
    count([TextInput(text="123")])
    metrics.flush()
    found = {script: read("xlmr_inputs_by_script_total", {"script": script}) for script in SCRIPTS}
    assert {script: value for script, value in found.items() if value} == {"latin": 2, "han": 1, "other": 1}


def test_every_series_stands_at_zero_before_any_traffic(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    samples = [sample for family in registry.collect() for sample in family.samples]
    series = {(sample.name, *sorted(sample.labels.values())) for sample in samples}
    for variant in ("v", "w", NO_VARIANT):
        for result in Result:
            assert ("xlmr_requests_total", *sorted([variant, "native", result.value])) in series
    for variant in ("v", "w"):
        for cut in CUTS:
            assert ("xlmr_batches_total", *sorted([variant, cut])) in series
        for stage in Stage:
            assert ("xlmr_stage_duration_seconds_count", *sorted([variant, stage.value])) in series
    for reason in REASONS:
        assert ("xlmr_rejected_total", reason) in series
    # What is known from the moment that a variant is loaded, and what nobody can know yet.
    loaded = ("_created", "_info", "_bytes", "_loads_total", "canary_ok", "parity_max_relative_error_ratio")
    told = (*loaded, "cost_error_p90_ratio")
    counted = [sample for sample in samples if not sample.name.endswith(told)]
    assert {sample.value for sample in counted} == {0.0}


def test_traffic_opens_no_series_that_was_not_there(registry: CollectorRegistry, metrics: Metrics) -> None:
    def series() -> set[tuple[str, ...]]:
        return {
            (sample.name, *sorted(sample.labels.values()))
            for family in registry.collect()
            for sample in family.samples
        }

    before = series()
    metrics.request_ended(answered("w"))
    for result in Result:
        for reason in (*REASONS, None):
            metrics.request_ended(
                RequestReport(variant=None, protocol="native", result=result, reason=reason)
            )
    metrics.flush()
    assert series() == before


def test_two_registries_are_two_worlds() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()
    one = Metrics(first, protocols=["native"], reasons=REASONS, cuts=CUTS)
    Metrics(second, protocols=["native"], reasons=REASONS, cuts=CUTS)
    one.read(
        BackendStatistics(queue_requests=1, queue_tokens=1, engine_busy_s=0.0, num_batches=0, ready=True),
        ready=True,
    )
    assert (first.get_sample_value("xlmr_ready"), second.get_sample_value("xlmr_ready")) == (1.0, 0.0)


def test_exposition_is_text_or_openmetrics_as_asked(metrics: Metrics) -> None:
    body, content_type = metrics.exposition("")
    assert content_type.startswith("text/plain")
    assert {family.name for family in text_string_to_metric_families(body.decode())} >= {"xlmr_requests"}
    body, content_type = metrics.exposition("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_promtool_has_nothing_to_say(metrics: Metrics) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here; it comes with Debian's package prometheus")
    metrics.request_ended(answered())
    metrics.read(reading(canaries=(checked(),)), ready=True)
    body, _ = metrics.exposition("")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
