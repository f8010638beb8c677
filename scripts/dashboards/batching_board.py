"""Batching: how full batches are and why they were cut, what the cost model predicts, what waits."""

from __future__ import annotations

from scripts.dashboards.frame import INSTANCE, JOB, Board, Row
from scripts.dashboards.panels import figure, heat, series
from scripts.dashboards.queries import (
    buckets,
    largest,
    latest,
    mean,
    quantile,
    quantiles,
    ranged,
    rate,
    total,
)


def batching_board() -> Board:
    """Return the dashboard of the scheduler and its cost model."""
    return Board(
        uid="xlmr-batching",
        title="XLM-R: batching",
        description="Why batches are as large as they are, whether predictions of their time hold, and "
        "what waits.",
        variables=(JOB, INSTANCE),
        rows=(_glance(), _batches(), _cost(), _queue()),
    )


def _bias() -> str:
    predicted = rate("xlmr_batch_predicted_seconds_total")
    return f"{predicted} / {rate('xlmr_batch_actual_seconds_total')}"


def _glance() -> Row:
    return Row(
        title="At a glance",
        panels=(
            figure("Batches", "Batches in a second.", "ops", latest(rate("xlmr_batches_total"))),
            figure(
                "Tokens a batch",
                "Mean tokens in a batch; there is no padding.",
                "none",
                latest(mean("xlmr_batch_tokens")),
            ),
            figure(
                "Fill",
                "Mean tokens of a batch over its token budget.",
                "percentunit",
                latest(mean("xlmr_batch_fill_ratio")),
            ),
            figure(
                "Engine busy",
                "Share of the time in which the engines work on a batch, averaged over instances.",
                "percentunit",
                latest(f"avg ({rate('xlmr_engine_busy_seconds_total', 'instance')})"),
                steps={None: "green", 0.8: "orange", 0.95: "red"},
            ),
            figure(
                "Prediction error, p90",
                "Nine of ten of the latest batches were predicted better than this.",
                "percentunit",
                latest(largest("xlmr_cost_error_p90_ratio")),
                steps={None: "green", 0.25: "orange", 0.5: "red"},
            ),
            figure(
                "Queue",
                "Engine time of all that waits, on the fullest instance.",
                "s",
                latest(largest("xlmr_queue_predicted_seconds")),
                steps={None: "green", 0.5: "red"},
            ),
        ),
    )


def _batches() -> Row:
    return Row(
        title="Batches",
        panels=(
            series(
                "Batches by why they were cut",
                "budget: full; empty: nothing more waited; lone: one sequence larger than the budget; "
                "wait: nothing more came while it waited. Under load most should be cut by budget.",
                "ops",
                [ranged(rate("xlmr_batches_total", "cut"), "{{cut}}")],
                stacked=True,
            ),
            series(
                "Fill",
                "Tokens of a batch over its token budget. Low fill on a busy engine is lost capacity; on "
                "an idle one it is low latency.",
                "percentunit",
                [
                    ranged(mean("xlmr_batch_fill_ratio"), "mean"),
                    ranged(quantile(0.5, "xlmr_batch_fill_ratio"), "p50"),
                    ranged("xlmr:limit_batch_fill:ratio", "limit"),
                ],
                at_most=1,
            ),
            series(
                "Sequences and tokens a batch",
                "Means. Tokens rise with load until the budget holds them.",
                "none",
                [
                    ranged(mean("xlmr_batch_tokens"), "tokens"),
                    ranged(mean("xlmr_batch_sequences"), "sequences"),
                ],
            ),
            heat(
                "Tokens a batch",
                "How many batches had how many tokens.",
                "none",
                buckets("xlmr_batch_tokens"),
                width=12,
            ),
            heat(
                "Sequences a batch",
                "How many batches had how many sequences.",
                "none",
                buckets("xlmr_batch_sequences"),
                width=12,
            ),
        ),
    )


def _cost() -> Row:
    return Row(
        title="Cost model",
        panels=(
            series(
                "Engine time, predicted and actual",
                "Seconds of engine time in a second: the two lines should lie on each other.",
                "percentunit",
                [
                    ranged(rate("xlmr_batch_predicted_seconds_total"), "predicted"),
                    ranged(rate("xlmr_batch_actual_seconds_total"), "actual"),
                ],
            ),
            series(
                "Bias",
                "Predicted over actual time: above 1 budgets are too small, below 1 waits are longer than "
                "told.",
                "none",
                [ranged(_bias(), "predicted over actual")],
            ),
            series(
                "Prediction error",
                "Of single batches, relative to the actual time. p90 of the latest: what the service "
                "itself goes by.",
                "percentunit",
                [
                    ranged(quantile(0.5, "xlmr_batch_prediction_error_ratio"), "p50"),
                    ranged(quantile(0.9, "xlmr_batch_prediction_error_ratio"), "p90"),
                    ranged(largest("xlmr_cost_error_p90_ratio"), "p90 of the latest"),
                    ranged("xlmr:limit_cost_error:ratio", "limit"),
                ],
            ),
            series(
                "Engine time by variant",
                "Which variants use the engine.",
                "percentunit",
                [ranged(rate("xlmr_batch_actual_seconds_total", "variant"), "{{variant}}")],
                stacked=True,
                width=12,
            ),
            series(
                "Engine throughput",
                "Tokens in a second of engine time: what a token costs, whatever the load.",
                "cps",
                [
                    ranged(
                        f"{rate('xlmr_batch_tokens_sum')} / {rate('xlmr_engine_busy_seconds_total')}",
                        "tokens",
                    )
                ],
                width=12,
            ),
        ),
    )


def _queue() -> Row:
    return Row(
        title="Queue",
        panels=(
            series(
                "Queue in engine time",
                "How long the engine would take for all that waits: the wait of a request that arrives now.",
                "s",
                [
                    ranged(largest("xlmr_queue_predicted_seconds", "instance"), "{{instance}}"),
                    ranged("xlmr:limit_queue:seconds", "limit"),
                ],
            ),
            series(
                "Queue in tokens",
                "Tokens that wait; admission is refused when they would exceed the queue's limit.",
                "short",
                [ranged(total("xlmr_queue_tokens", "instance"), "{{instance}}")],
            ),
            series(
                "Time in the queue",
                "Of answered requests, from admission to dispatch of the sequence that was answered last.",
                "s",
                quantiles("xlmr_stage_duration_seconds", 'stage="queue"'),
            ),
        ),
    )
