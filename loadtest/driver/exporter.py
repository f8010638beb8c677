"""The running test's own metrics, as Prometheus reads them: what it offers, sends and gets.

Rules: the only file of the load tester that imports prometheus_client; it says what the latest
reading says and keeps no counts itself, so that it costs the workers nothing that they do not
tell anyway. Whether an answer has the right shape is only seen once samples are made: here
`ok` is an HTTP status of 200.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from loadtest.driver.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from loadtest.driver.progress import Progress
    from loadtest.driver.tally import Distribution

LAST_SCRAPE_S = 10.0  # two scrapes of Prometheus at the interval that deploy/prometheus sets


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLabels:
    """What a run is called: its folder's name, its arm's, its trace's, and the target's URL."""

    run: str
    arm: str
    trace: str
    target: str


class LiveMetrics(Collector):
    """What a scrape gets; written by whoever runs the test, read from the exporter's thread."""

    def __init__(self) -> None:
        self._labels: RunLabels | None = None
        self._reading: Progress | None = None
        self._ended_at_s = 0.0
        self._scraped = Event()

    def begin(self, labels: RunLabels) -> None:
        """Speak of this run from now on."""
        self._labels, self._reading, self._ended_at_s = labels, None, 0.0

    def show(self, reading: Progress) -> None:
        """Take the latest reading."""
        self._reading = reading

    def end(self, at_s: float) -> None:
        """Say when the run ended, in seconds of the epoch."""
        self._ended_at_s = at_s

    def was_scraped(self) -> bool:
        """Whether anybody has read the metrics since the last time that a scrape was waited for."""
        return self._scraped.is_set()

    def wait_for_scrape(self, timeout_s: float) -> bool:
        """Wait until the metrics are read once more; False if nobody came."""
        self._scraped = scraped = Event()  # a scrape that is under way may have read what was true before
        return scraped.wait(timeout_s)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        scraped = self._scraped
        labels, reading, ended_at_s = self._labels, self._reading, self._ended_at_s
        if labels is not None:
            yield _info(labels)
        if reading is not None:
            yield from _counts(reading)
            yield _histogram(
                "xlmr_load_latency_seconds",
                "From the intended instant to the end of the answer, or to the timeout; without failures.",
                reading.latency,
            )
            yield _histogram(
                "xlmr_load_lateness_seconds",
                "From the intended instant to the moment just before the send.",
                reading.lateness,
            )
            yield from _instants(reading, ended_at_s)
        scraped.set()


@contextlib.contextmanager
def exporting(live: LiveMetrics, *, host: str, port: int) -> Iterator[str]:
    """Serve the metrics from a thread until the block ends; give their URL.

    Raises:
        UsageError: the address cannot be had.
    """
    registry = CollectorRegistry()
    registry.register(live)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--metrics-port {port} on {host} cannot be had ({error}); choose another, or 0 for any."
        ) from error
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _info(labels: RunLabels) -> Metric:
    family = GaugeMetricFamily(
        "xlmr_load_run_info",
        "The run that this load tester does; always 1.",
        labels=["run", "arm", "trace", "target"],
    )
    family.add_metric([labels.run, labels.arm, labels.trace, labels.target], 1.0)
    return family


def _counts(reading: Progress) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "xlmr_load_offered", "Arrivals whose intended instant has come.", value=reading.num_due
    )
    yield CounterMetricFamily("xlmr_load_sent", "Requests that were sent.", value=reading.num_sent)
    completed = CounterMetricFamily(
        "xlmr_load_completed", "Requests that have ended, by how.", labels=["outcome"]
    )
    completed.add_metric(["ok"], reading.num_done - reading.num_failed)
    completed.add_metric(["failed"], reading.num_failed - reading.num_censored)
    completed.add_metric(["censored"], reading.num_censored)
    yield completed
    yield GaugeMetricFamily(
        "xlmr_load_inflight_requests", "Requests sent and not ended.", value=reading.num_inflight
    )


def _histogram(name: str, said: str, found: Distribution) -> Metric:
    return HistogramMetricFamily(name, said, buckets=found.cumulative(), sum_value=found.sum_s)


def _instants(reading: Progress, ended_at_s: float) -> Iterator[Metric]:
    if reading.started_at_s is not None:
        yield GaugeMetricFamily(
            "xlmr_load_run_start_timestamp_seconds",
            "When the schedule began, in seconds of the epoch.",
            value=reading.started_at_s,
        )
    yield GaugeMetricFamily(
        "xlmr_load_run_end_timestamp_seconds",
        "When the last request had ended, in seconds of the epoch; 0 while the run lasts.",
        value=ended_at_s,
    )
