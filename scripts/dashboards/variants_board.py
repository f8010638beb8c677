"""Variants: two arms side by side, then each variant by itself, then what is loaded.

The two arms are two lineages; those of arm B are sorted the other way round, so that it starts
with another lineage than A where there are two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.dashboards.frame import INSTANCE, JOB, Board, Row, Variable
from scripts.dashboards.panels import figure, listing, series
from scripts.dashboards.queries import increase, largest, latest, mean, quantile, ranged, rate, select, total

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.dashboards.queries import Query

ARM_A = 'variant=~"$variant_a"'
ARM_B = 'variant=~"$variant_b"'
COUNTED = 'outcome!~"rejected|cancelled"'
FAILED = 'outcome=~"error|overloaded|unavailable|deadline"'


def variants_board() -> Board:
    """Return the dashboard that holds one arm against another."""
    return Board(
        uid="xlmr-variants",
        title="XLM-R: variants",
        description="Two arms (lineages of intermediate-task fine-tuning) side by side. It shows what "
        "happens now; whether a difference is real is for a study of the load tester to say.",
        variables=(JOB, INSTANCE, *_arm("a", descending=False), *_arm("b", descending=True)),
        rows=(_ratios(), _side_by_side(), _arm_row("A", ARM_A), _arm_row("B", ARM_B), _loaded()),
    )


def _arm(letter: str, *, descending: bool) -> tuple[Variable, Variable]:
    name = letter.upper()
    return (
        Variable(
            name=f"lineage_{letter}",
            label=f"Arm {name}",
            description=f"Lineage of arm {name}.",
            metric='xlmr_variant_info{job=~"$job", instance=~"$instance"}',
            value="lineage",
            several=False,
            descending=descending,
        ),
        Variable(
            name=f"variant_{letter}",
            label=f"Variants {name}",
            description=f"Variants of arm {name}.",
            metric=f'xlmr_variant_info{{job=~"$job", instance=~"$instance", lineage=~"$lineage_{letter}"}}',
            value="variant",
        ),
    )


def _duration(arm: str) -> str:
    return mean("xlmr_request_duration_seconds", where=arm)


def _infer(arm: str) -> str:
    return mean("xlmr_stage_duration_seconds", where=f'{arm}, stage="infer"')


def _tokens_an_input(arm: str) -> str:
    return f"{rate('xlmr_tokens_total', where=arm)} / {rate('xlmr_inputs_total', where=arm)}"


def _engine_a_token(arm: str) -> str:
    return f"{rate('xlmr_batch_actual_seconds_total', where=arm)} / {rate('xlmr_tokens_total', where=arm)}"


def _failed(arm: str) -> str:
    failed = rate("xlmr_requests_total", where=f"{arm}, {FAILED}")
    return f"{failed} / {rate('xlmr_requests_total', where=f'{arm}, {COUNTED}')}"


def _truncated(arm: str) -> str:
    return f"{rate('xlmr_truncated_total', where=arm)} / {rate('xlmr_inputs_total', where=arm)}"


def _requests(arm: str) -> str:
    return rate("xlmr_requests_total", where=arm)


def _b_over_a(of: Callable[[str], str]) -> Query:
    return latest(f"({of(ARM_B)}) / ({of(ARM_A)})")


def _arms(of: Callable[[str], str]) -> list[Query]:
    return [ranged(of(ARM_A), "A: $lineage_a"), ranged(of(ARM_B), "B: $lineage_b")]


def _ratios() -> Row:
    return Row(
        title="B over A",
        panels=(
            figure(
                "Duration",
                "Mean request duration of B over that of A: 1 is equal. Arms that get different texts "
                "differ by their texts.",
                "none",
                _b_over_a(_duration),
                width=6,
            ),
            figure(
                "Tokens an input",
                "Length of B's inputs over A's, windows and choices summed: about 1 when both get the same "
                "items.",
                "none",
                _b_over_a(_tokens_an_input),
                width=6,
            ),
            figure(
                "Engine time a token",
                "What the engine needs for one of B's tokens over one of A's: this is what the checkpoint "
                "itself costs.",
                "none",
                _b_over_a(_engine_a_token),
                width=6,
            ),
            figure(
                "Requests",
                "Requests to B over requests to A.",
                "none",
                _b_over_a(_requests),
                width=6,
            ),
        ),
    )


def _side_by_side() -> Row:
    return Row(
        title="Arm against arm",
        panels=(
            series("Requests", "Requests of every outcome.", "reqps", _arms(_requests)),
            series(
                "Duration, p50 and p95",
                "Of answered requests, estimated within buckets: differences smaller than a bucket do not "
                "show.",
                "s",
                [
                    ranged(
                        quantile(ratio, "xlmr_request_duration_seconds", where=arm),
                        f"{name} p{round(ratio * 100)}",
                    )
                    for arm, name in ((ARM_A, "A: $lineage_a"), (ARM_B, "B: $lineage_b"))
                    for ratio in (0.5, 0.95)
                ],
            ),
            series("Inference", "Mean time in the engine of a request.", "s", _arms(_infer)),
            series(
                "Tokens an input",
                "Length of the inputs, windows and choices summed: languages and tasks show here.",
                "none",
                _arms(_tokens_an_input),
                width=6,
            ),
            series(
                "Engine time a token",
                "What one token costs on the engine, padding-free, in the batches that it came in.",
                "s",
                _arms(_engine_a_token),
                width=6,
            ),
            series("Failed share", "Of countable requests.", "percentunit", _arms(_failed), width=6),
            series(
                "Truncated share",
                "Of inputs: answered on a part of their text.",
                "percentunit",
                _arms(_truncated),
                width=6,
            ),
        ),
    )


def _arm_row(name: str, arm: str) -> Row:
    return Row(
        title=f"Each variant of arm {name}",
        panels=(
            series(
                f"Requests of {name}",
                "Requests of every outcome, by variant.",
                "reqps",
                [ranged(rate("xlmr_requests_total", "variant", arm), "{{variant}}")],
                stacked=True,
            ),
            series(
                f"Duration of {name}, p95",
                "Of answered requests, by variant.",
                "s",
                [ranged(quantile(0.95, "xlmr_request_duration_seconds", "variant", arm), "{{variant}}")],
            ),
            series(
                f"Stages of {name}",
                "Mean seconds of a request by stage; they add up to the mean duration.",
                "s",
                [ranged(mean("xlmr_stage_duration_seconds", "stage", arm), "{{stage}}")],
                stacked=True,
            ),
        ),
    )


def _loaded() -> Row:
    key = "variant, instance"
    info = f"max by ({key}, revision, head, dtype, lineage) ({select('xlmr_variant_info')})"
    return Row(
        title="What is loaded",
        panels=(
            listing(
                "Variants",
                "What each instance serves. Owned bytes are the variant's alone; shared ones it has in "
                "common with variants on the same encoder. Canary: 1 while answers are those of the load. "
                "From float32: the largest relative difference of a logit when it was loaded.",
                [
                    latest(info),
                    latest(largest("xlmr_variant_owned_bytes", key)),
                    latest(largest("xlmr_variant_shared_bytes", key)),
                    latest(f"min by ({key}) ({select('xlmr_canary_ok')})"),
                    latest(largest("xlmr_parity_max_relative_error_ratio", key)),
                ],
                columns={
                    "variant": "Variant",
                    "instance": "Instance",
                    "lineage": "Lineage",
                    "head": "Head",
                    "dtype": "Dtype",
                    "revision": "Revision",
                    "Value #B": "Owned",
                    "Value #C": "Shared",
                    "Value #D": "Canary",
                    "Value #E": "From float32",
                },
                units={"Owned": "bytes", "Shared": "bytes", "Canary": "none", "From float32": "percentunit"},
            ),
            series(
                "Canary error",
                "Largest relative difference between an answer to the canary and the answer at load. Too "
                "much is 1 %, or four times what batch mates made of it at load.",
                "percentunit",
                [ranged(largest("xlmr_canary_max_relative_error_ratio", "variant"), "{{variant}}")],
                width=12,
            ),
            series(
                "Canary checks",
                "Checks by how they ended. Skipped ones were not answered: the queue was full, or their time "
                "was over.",
                "cps",
                [ranged(rate("xlmr_canary_checks_total", "result"), "{{result}}")],
                stacked=True,
                width=12,
            ),
            series(
                "Loads",
                "Loads and swaps at the time when they happened, by how they ended. A catalogue that could "
                "not be read is a failure of _catalogue.",
                "none",
                [ranged(increase("xlmr_variant_loads_total", "variant, result"), "{{variant}} {{result}}")],
                width=12,
            ),
            series(
                "Weights",
                "Bytes of weights: each variant's own, and the largest shared encoder.",
                "bytes",
                [
                    ranged(total("xlmr_variant_owned_bytes", "variant"), "{{variant}}"),
                    ranged(largest("xlmr_variant_shared_bytes"), "shared"),
                ],
                stacked=True,
                width=12,
            ),
        ),
    )
