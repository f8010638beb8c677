"""Service: is it up, how much does it do, what fails, how long does it take, what is scarce."""

from __future__ import annotations

from scripts.dashboards.frame import INSTANCE, JOB, Board, Row
from scripts.dashboards.panels import figure, heat, series
from scripts.dashboards.queries import (
    JOB as JOB_ONLY,
)
from scripts.dashboards.queries import (
    buckets,
    increase,
    largest,
    latest,
    mean,
    quantiles,
    ranged,
    rate,
    select,
    total,
    with_exemplars,
)

COUNTED = 'outcome!~"rejected|cancelled"'
FAILED = 'outcome=~"error|overloaded|unavailable|deadline"'
BURN_STEPS = {None: "green", 1.0: "orange", 6.0: "red"}


def service_board() -> Board:
    """Return the dashboard that one opens first."""
    return Board(
        uid="xlmr-service",
        title="XLM-R: service",
        description="Rate, errors, duration and saturation of the service, against its objectives.",
        variables=(JOB, INSTANCE),
        rows=(_glance(), _rate(), _errors(), _duration(), _saturation(), _objectives(), _processes()),
    )


def _burn(objective: str, window: str) -> str:
    return select(f"job:xlmr_slo_burn:rate{window}", f'slo="{objective}"', target=JOB_ONLY)


def _failed_share() -> str:
    failed = rate("xlmr_requests_total", where=FAILED)
    return f"{failed} / {rate('xlmr_requests_total', where=COUNTED)}"


def _glance() -> Row:
    return Row(
        title="At a glance",
        panels=(
            figure(
                "Ready",
                "Instances that take requests now.",
                "none",
                latest(total("xlmr_ready")),
                steps={None: "red", 1.0: "green"},
            ),
            figure(
                "Requests",
                "Requests of every outcome in a second.",
                "reqps",
                latest(rate("xlmr_requests_total")),
            ),
            figure(
                "Failed",
                "Share of requests that could have been answered and were not: 429, 503, 504 and 500.",
                "percentunit",
                latest(_failed_share()),
                steps={None: "green", 0.001: "orange", 0.01: "red"},
            ),
            figure(
                "Availability burn, 1 h",
                "How many times faster than allowed the budget of failures is spent: 1 spends exactly a "
                "month's budget in a month, 14.4 pages.",
                "none",
                latest(f"max ({_burn('availability', '1h')})"),
                steps=BURN_STEPS,
            ),
            figure(
                "Latency burn, 1 h",
                "The same for answers slower than the objective's threshold.",
                "none",
                latest(f"max ({_burn('latency', '1h')})"),
                steps=BURN_STEPS,
            ),
            figure(
                "Alerts",
                "Alerts of this service that are firing; docs/observability.md says what to do about each.",
                "none",
                latest('sum (ALERTS{alertname=~"Xlmr.*", alertstate="firing"}) or vector(0)'),
                steps={None: "green", 1.0: "red"},
            ),
        ),
    )


def _rate() -> Row:
    return Row(
        title="Rate",
        panels=(
            series(
                "Requests by outcome",
                "ok: answered; partial: some inputs failed alone; rejected: wrong requests (4xx); "
                "overloaded: queue full (429); unavailable: starting or draining (503); deadline: too late "
                "(504); cancelled: the client hung up; error: ours (500).",
                "reqps",
                [ranged(rate("xlmr_requests_total", "outcome"), "{{outcome}}")],
                stacked=True,
                width=12,
            ),
            series(
                "Requests by variant",
                "Which variants are asked for; _unknown: a name that is not served.",
                "reqps",
                [ranged(rate("xlmr_requests_total", "variant"), "{{variant}}")],
                stacked=True,
                width=12,
            ),
            series(
                "Work done",
                "Tokens given to the encoder are what costs time; inputs are what clients count.",
                "cps",
                [
                    ranged(rate("xlmr_tokens_total"), "tokens"),
                    ranged(rate("xlmr_inputs_total"), "inputs"),
                ],
                width=12,
            ),
            series(
                "Inputs by script",
                "In which script inputs are written, by most of their letters; only with "
                "--metrics-scripts true.",
                "cps",
                [ranged(rate("xlmr_inputs_by_script_total", "script"), "{{script}}")],
                stacked=True,
                width=12,
            ),
        ),
    )


def _errors() -> Row:
    counted = rate("xlmr_requests_total", where=COUNTED)
    return Row(
        title="Errors",
        panels=(
            series(
                "Failed share",
                "Share of countable requests that failed, by how; the dashed line is what the objective "
                "allows in the long run.",
                "percentunit",
                [
                    ranged(
                        f"{rate('xlmr_requests_total', 'outcome', FAILED)} / on () group_left () {counted}",
                        "{{outcome}}",
                    ),
                    ranged('1 - xlmr:slo_objective:ratio{slo="availability"}', "objective"),
                ],
            ),
            series(
                "Not answered, by reason",
                "Reasons as in the problem documents that clients get.",
                "reqps",
                [ranged(rate("xlmr_rejected_total", "reason"), "{{reason}}")],
                stacked=True,
            ),
            series(
                "Late, cancelled, cut short",
                "Deadlines missed in the queue, work that was cancelled, and inputs answered on a part of "
                "their text.",
                "cps",
                [
                    ranged(rate("xlmr_deadline_missed_total"), "deadline missed"),
                    ranged(rate("xlmr_cancelled_total"), "cancelled"),
                    ranged(rate("xlmr_truncated_total"), "truncated inputs"),
                ],
            ),
        ),
    )


def _duration() -> Row:
    return Row(
        title="Duration",
        panels=(
            series(
                "Request duration",
                "From the body read to the answer's bytes, of answered requests; estimated within buckets. "
                "The dashed line is the objective's threshold.",
                "s",
                [
                    *quantiles("xlmr_request_duration_seconds"),
                    ranged("xlmr:objective_latency:seconds", "objective"),
                ],
            ),
            series(
                "Where the time goes",
                "Mean seconds of a request by stage; they add up to the mean duration. A growing queue "
                "means too little capacity, a growing infer longer texts or larger batches.",
                "s",
                [ranged(mean("xlmr_stage_duration_seconds", "stage"), "{{stage}}")],
                stacked=True,
            ),
            heat(
                "Durations",
                "How many requests took how long: two bands are two kinds of request. Dots are single "
                "requests, with their trace.",
                "s",
                with_exemplars(buckets("xlmr_request_duration_seconds")),
            ),
        ),
    )


def _saturation() -> Row:
    return Row(
        title="Saturation",
        panels=(
            series(
                "Engine busy",
                "Share of the time in which the engine works on a batch. From about 0.8 on, waits grow fast.",
                "percentunit",
                [
                    ranged(rate("xlmr_engine_busy_seconds_total", "instance"), "{{instance}}"),
                    ranged("xlmr:limit_engine_busy:ratio", "limit"),
                ],
                at_most=1,
            ),
            series(
                "Queue in engine time",
                "How long the engine would take for all that waits, by the cost model: the wait of a "
                "request that arrives now.",
                "s",
                [
                    ranged(largest("xlmr_queue_predicted_seconds", "instance"), "{{instance}}"),
                    ranged("xlmr:limit_queue:seconds", "limit"),
                ],
            ),
            series(
                "Queue in requests",
                "Requests of which something waits for a batch.",
                "short",
                [ranged(total("xlmr_queue_requests", "instance"), "{{instance}}")],
            ),
        ),
    )


def _objectives() -> Row:
    return Row(
        title="Objectives",
        panels=(
            series(
                "Availability burn",
                "Pages when 1 h and 5 m are both above 14.4, or 6 h and 30 m above 6.",
                "none",
                [ranged(_burn("availability", window), window) for window in ("5m", "1h", "6h", "3d")],
                width=12,
            ),
            series(
                "Latency burn",
                "Pages when 1 h and 5 m are both above 14.4, or 6 h and 30 m above 6.",
                "none",
                [ranged(_burn("latency", window), window) for window in ("5m", "1h", "6h", "3d")],
                width=12,
            ),
        ),
    )


def _processes() -> Row:
    return Row(
        title="Processes",
        panels=(
            series(
                "CPU",
                "Cores that each instance uses, its processes together; on a CPU device the forward pass is "
                "in it.",
                "none",
                [ranged(rate("process_cpu_seconds_total", "instance"), "{{instance}}")],
                width=12,
            ),
            series(
                "Memory",
                "Resident memory; weights are mapped, so they count as far as they were touched.",
                "bytes",
                [ranged(total("process_resident_memory_bytes", "instance"), "{{instance}}")],
                width=12,
            ),
            series(
                "Processes started again",
                "Processes of an instance that died and were started again; only with several HTTP workers.",
                "none",
                [ranged(increase("xlmr_process_restarts_total", "process"), "{{process}}")],
            ),
            series(
                "Processes that hung",
                "Processes of an instance that were killed since they gave no sign of life; each is started "
                "again, too. The backend: look at its device; a front end: at the CPU and at memory.",
                "none",
                [ranged(increase("xlmr_process_hangs_total", "process"), "{{process}}")],
            ),
            series(
                "Builds",
                "Instances by what they run; more than one line means that a rollout is under way.",
                "none",
                [
                    ranged(
                        f"count by (version, revision, torch, python) ({select('xlmr_build_info')})",
                        "{{version}} {{revision}}, torch {{torch}}, Python {{python}}",
                    )
                ],
            ),
        ),
    )
