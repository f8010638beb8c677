"""Load test: what the running test offers and gets, beside what the server says of the same time."""

from __future__ import annotations

from scripts.dashboards.frame import INSTANCE, JOB, Board, Row, Variable
from scripts.dashboards.panels import figure, listing, series
from scripts.dashboards.queries import (
    LOAD,
    largest,
    latest,
    mean,
    quantile,
    quantiles,
    ranged,
    rate,
    select,
    total,
)

_VARIABLES = (
    Variable(
        name="load_job",
        label="Load job",
        description="Scrape jobs of the load tester.",
        metric="xlmr_load_run_info",
        value="job",
    ),
    Variable(
        name="load_instance",
        label="Load generator",
        description="Load generators.",
        metric='xlmr_load_run_info{job=~"$load_job"}',
        value="instance",
    ),
)


def load_board() -> Board:
    """Return the dashboard of a running load test."""
    return Board(
        uid="xlmr-load",
        title="XLM-R: load test",
        description="The running load test beside the server's view. Its verdicts are in its report: exact "
        "percentiles from intended instants, with intervals, where these are estimates within buckets.",
        variables=(JOB, INSTANCE, *_VARIABLES),
        rows=(_run(), _flow(), _time(), _server()),
        span="now-15m",
    )


def _lost() -> str:
    failed = rate("xlmr_load_completed_total", where='outcome!="ok"', target=LOAD)
    return f"{failed} / {rate('xlmr_load_completed_total', target=LOAD)}"


def _run() -> Row:
    # By the run's own labels: one load generator may have done several runs in the time that is shown.
    seen = f"timestamp({select('xlmr_load_run_info', target=LOAD)})"
    return Row(
        title="The run",
        panels=(
            listing(
                "Runs",
                "Runs in the time that is shown, and since when their load generator speaks of them.",
                [latest(f"min_over_time({seen}[$__range:$__interval]) * 1000")],
                columns={
                    "run": "Run",
                    "arm": "Arm",
                    "trace": "Trace",
                    "target": "Target",
                    "instance": "Generator",
                    "Value": "First seen",
                },
                units={"First seen": "dateTimeAsIso"},
            ),
            figure(
                "Offered",
                "Requests that the schedule wanted in a second.",
                "reqps",
                latest(rate("xlmr_load_offered_total", target=LOAD)),
            ),
            figure(
                "Achieved",
                "Requests that were answered in a second.",
                "reqps",
                latest(rate("xlmr_load_completed_total", where='outcome="ok"', target=LOAD)),
            ),
            figure(
                "In flight",
                "Requests that were sent and not yet answered.",
                "none",
                latest(total("xlmr_load_inflight_requests", target=LOAD)),
            ),
            figure(
                "Not answered well",
                "Share of completed requests that failed or were given up.",
                "percentunit",
                latest(_lost()),
                steps={None: "green", 0.001: "orange", 0.01: "red"},
            ),
            figure(
                "Latency, p95",
                "From the intended instant to the end of the answer.",
                "s",
                latest(quantile(0.95, "xlmr_load_latency_seconds", target=LOAD)),
            ),
            figure(
                "Lateness, p99",
                "How long after the intended instant requests are sent. A generator that is late measures "
                "itself.",
                "s",
                latest(quantile(0.99, "xlmr_load_lateness_seconds", target=LOAD)),
                steps={None: "green", 0.01: "orange", 0.1: "red"},
            ),
        ),
    )


def _flow() -> Row:
    return Row(
        title="Offered and achieved",
        panels=(
            series(
                "Offered, sent, achieved",
                "The schedule's rate, what left the generator, what was answered, and what the server says "
                "that it answered. An open loop keeps offering when the server does not keep up.",
                "reqps",
                [
                    ranged(rate("xlmr_load_offered_total", target=LOAD), "offered"),
                    ranged(rate("xlmr_load_sent_total", target=LOAD), "sent"),
                    ranged(rate("xlmr_load_completed_total", where='outcome="ok"', target=LOAD), "achieved"),
                    ranged(
                        rate("xlmr_requests_total", where='outcome=~"ok|partial"'), "answered by the server"
                    ),
                ],
            ),
            series(
                "Completed by outcome",
                "failed: an error or a wrong answer; censored: given up at the timeout.",
                "reqps",
                [ranged(rate("xlmr_load_completed_total", "outcome", target=LOAD), "{{outcome}}")],
                stacked=True,
            ),
            series(
                "In flight and queued",
                "Requests on their way by the generator, and those that wait in the server. The rest is on "
                "the engine or on the wire.",
                "short",
                [
                    ranged(total("xlmr_load_inflight_requests", target=LOAD), "in flight"),
                    ranged(total("xlmr_queue_requests"), "in the server's queue"),
                ],
            ),
        ),
    )


def _time() -> Row:
    return Row(
        title="Time",
        panels=(
            series(
                "Latency",
                "From the intended instant to the end of the answer, so that a stalled server is charged "
                "for every request that it keeps waiting.",
                "s",
                quantiles("xlmr_load_latency_seconds", target=LOAD),
            ),
            series(
                "Two views of one request",
                "p95 as the load tester sees it, and as the server does. The gap is lateness, network, and "
                "the server's accept queue.",
                "s",
                [
                    ranged(quantile(0.95, "xlmr_load_latency_seconds", target=LOAD), "load tester"),
                    ranged(quantile(0.95, "xlmr_request_duration_seconds"), "server"),
                ],
            ),
            series(
                "Lateness",
                "How long after the intended instant requests are sent; beyond a few milliseconds the run "
                "is invalid.",
                "s",
                quantiles("xlmr_load_lateness_seconds", target=LOAD),
            ),
        ),
    )


def _server() -> Row:
    return Row(
        title="The server meanwhile",
        panels=(
            series(
                "Where the time goes",
                "Mean seconds of a request by stage.",
                "s",
                [ranged(mean("xlmr_stage_duration_seconds", "stage"), "{{stage}}")],
                stacked=True,
            ),
            series(
                "Engine busy",
                "Share of the time in which the engine works on a batch: capacity is reached near 1.",
                "percentunit",
                [ranged(rate("xlmr_engine_busy_seconds_total", "instance"), "{{instance}}")],
                at_most=1,
            ),
            series(
                "Queue in engine time",
                "How long the engine would take for all that waits.",
                "s",
                [
                    ranged(largest("xlmr_queue_predicted_seconds", "instance"), "{{instance}}"),
                    ranged("xlmr:limit_queue:seconds", "limit"),
                ],
            ),
        ),
    )
