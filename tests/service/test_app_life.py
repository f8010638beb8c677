"""Starting, hanging up, overload, failure and draining, with a device that waits for the test."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from models.tokenizer import bundled_file
from service.engine.fake import FakeDevice
from service.errors import StartupError
from service.settings import read_settings
from tests.service.backend_world import card
from tests.service.serving import eventually, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2
    import numpy as np
    from numpy.typing import NDArray

    from service.batching.packing import PackedBatch
    from service.domain import Lane
    from service.engine.device import Loaded
    from tests.service.serving import Served

TIMEOUT_S = 240.0
UNUSED = Path("no-catalogue.toml")


class GatedDevice:
    """Answers like the fake device, but only while its gate is open, once it has loaded."""

    def __init__(self, **fake: Any) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self._counting = False
        tokenizer = str(bundled_file())
        self._fake = FakeDevice(
            variants=[card("v", tokenizer=tokenizer), card("e", "embed", tokenizer=tokenizer)], **fake
        )

    def load(self) -> Iterator[Loaded]:
        yield from self._fake.load()

    def close_gate(self) -> None:
        self._counting = True
        self.gate.clear()

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        if self._counting:
            self.entered.release()
        assert self.gate.wait(TIMEOUT_S)
        return self._fake.forward(lane, batch)


@contextmanager
def gated(**given: Any) -> Iterator[tuple[Served, GatedDevice]]:
    device = GatedDevice()
    with served(UNUSED, make_device=lambda: device, **given) as server:
        device.close_gate()
        try:
            yield server, device
        finally:
            device.gate.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def ask(server: Served, *texts: str, **headers: str) -> httpx2.Response:
    return server.predict("v", [{"text": text} for text in texts], headers=headers)


def until(server: Served, name: str, value: float, **labels: str) -> None:
    """Read the metrics until one has a value."""
    eventually(lambda: server.metrics().sum(name, **labels) == value)


def test_a_client_that_hangs_up_takes_its_work_with_it(pool: ThreadPoolExecutor) -> None:
    with gated(max_batch_tokens=8, max_prefetched_batches=0) as (server, device):
        first = pool.submit(ask, server, "a")
        assert device.entered.acquire(timeout=TIMEOUT_S)
        body = json.dumps({"inputs": [{"text": "b c"}]}).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"POST /v1/variants/v/predict HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )
            until(server, "xlmr_queue_requests", 1.0)
        until(server, "xlmr_queue_requests", 0.0)
        until(server, "xlmr_requests_total", 1.0, variant="v", outcome="cancelled")
        device.gate.set()
        assert first.result(TIMEOUT_S).status_code == 200
        assert ask(server, "d").status_code == 200
        # The batch of "b c" was never run: two batches, of "a" and "d".
        assert server.metrics().sum("xlmr_batches_total", variant="v") == 2.0


def test_a_full_queue_gives_429_with_a_time_to_come_back(pool: ThreadPoolExecutor) -> None:
    with gated(max_queue_tokens=8, max_prefetched_batches=0) as (server, device):
        running = pool.submit(ask, server, "a")
        assert device.entered.acquire(timeout=TIMEOUT_S)
        waiting = pool.submit(ask, server, "b")
        until(server, "xlmr_queue_requests", 1.0)
        response = ask(server, "eins zwei drei vier")
        assert response.status_code == 429
        assert response.json()["type"] == "urn:xlmr:problem:queue-full"
        assert int(response.headers["retry-after"]) >= 1
        device.gate.set()
        assert [running.result().status_code, waiting.result().status_code] == [200, 200]
        metrics = server.metrics()
        assert metrics.sum("xlmr_requests_total", variant="v", outcome="overloaded") == 1.0
        assert metrics.sum("xlmr_rejected_total", reason="queue-full") == 1.0


def test_too_many_requests_at_once_give_429(pool: ThreadPoolExecutor) -> None:
    with gated(max_requests=2) as (server, device):
        two = [pool.submit(ask, server, text) for text in "ab"]
        eventually(lambda: server.service.predictor._num_requests == 2)
        response = ask(server, "c")
        assert (response.status_code, response.json()["type"]) == (429, "urn:xlmr:problem:queue-full")
        device.gate.set()
        assert [one.result().status_code for one in two] == [200, 200]


def test_the_deadline_of_the_header_holds_while_the_device_works(pool: ThreadPoolExecutor) -> None:
    with gated() as (server, device):
        response = ask(server, "a", **{"X-Request-Timeout-Ms": "50"})
        assert response.status_code == 504
        assert response.headers["content-type"] == "application/problem+json"
        device.gate.set()
        assert ask(server, "a").status_code == 200
        assert server.metrics().sum("xlmr_requests_total", variant="v", outcome="deadline") == 1.0


def test_a_failing_batch_gives_500_to_its_request_alone() -> None:
    device = GatedDevice(poison_id=0)  # the id of <s>: every sequence is poison
    device._fake = FakeDevice(variants=device._fake.variants)
    with served(UNUSED, make_device=lambda: device) as server:
        healthy, device._fake = device._fake, FakeDevice(variants=device._fake.variants, poison_id=0)
        response = ask(server, "a")
        assert response.status_code == 500
        assert response.json()["type"] == "urn:xlmr:problem:engine"
        assert "FakeDeviceError" in response.json()["detail"]
        device._fake = healthy
        assert ask(server, "a").status_code == 200
        assert server.client.get("/health/live").status_code == 200
        assert server.metrics().sum("xlmr_requests_total", variant="v", outcome="error") == 1.0


def test_draining_answers_what_is_under_way_and_refuses_the_rest(pool: ThreadPoolExecutor) -> None:
    with gated() as (server, device):
        running = pool.submit(ask, server, "a")
        assert device.entered.acquire(timeout=TIMEOUT_S)
        loop = server.loop
        drained = asyncio.run_coroutine_threadsafe(server.service.drain(TIMEOUT_S), loop)
        eventually(lambda: server.client.get("/health/ready").status_code == 503)
        refused = ask(server, "b")
        assert refused.status_code == 503
        assert refused.headers["connection"] == "close"
        assert "shutting down" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert server.client.get("/health/live").status_code == 200
        assert server.metrics().sum("xlmr_ready") == 0.0
        assert not drained.done()
        device.gate.set()
        answered = running.result(TIMEOUT_S)
        assert (answered.status_code, answered.headers["connection"]) == (200, "close")
        assert drained.result(TIMEOUT_S) is True


def test_giving_up_answers_what_is_under_way_with_503(pool: ThreadPoolExecutor) -> None:
    with gated() as (server, device):
        running = pool.submit(ask, server, "a")
        assert device.entered.acquire(timeout=TIMEOUT_S)
        drained = asyncio.run_coroutine_threadsafe(server.service.drain(TIMEOUT_S), server.loop)
        server.loop.call_soon_threadsafe(server.service.give_up)
        assert running.result(TIMEOUT_S).status_code == 503
        assert drained.result(TIMEOUT_S) is True


class SlowLoad(GatedDevice):
    """A device whose weights take as long as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.loading = threading.Event()

    def load(self) -> Iterator[Loaded]:
        assert self.loading.wait(TIMEOUT_S)
        yield from super().load()


def test_live_answers_while_the_weights_load_and_ready_after_them() -> None:
    device = SlowLoad()
    with served(UNUSED, make_device=lambda: device, wait=False) as server:
        assert server.client.get("/health/live").json() == {"status": "live"}
        not_yet = [
            server.client.get("/health/ready"),
            server.client.get("/v1/variants"),
            server.client.get("/v1/variants/v"),
            ask(server, "a"),
        ]
        for response in not_yet:
            assert response.status_code == 503
            assert response.headers["content-type"] == "application/problem+json"
            assert "loading" in response.json()["detail"]
            assert int(response.headers["retry-after"]) >= 1
        assert server.metrics().sum("xlmr_ready") == 0.0
        device.loading.set()
        server.wait_until_loaded()
        assert server.client.get("/health/ready").json() == {"status": "ready"}
        assert ask(server, "a").status_code == 200


def test_a_device_that_cannot_load_is_told_and_never_ready() -> None:
    class Broken(GatedDevice):
        def load(self) -> Iterator[Loaded]:
            raise StartupError("variant 'v': no such checkpoint.")

    with served(UNUSED, make_device=Broken, wait=False) as server:
        server.wait_until_loaded()
        assert str(server.service.failure) == "variant 'v': no such checkpoint."
        assert server.client.get("/health/ready").status_code == 503


def test_an_exception_that_nobody_expected_is_a_problem_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with gated() as (server, device):
        device.gate.set()

        def broken(*_: object) -> None:
            raise ValueError("keep this to yourself")

        monkeypatch.setattr("service.api.native.write_response", broken)
        with capture_logs() as events:
            response = ask(server, "a", **{"X-Request-ID": "mine"})
            # The line is written after the answer: the client may be quicker.
            eventually(lambda: any(event["event"] == "request" for event in events))
        told = [event["event"] for event in events if event["log_level"] != "debug"]
        assert told == ["request_failed", "request"]
        assert response.status_code == 500
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["x-request-id"] == response.json()["request_id"] == "mine"
        assert "yourself" not in response.text
        monkeypatch.undo()
        assert ask(server, "a").status_code == 200


def test_settings_bound_what_a_request_may_be() -> None:
    assert read_settings(catalogue=UNUSED).max_body_bytes == 2 * 1024 * 1024
    with gated(max_body_bytes=60, max_inputs=2) as (server, device):
        device.gate.set()
        assert ask(server, "a", "b").status_code == 200
        assert ask(server, "a", "b", "c").status_code == 413
        assert ask(server, "a" * 60).status_code == 413
