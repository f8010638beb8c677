"""What Prometheus counted of two load runs is what their samples hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import polars as pl
import pytest

from models.canary import canary
from models.tokenizer import Tokenizer
from service.engine.loading import _NUM_ASKED_AGAIN
from tests.observability.prometheus_server import TEST_S

if TYPE_CHECKING:
    from tests.observability.conftest import Watched

pytestmark = [pytest.mark.observability, pytest.mark.timeout(TEST_S)]
SERVICE = 'job="xlmr-serve"'


def answered(watched: Watched) -> pl.DataFrame:
    """Return the samples of both runs; every one must have an answer, or counting proves little."""
    samples = pl.concat(watched.samples.values())
    assert samples["error"].null_count() == samples.height > 100
    return samples


def last(series: str) -> str:
    """Return a query for what a series said last, whether its service lives or not."""
    return f"last_over_time({series}[10m])"


def canary_tokens() -> int:
    """Return how many tokens a check of one variant takes; the variants share a tokenizer."""
    return sum(map(len, canary(Tokenizer.bundled(), max_positions=512)[:_NUM_ASKED_AGAIN]))


def test_every_variant_was_asked_again_and_answered_as_at_load(watched: Watched) -> None:
    labels = f'{SERVICE}, result="ok"'
    asked = f"count({last(f'xlmr_canary_checks_total{{{labels}}}')} > 0)"
    watched.prometheus.wait_for(asked, samples_variants(watched))
    failed = f'xlmr_canary_checks_total{{{SERVICE}, result!="ok"}}'
    assert watched.prometheus.sum(last(failed)) == 0
    largest = f"max({last(f'xlmr_canary_max_relative_error_ratio{{{SERVICE}}}')})"
    assert watched.prometheus.sum(largest) < 1e-4


def samples_variants(watched: Watched) -> int:
    return answered(watched)["variant"].n_unique()


def test_requests_and_tokens_are_those_of_the_samples(watched: Watched) -> None:
    samples = answered(watched)
    for variant, rows in samples.group_by("variant"):
        labels = f'{SERVICE}, variant="{variant[0]}"'
        watched.prometheus.wait_for(last(f'xlmr_requests_total{{{labels}, outcome="ok"}}'), rows.height)
        watched.prometheus.wait_for(last(f"xlmr_tokens_total{{{labels}}}"), int(rows["tokens"].sum()))
        watched.prometheus.wait_for(last(f"xlmr_inputs_total{{{labels}}}"), rows.height)
    watched.prometheus.wait_for(last(f"xlmr_requests_total{{{SERVICE}}}"), samples.height)
    batches = f"sum({last(f'xlmr_batch_tokens_sum{{{SERVICE}}}')})"
    checks = f"sum({last(f'xlmr_canary_checks_total{{{SERVICE}}}')})"
    # A reading may fall between a check's batch and its count, and so may the last one.
    truth = f"{batches} - {canary_tokens()} * {checks} == {int(samples['tokens'].sum())}"
    watched.prometheus.wait(truth, lambda: watched.prometheus.has_data(truth, watched.ended_s, time.time()))


def test_stages_are_those_that_clients_were_told(watched: Watched) -> None:
    """Server-Timing is rounded to a microsecond a stage."""
    samples = answered(watched)
    for stage in ("tokenize", "queue", "infer", "decode"):
        metric = f'xlmr_stage_duration_seconds_sum{{{SERVICE}, stage="{stage}"}}'
        told_s = float(samples[f"{stage}_ms"].sum()) / 1e3
        assert watched.prometheus.sum(last(metric)) == pytest.approx(told_s, abs=1e-6 * samples.height), stage


def test_the_load_testers_own_counts_are_those_of_its_samples(watched: Watched) -> None:
    """Each run's last scrape came after its end, or its final counts would be lost with its process."""
    for arm, samples in watched.samples.items():
        at_end = f'* on (job, instance) group_left () xlmr_load_run_info{{arm="{arm}"}}'
        for metric, expected in {
            'xlmr_load_completed_total{outcome="ok"}': samples.height,
            "xlmr_load_offered_total": samples.height,
            "xlmr_load_sent_total": samples.height,
            "xlmr_load_latency_seconds_count": samples.height,
            "xlmr_load_lateness_seconds_count": samples.height,
        }.items():
            query = f"max_over_time(({metric} {at_end})[10m:1s])"
            assert watched.prometheus.sum(query) == expected, (arm, metric)
        ended = f"max_over_time((xlmr_load_run_end_timestamp_seconds {at_end})[10m:1s])"
        assert watched.began_s < watched.prometheus.sum(ended) < watched.ended_s
