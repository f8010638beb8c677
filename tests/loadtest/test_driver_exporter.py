"""A run's own metrics: what a scrape says after a run is what its samples say."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtest.driver.errors import UsageError
from loadtest.driver.exporter import LiveMetrics, RunLabels, exporting
from loadtest.driver.progress import Progress, progress_from
from loadtest.driver.run import RunOptions, Silence, run
from loadtest.driver.tally import EDGES_S, Tally
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import every, null_server, write_arm, write_trace

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.alone

LABELS = RunLabels(run="first", arm="a", trace="t", target="http://127.0.0.1:1")


def reading(**changed: float) -> Progress:
    tally = Tally()
    tally.add(2_000)
    values: dict[str, float] = {
        "num_due": 9,
        "num_sent": 8,
        "num_done": 6,
        "num_failed": 3,
        "num_censored": 1,
    }
    return Progress(
        elapsed_s=1.0,
        duration_s=2.0,
        num_scheduled=10,
        lateness_p99_s=0.001,
        num_lost=0,
        latency=tally.distribution(),
        started_at_s=100.0,
        **(values | changed),  # type: ignore[arg-type]  # a table of counts
    )


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - the test's own server
        text: str = reply.read().decode()
        return text


def values_of(text: str) -> dict[str, float]:
    """Return every sample by name and label values."""
    return {
        " ".join((sample.name, *(sample.labels[key] for key in sorted(sample.labels)))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def live() -> LiveMetrics:
    found = LiveMetrics()
    found.begin(LABELS)
    return found


def test_a_reading_is_what_a_scrape_says(live: LiveMetrics) -> None:
    with exporting(live, host="127.0.0.1", port=0) as url:
        assert set(values_of(fetch(url))) == {"xlmr_load_run_info a first http://127.0.0.1:1 t"}
        live.show(progress_from(reading().to_line()))
        found = values_of(fetch(url))
    assert found["xlmr_load_offered_total"] == 9
    assert found["xlmr_load_sent_total"] == 8
    outcomes = {key: found[f"xlmr_load_completed_total {key}"] for key in ("ok", "failed", "censored")}
    assert outcomes == {"ok": 3, "failed": 2, "censored": 1}
    assert found["xlmr_load_inflight_requests"] == 2
    assert found["xlmr_load_latency_seconds_count"] == 1
    assert found["xlmr_load_latency_seconds_sum"] == pytest.approx(0.002)
    assert found["xlmr_load_latency_seconds_bucket 0.001"] == 0
    assert found["xlmr_load_latency_seconds_bucket 0.0025"] == 1
    assert found["xlmr_load_lateness_seconds_count"] == 0
    assert found["xlmr_load_run_start_timestamp_seconds"] == 100
    assert found["xlmr_load_run_end_timestamp_seconds"] == 0


def test_promtool_has_nothing_to_say(live: LiveMetrics) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here; it comes with Debian's package prometheus")
    live.show(reading())
    with exporting(live, host="127.0.0.1", port=0) as url:
        body = fetch(url).encode()
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, check=False, timeout=30
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_last_scrape_is_waited_for(live: LiveMetrics) -> None:
    with exporting(live, host="127.0.0.1", port=0) as url:
        assert not live.was_scraped()
        fetch(url)
        assert live.was_scraped()
        assert not live.wait_for_scrape(0.0), "an earlier scrape is not the last"
        asker = threading.Timer(0.05, fetch, [url])
        asker.start()
        assert live.wait_for_scrape(60.0)
        asker.join()


def test_a_scrape_that_began_before_is_not_the_last(live: LiveMetrics) -> None:
    under_way = live.collect()
    next(under_way)
    asker = threading.Timer(0.05, list, [under_way])
    asker.start()
    assert not live.wait_for_scrape(0.5)
    asker.join()


def test_a_port_in_use_is_one_sentence(live: LiveMetrics) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = exporting(live, host="127.0.0.1", port=port)
        with pytest.raises(UsageError, match=f"--metrics-port {port} on 127.0.0.1 cannot be had"):
            served.__enter__()


class Scraper(Silence):
    """Reads the run's metrics at its last reading, and once more when that is waited for."""

    def __init__(self) -> None:
        self.url = ""
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self._threads = ExitStack()

    def exporting(self, url: str) -> None:
        self.url = url

    def measuring(self, _: Progress) -> None:
        if not self.first:
            self.first = values_of(fetch(self.url))

    def waiting_for_scrape(self, _: float) -> None:
        timer = threading.Timer(0.1, self._scrape)
        timer.start()
        self._threads.callback(timer.join)

    def _scrape(self) -> None:
        self.last = values_of(fetch(self.url))

    def finish(self) -> None:
        self._threads.close()


def test_after_a_run_the_metrics_are_those_of_its_samples(tmp_path: Path) -> None:
    """Answers, refusals and timeouts, from two workers."""
    show, began_at = Scraper(), time.time()
    out = tmp_path / "out"
    with null_server(fault="status", fault_every=5, stall_at_s=1.0, stall_s=2.5) as world:
        run(
            RunOptions(
                trace=write_trace(tmp_path / "trace", every(0.02, 100)),
                target=world.url,
                arm=write_arm(tmp_path / "arm.toml", xnli="v.xnli"),
                out=out,
                processes=2,
                timeout_s=1.0,
                metrics_port=0,
            ),
            show,
        )
    show.finish()
    samples, found = read_samples(out), show.last
    ended = samples.filter(~pl.col("censored"))
    assert found["xlmr_load_offered_total"] == found["xlmr_load_sent_total"] == samples.height == 100
    counts = {
        "ok": ended.filter(pl.col("error").is_null()).height,
        "failed": ended.filter(pl.col("error").is_not_null()).height,
        "censored": samples.height - ended.height,
    }
    assert min(counts.values()) > 0, counts
    assert {key: found[f"xlmr_load_completed_total {key}"] for key in counts} == counts
    assert found["xlmr_load_inflight_requests"] == 0
    timed = samples.filter(pl.col("error").is_null() | pl.col("censored"))
    holds(found, "latency", (timed["done_us"] - timed["intended_us"]).to_list())
    holds(found, "lateness", (samples["sent_us"] - samples["intended_us"]).to_list())
    start_s = found["xlmr_load_run_start_timestamp_seconds"]
    end_s = found["xlmr_load_run_end_timestamp_seconds"]
    assert began_at < start_s < start_s + samples["done_us"].max() / 1e6 <= end_s < time.time()  # type: ignore[operator]
    assert found["xlmr_load_run_info arm-a out " + world.url + " hand-made"] == 1
    assert show.first["xlmr_load_run_end_timestamp_seconds"] == 0
    assert show.first["xlmr_load_completed_total ok"] < counts["ok"]


def holds(found: dict[str, float], name: str, durations_us: list[int]) -> None:
    """Compare a histogram with durations; each may be cut to a whole microsecond elsewhere."""
    metric = f"xlmr_load_{name}_seconds"
    assert found[f"{metric}_count"] == len(durations_us)
    assert found[f"{metric}_sum"] == pytest.approx(sum(durations_us) / 1e6, abs=2e-6 * len(durations_us))
    for edge_s in EDGES_S:
        count = found[f"{metric}_bucket {edge_s}"]
        at_least = sum(duration_us <= edge_s * 1e6 - 2 for duration_us in durations_us)
        at_most = sum(duration_us <= edge_s * 1e6 + 2 for duration_us in durations_us)
        assert at_least <= count <= at_most
