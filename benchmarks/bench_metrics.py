"""What metrics and traces cost on the way of a request, as CPU time of the whole process.

    python benchmarks/bench_metrics.py [--quick] [--repeats 400] [--requests 50] [--out FOLDER]

The same requests go through the same app beside each other: with no observer, with metrics, and with
metrics and a span of every request. The device computes in closed form and the requests come as ASGI
calls, without HTTP's parser and without a forward pass, so that the shares that are found are upper
bounds of those in service. Arms take short turns within a repeat, in an order that changes; a ratio is of
two neighbours, and its interval is a bootstrap over repeats. The calls to the observer are timed by
themselves, too: their time, with the telling at a scrape spread over its requests, over that of a whole
request without them. CPU time, unlike wall time, does not grow when other programs hold the cores, though
it does when they empty the caches: use a quiet machine all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from asgi_lifespan import LifespanManager
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter, Histogram
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.driver.environment import describe_environment
from models.tokenizer import bundled_file
from service.app import create_app, create_service
from service.backend.local import LocalBackend
from service.domain import BatchReport, RequestReport, Result, Stages, VariantCard
from service.engine.fake import FakeDevice
from service.observability.metrics import (
    ERROR_EDGES,
    FILL_EDGES,
    SECONDS_EDGES,
    SEQUENCES_EDGES,
    TOKENS_EDGES,
    Metrics,
)
from service.observability.tracing import Tracing
from service.settings import read_settings
from tests.service.backend_world import card

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import FastAPI
    from opentelemetry.sdk.trace import ReadableSpan

    from service.service import Service

BOUND_RATIO = 0.03
ARMS = ("none", "metrics", "metrics and traces")
NUM_VARIANTS = 20
PATH = "/v1/variants/v0/predict"
TEXT = "The night train to the coast was two hours late, and nobody at the station knew why."
BODY = json.dumps({"inputs": [{"text": TEXT}]}).encode()
HEADERS = [(b"content-type", b"application/json"), (b"host", b"localhost")]
NUM_BOOTSTRAPS = 10_000
# Of the observer's calls by themselves; a telling after so many requests, as at a scrape of a busy service.
NUM_CALLS = 2_000
NUM_CALL_REPEATS = 15
QUICK = {"repeats": 10, "requests": 20}
LEVEL = 95.0
_NS_PER_US = 1_000
_OK = 200


class Nobody:
    """An observer that is told everything and does nothing."""

    def request_ended(self, report: RequestReport) -> None:
        """Do nothing."""

    def batch_ended(self, report: BatchReport) -> None:
        """Do nothing."""


class Nowhere(SpanExporter):
    """Takes spans and drops them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Drop spans."""
        del spans
        return SpanExportResult.SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One arm. ``ratio``: of its CPU time to that of the arm without, with its interval; None for itself."""

    arm: str
    cpu_us_a_request: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


def variant(number: int) -> VariantCard:
    """Describe a variant that the closed-form device answers for."""
    return card(f"v{number}", tokenizer=str(bundled_file()))


def build(arm: str, ready: asyncio.Event) -> tuple[Service, FastAPI]:
    """Build the app of one arm, which sets an event once it takes requests."""
    settings = read_settings(catalogue=Path("none.toml"), tokenize_threads=1, max_batch_tokens=2048)
    tracing = None
    if arm == "metrics and traces":
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(Nowhere()))
        tracing = Tracing(provider, epoch_ns_of=lambda monotonic_s: round(monotonic_s * 1e9))
    service = create_service(
        settings,
        make_device=lambda: FakeDevice(variants=tuple(variant(number) for number in range(NUM_VARIANTS))),
        registry=CollectorRegistry(),
        on_ready=ready.set,
        tracing=tracing,
    )
    if arm == "none":
        service.observer = Nobody()
        assert isinstance(service.backend, LocalBackend), "The backend is elsewhere. This is a bug."
        service.backend._batches._observer = service.observer  # noqa: SLF001 - the service has no switch for this
    return service, create_app(settings, service)


async def ask(app: FastAPI) -> None:
    """Send one request, which must be answered."""
    inbox = [{"type": "http.request", "body": BODY, "more_body": False}]
    status = 0

    async def receive() -> dict[str, Any]:
        if inbox:
            return inbox.pop()
        await asyncio.Event().wait()  # the client stays
        raise AssertionError("An event that nobody sets was set. This is a bug.")

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": HEADERS,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    assert status == _OK, f"A request was answered with {status}."


async def cpu_us(app: FastAPI, num_requests: int) -> float:
    """Return the CPU time of the process a request, in microseconds."""
    began_ns = time.process_time_ns()
    for _ in range(num_requests):
        await ask(app)
    return (time.process_time_ns() - began_ns) / num_requests / _NS_PER_US


async def measure(repeats: int, num_requests: int, show: Progress) -> tuple[dict[str, list[float]], float]:
    """Return each arm's CPU time a request, one a repeat, and that of one scrape, in microseconds."""
    order, found = random.Random(0), {arm: list[float]() for arm in ARMS}  # noqa: S311 - an order of turns
    async with AsyncExitStack() as stack:
        apps = {}
        for arm in ARMS:
            ready = asyncio.Event()
            service, app = build(arm, ready)
            await stack.enter_async_context(LifespanManager(app))
            await ready.wait()
            await cpu_us(app, num_requests)  # what happens once happens here
            apps[arm] = service, app
        task = show.add_task("measuring", total=repeats)
        for _ in range(repeats):
            for arm in order.sample(ARMS, len(ARMS)):
                found[arm].append(await cpu_us(apps[arm][1], num_requests))
            show.advance(task)
        began_ns = time.process_time_ns()
        for _ in range(repeats):
            await apps["metrics"][0].exposition("application/openmetrics-text")
        scrape_us = (time.process_time_ns() - began_ns) / repeats / _NS_PER_US
    return found, scrape_us


def calls_us(tell: Callable[[], None], flush: Callable[[], None]) -> list[float]:
    """Return the CPU time of telling of one request and its batch, in microseconds, one a repeat."""
    found = []
    for _ in range(NUM_CALL_REPEATS):
        began_ns = time.process_time_ns()
        for _ in range(NUM_CALLS):
            tell()
        flush()
        found.append((time.process_time_ns() - began_ns) / NUM_CALLS / _NS_PER_US)
    return found


def our_calls_us() -> list[float]:
    """Time the service's own metrics."""
    metrics = Metrics(CollectorRegistry(), protocols=["native"], reasons=(), cuts=["empty"])
    metrics.variants_loaded([variant(number) for number in range(NUM_VARIANTS)])
    request = RequestReport(
        variant="v0",
        protocol="native",
        result=Result.OK,
        stages=Stages(tokenize_s=0.0002, queue_s=0.0011, infer_s=0.018, decode_s=0.0001),
        num_inputs=1,
        num_tokens=24,
    )
    batch = BatchReport(
        variant="v0",
        cut="empty",
        num_tokens=24,
        num_sequences=1,
        max_tokens=2048,
        engine_s=0.018,
        predicted_s=0.017,
        failed=False,
    )

    def tell() -> None:
        metrics.batch_ended(batch)
        metrics.request_ended(request)

    return calls_us(tell, metrics.flush)


def library_calls_us() -> list[float]:
    """Time the library's own `observe` and `inc` for as many values."""
    registry = CollectorRegistry()
    histograms = [
        Histogram(f"h{number}", "Some.", buckets=edges, registry=registry)
        for number, edges in enumerate(
            (*[SECONDS_EDGES] * 5, TOKENS_EDGES, SEQUENCES_EDGES, FILL_EDGES, ERROR_EDGES)
        )
    ]
    values = (0.0194, 0.0002, 0.0011, 0.018, 0.0001, 24, 1, 0.012, 0.06)
    counters = [Counter(f"c{number}", "Some.", registry=registry) for number in range(8)]

    def tell() -> None:
        for histogram, value in zip(histograms, values, strict=True):
            histogram.observe(value)
        for counter in counters:
            counter.inc(1.0)

    return calls_us(tell, lambda: None)


def rows_of(found: dict[str, list[float]]) -> list[Row]:
    """Compare each arm with the one without, repeat by repeat."""
    base = np.array(found["none"])
    rng = np.random.default_rng(0)
    rows = []
    for arm, values in found.items():
        ratios = np.array(values) / base
        draws = np.median(rng.choice(ratios, size=(NUM_BOOTSTRAPS, ratios.size)), axis=1)
        low, high = np.percentile(draws, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
        itself = arm == "none"
        rows.append(
            Row(
                arm=arm,
                cpu_us_a_request=float(np.median(values)),
                ratio=None if itself else float(np.median(ratios)),
                ratio_low=None if itself else float(low),
                ratio_high=None if itself else float(high),
            )
        )
    return rows


def verdict(rows: Sequence[Row]) -> str:
    """Say whether metrics stay within their bound, as far as this run can tell."""
    (row,) = [row for row in rows if row.arm == "metrics"]
    assert row.ratio is not None
    assert row.ratio_low is not None
    assert row.ratio_high is not None
    said = f"metrics take {row.ratio - 1:+.1%} ({row.ratio_low - 1:+.1%} to {row.ratio_high - 1:+.1%})"
    if row.ratio_high - 1 < BOUND_RATIO:
        return f"within {BOUND_RATIO:.0%}: {said}"
    if row.ratio_low - 1 > BOUND_RATIO:
        return f"above {BOUND_RATIO:.0%}: {said}"
    return f"not decided against {BOUND_RATIO:.0%}: {said}"


def write(folder: Path, rows: Sequence[Row], found: dict[str, list[float]], more: dict[str, Any]) -> None:
    """Write the table as Markdown and everything as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    document = more | {"rows": [asdict(row) for row in rows], "cpu_us_a_request": found}
    (folder / "metrics.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    lines = ["# What metrics and traces cost", "", *(__doc__ or "").split("\n\n")[2].splitlines(), ""]
    lines += ["| observer | CPU a request, us | over none | 95 % interval |", "| --- | ---: | ---: | ---: |"]
    for row in rows:
        over = "" if row.ratio is None else f"{row.ratio - 1:+.1%}"
        span = (
            "" if row.ratio_low is None else f"{row.ratio_low - 1:+.1%} to {(row.ratio_high or 0) - 1:+.1%}"
        )
        lines.append(f"| {row.arm} | {row.cpu_us_a_request:.0f} | {over} | {span} |")
    ours, theirs = (_spread(more[name]) for name in ("calls_us", "library_calls_us"))
    share = float(np.median(more["calls_us"])) / rows[0].cpu_us_a_request
    lines += [
        "",
        f"Goal: metrics take less than {BOUND_RATIO:.0%} of a request's CPU time. Found: {verdict(rows)}.",
        "",
        f"Telling the metrics of a request and its batch, by itself, takes {ours}, {share:.1%} of a request",
        f"without metrics; the library's own `observe` and `inc` for as many values take {theirs}, which is",
        "why they are not called for every request, but told of tallies at each scrape.",
        "",
        f"A scrape of {NUM_VARIANTS} variants takes {more['scrape_us']:.0f} us.",
        "",
        f"{more['at']}, commit {str(more['environment'].get('commit'))[:10]}"
        + (" with uncommitted changes" if more["environment"].get("dirty") else "")
        + f"; {more['environment'].get('cpu_model')}, {os.cpu_count()} cores; "
        f"{more['repeats']} repeats of {more['requests']} requests an arm.",
        "",
    ]
    (folder / "metrics.md").write_text("\n".join(lines), encoding="utf-8")


def _spread(values: Sequence[float]) -> str:
    return f"{np.median(values):.1f} us ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="few repeats: to see that it runs")
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "benchmarks"
    )
    given = parser.parse_args()
    if given.quick:
        given.repeats, given.requests = QUICK["repeats"], QUICK["requests"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with Progress(console=Console(stderr=True), transient=True) as show:
        found, scrape_us = asyncio.run(measure(given.repeats, given.requests, show))
    ours, theirs = our_calls_us(), library_calls_us()
    rows = rows_of(found)
    more = {
        "at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "environment": {key: value for key, value in describe_environment().items() if key != "host"},
        "seed": 0,
        "repeats": given.repeats,
        "requests": given.requests,
        "scrape_us": scrape_us,
        "calls_us": ours,
        "library_calls_us": theirs,
        "load_average": os.getloadavg()[0],
    }
    write(given.out, rows, found, more)
    table = Table("observer", "CPU a request, us", "over none", title=verdict(rows))
    for row in rows:
        over = "" if row.ratio is None else f"{row.ratio - 1:+.1%}"
        table.add_row(row.arm, f"{row.cpu_us_a_request:.0f}", over)
    Console().print(table)


if __name__ == "__main__":
    main()
