"""Traces: a request's spans, what links them to batches, and where else their ids show."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from models.tokenizer import bundled_file
from service.engine.fake import FakeDevice
from service.errors import StartupError
from service.observability.sampling import sampler
from service.observability.tracing import Tracing
from service.settings import read_settings
from tests.service.backend_world import card
from tests.service.serving import eventually, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as Many

    import numpy as np
    from numpy.typing import NDArray
    from opentelemetry.sdk.trace import ReadableSpan

    from service.batching.packing import PackedBatch
    from service.domain import Lane
    from service.engine.device import Loaded
    from tests.service.serving import Served


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
REQUEST = "POST /v1/variants/{variant}/predict"
STAGES = ("tokenize", "queue", "infer", "decode")
CATALOGUE = Path("none.toml")
ONE = ({"text": "one two"},)
# More tokens than one batch takes (2,048), fewer than two.
MANY = ({"text": "one two three four five six seven eight " * 4},) * 40


class Gate:
    """A closed-form device whose batches wait, once armed, until it is opened; it tells of the first."""

    def __init__(self) -> None:
        self.armed = False
        self.entered, self.opened = threading.Event(), threading.Event()
        self._inner = FakeDevice(variants=(card("v", tokenizer=str(bundled_file())),))

    def load(self) -> Iterator[Loaded]:
        yield from self._inner.load()

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        if self.armed:
            self.entered.set()
            assert self.opened.wait(60)
        return self._inner.forward(lane, batch)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    return make_tracing(exporter, ratio=0.0)


def make_tracing(exporter: InMemorySpanExporter, ratio: float) -> Tracing:
    provider = TracerProvider(sampler=sampler(ratio))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # A pause between the two readings makes it too small.
    offset_ns = max(time.time_ns() - time.monotonic_ns() for _ in range(10))
    return Tracing(provider, epoch_ns_of=lambda monotonic_s: round(monotonic_s * 1e9) + offset_ns)


@pytest.fixture
def device() -> Gate:
    return Gate()


@pytest.fixture
def server(tracing: Tracing, device: Gate) -> Iterator[Served]:
    with served(CATALOGUE, make_device=lambda: device, tracing=tracing) as running:
        yield running


def ask(server: Served, headers: dict[str, str], inputs: Many[dict[str, str]] = ONE) -> Any:
    response = server.predict("v", list(inputs), headers=headers)
    assert response.status_code == 200, response.text
    return response


def spans(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def test_a_request_continues_its_callers_trace(server: Served, exporter: InMemorySpanExporter) -> None:
    began_ns = time.time_ns()
    response = ask(server, SAMPLED | {"X-Request-ID": "mine"})
    eventually(lambda: bool(spans(exporter, REQUEST)))
    (whole,) = spans(exporter, REQUEST)
    assert whole.context is not None
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert whole.parent is not None
    assert f"{whole.parent.span_id:016x}" == SPAN
    assert response.headers["X-Request-ID"] == "mine"
    told_ms = dict(re.findall(r"(\w+);dur=([\d.]+)", response.headers["Server-Timing"]))
    end_ns = None
    for stage in STAGES:
        (span,) = spans(exporter, stage)
        assert span.parent is not None
        assert span.parent.span_id == whole.context.span_id
        assert (span.attributes or {})["xlmr.variant"] == "v"
        assert span.start_time is not None
        assert span.end_time is not None
        assert end_ns in (None, span.start_time), "stages follow each other"
        assert (span.end_time - span.start_time) / 1e6 == pytest.approx(float(told_ms[stage]), abs=0.001)
        assert began_ns - 1e6 <= span.start_time <= span.end_time <= time.time_ns() + 1e6
        end_ns = span.end_time


def test_a_batch_links_to_each_request_that_it_serves(
    server: Served, exporter: InMemorySpanExporter, device: Gate
) -> None:
    """One request holds the engine, a large one fills the next batch, its rest shares the third."""
    device.armed = True
    large, small = (f"{number:032x}" for number in (1, 2))
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, server, SAMPLED)]
        assert device.entered.wait(60)
        asked.append(pool.submit(ask, server, {"traceparent": f"00-{large}-{SPAN}-01"}, MANY))
        eventually(lambda: server.service.backend.statistics().queue_requests == 1)
        last = ({"traceparent": f"00-{small}-{SPAN}-01"}, NOT_SAMPLED)
        asked.extend(pool.submit(ask, server, headers) for headers in last)
        eventually(lambda: server.service.backend.statistics().queue_requests == 3)
        device.opened.set()
        for one in asked:
            one.result(60)
    eventually(lambda: len(spans(exporter, REQUEST)) == 3)
    linked = [{f"{link.context.trace_id:032x}" for link in span.links} for span in spans(exporter, "batch")]
    assert linked == [{TRACE}, {large}, {large, small}]
    by_id = {span.context.span_id for span in spans(exporter, REQUEST) if span.context is not None}
    assert {link.context.span_id for span in spans(exporter, "batch") for link in span.links} == by_id
    batch = spans(exporter, "batch")[0]
    assert batch.parent is None
    assert (batch.attributes or {})["xlmr.sequences"] == 1


def test_what_the_caller_does_not_keep_is_not_kept(server: Served, exporter: InMemorySpanExporter) -> None:
    ask(server, NOT_SAMPLED)
    ask(server, {})
    server.client.get("/health/live", headers=SAMPLED)
    server.client.get("/metrics", headers=SAMPLED)
    ask(server, SAMPLED)
    eventually(lambda: bool(spans(exporter, REQUEST)))
    assert sorted(span.name for span in exporter.get_finished_spans()) == sorted((REQUEST, "batch", *STAGES))


def test_a_share_of_requests_without_a_trace_is_kept(exporter: InMemorySpanExporter, device: Gate) -> None:
    tracing = make_tracing(exporter, ratio=1.0)
    with served(CATALOGUE, make_device=lambda: device, tracing=tracing) as server:
        ask(server, {})
        eventually(lambda: bool(spans(exporter, REQUEST)))
    (whole,) = spans(exporter, REQUEST)
    assert whole.parent is None
    assert "LinkedOr{TraceIdRatioBased{1.0}}" in tracing.provider.sampler.get_description()


def test_a_refused_request_has_its_span_and_no_stages(server: Served, exporter: InMemorySpanExporter) -> None:
    assert server.predict("v", [{"txt": 1}], headers=SAMPLED).status_code == 422
    eventually(lambda: bool(spans(exporter, REQUEST)))
    (whole,) = exporter.get_finished_spans()
    assert (whole.attributes or {})["http.response.status_code"] == 422


def test_log_lines_carry_both_ids(server: Served) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        ask(server, SAMPLED | {"X-Request-ID": "mine"})
        eventually(lambda: any(line["event"] == "request" for line in lines))
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["request_id"], line["trace_id"]) == ("mine", TRACE)


def test_durations_have_exemplars_in_openmetrics_alone(server: Served) -> None:
    ask(server, SAMPLED)
    ask(server, NOT_SAMPLED)
    found = server.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    exemplars = re.findall(r'^(xlmr_\w+)\{.* # \{trace_id="(\w+)"\}', found.text, flags=re.MULTILINE)
    assert exemplars == [("xlmr_request_duration_seconds_bucket", TRACE)]
    assert TRACE not in server.client.get("/metrics").text


def test_without_an_endpoint_nothing_is_traced(device: Gate) -> None:
    with served(CATALOGUE, make_device=lambda: device) as server:
        assert server.service.tracing is None
        with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            ask(server, SAMPLED)
            eventually(lambda: any(line["event"] == "request" for line in lines))
        assert all("trace_id" not in line for line in lines)


class Collector(BaseHTTPRequestHandler):
    """Keeps the spans' names that it is sent."""

    names: ClassVar[list[str]]

    def do_POST(self) -> None:
        sent = ExportTraceServiceRequest()
        sent.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/traces"
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                self.names.extend(span.name for span in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Stay silent."""


def test_an_endpoint_gets_the_spans_before_the_service_ends(device: Gate) -> None:
    class One(Collector):
        names: ClassVar[list[str]] = []

    with HTTPServer(("127.0.0.1", 0), One) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{collector.server_port}/"
        with served(CATALOGUE, make_device=lambda: device, otlp_endpoint=endpoint) as server:
            ask(server, {})
        collector.shutdown()
        thread.join()
    assert sorted(One.names) == sorted((REQUEST, "batch", *STAGES))


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://x", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(StartupError, match="--otlp-endpoint"):
        read_settings(catalogue=CATALOGUE, otlp_endpoint=endpoint)
