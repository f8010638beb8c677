"""Processes that are stopped, not dead: everything goes on without them, and they are replaced."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from tests.service.serving import eventually
from tests.service.test_http_workers import WORKERS, ask, assert_unavailable, occupied, predict
from tests.service.trees import TIMEOUT_S, Tree, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)
# A machine that is busy keeps a living process from answering for some time, too.
HEARTBEAT_S, HANG_TIMEOUT_S = 0.5, 5


@pytest.fixture
def service(tmp_path: Path, project_root: Path) -> Iterator[Tree]:
    with tree(tmp_path, project_root, heartbeat_s=HEARTBEAT_S, hang_timeout_s=HANG_TIMEOUT_S) as running:
        yield running


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_a_backend_that_hangs_is_replaced_and_nobody_waits_for_it(
    service: Tree, pool: ThreadPoolExecutor
) -> None:
    pid = service.pid("backend")
    pending = [occupied(service, pool), *(pool.submit(ask, service, f"Satz {n}") for n in range(3))]
    service.until(lambda series: series.sum("xlmr_queue_requests") == 3.0)
    before = service.now
    os.kill(pid, signal.SIGSTOP)
    # What is under way has five minutes by its own deadline, and is told long before.
    for answer in pending:
        assert_unavailable(answer.result(TIMEOUT_S), "being restarted")
    hung = service.event("process_hung", after=before, child="backend")
    assert (hung["pid"], hung["silent_s"]) == (pid, 5.0)
    service.event("process_died", after=before, child="backend", signal="SIGKILL")
    service.open_gate()
    for worker in sorted(WORKERS):
        service.event("connected", after=before, process=worker)
    assert service.pid("backend") != pid
    assert {ask(service, f"danach {n}").status_code for n in range(8)} == {200}
    series = service.metrics()
    assert series.sum("xlmr_process_hangs_total", process="backend") == 1.0
    assert series.sum("xlmr_process_hangs_total") == 1.0
    assert series.sum("xlmr_process_restarts_total", process="backend") == 1.0
    assert not psutil.pid_exists(pid)


def test_where_a_hung_backend_cannot_be_killed_front_ends_notice_and_go_on_when_it_does(
    service: Tree,
) -> None:
    """The supervisor is stopped too, in place of a kill that a process inside the kernel does not hear."""
    supervisor = psutil.Process(service.process.pid)
    backend = psutil.Process(service.pid("backend"))
    before = service.now
    supervisor.suspend()
    try:
        backend.suspend()
        try:
            for worker in sorted(WORKERS):
                service.event("backend_silent", after=before, process=worker)
                service.event("backend_lost", after=before, process=worker)
            with service.client() as client:
                assert_unavailable(client.get("/health/ready"), "being restarted")
                assert_unavailable(predict(client, "ein Satz"), "being restarted")
                assert client.get("/health/live").status_code == 200
        finally:
            backend.resume()
        for worker in sorted(WORKERS):
            service.event("connected", after=before, process=worker)
        assert ask(service, "es geht weiter").status_code == 200
    finally:
        supervisor.resume()
    # The supervisor slept itself, and takes nobody for dead.
    series = service.metrics()
    assert series.sum("xlmr_process_hangs_total") == 0.0
    assert series.sum("xlmr_process_restarts_total") == 0.0
    assert backend.is_running()


def test_a_front_end_that_hangs_is_replaced(service: Tree) -> None:
    pid = service.pid("http-1")
    before = service.now
    os.kill(pid, signal.SIGSTOP)
    service.event("process_hung", after=before, child="http-1", pid=pid)
    service.event("connected", after=before, process="http-1")
    with closing(service.client_of("http-1")) as client:
        assert predict(client, "danach").status_code == 200
        series = service.metrics(client)
    assert series.sum("xlmr_process_hangs_total", process="http-1") == 1.0
    assert series.sum("xlmr_process_restarts_total") == 1.0


def test_a_pause_shorter_than_patience_changes_nothing(
    tmp_path: Path, project_root: Path, pool: ThreadPoolExecutor
) -> None:
    # Patience that no busy machine wears out: only the pause is to be looked at.
    with tree(tmp_path, project_root, heartbeat_s=HEARTBEAT_S, hang_timeout_s=TIMEOUT_S) as service:
        backend = psutil.Process(service.pid("backend"))
        before = service.now
        backend.suspend()
        pending = [pool.submit(ask, service, f"Satz {n}") for n in range(4)]
        # One whole question of each front end has to wait.
        assert ask(service, "zu spät", **{"X-Request-Timeout-Ms": "600"}).status_code == 504
        backend.resume()
        assert {answer.result(TIMEOUT_S).status_code for answer in pending} == {200}
        seen = {event["event"] for event in service.events[before:]}
        assert seen.isdisjoint({"process_hung", "backend_silent", "backend_lost", "process_died"})


def test_metrics_are_told_while_a_process_hangs(tmp_path: Path, project_root: Path) -> None:
    with tree(tmp_path, project_root, hang_timeout_s=0) as service:
        assert ask(service, "vorher").status_code == 200
        service.until(
            lambda series: (
                series.sum("xlmr_batches_total") == series.sum("xlmr_requests_total", outcome="ok") == 1.0
            )
        )
        backend = psutil.Process(service.pid("backend"))
        backend.suspend()
        try:
            series = service.metrics()
            assert series.sum("xlmr_batches_total") == 1.0  # as it was read last
            assert series.sum("xlmr_requests_total", outcome="ok") == 1.0
        finally:
            backend.resume()
        assert ask(service, "danach").status_code == 200


def test_a_device_that_does_not_come_back_is_a_backend_that_is_replaced(
    tmp_path: Path, project_root: Path, pool: ThreadPoolExecutor
) -> None:
    """The fake device's costs are known from its warm-up: a batch is expected to take next to nothing."""
    with tree(tmp_path, project_root, stuck_batch_s=1) as service:
        before = service.now
        first = occupied(service, pool)
        stuck = service.event("batch_stuck", after=before, process="backend")
        assert (stuck["variant"], stuck["waited_s"]) == ("v", 1.0)
        assert first.result(TIMEOUT_S).status_code == 500
        service.event("process_died", after=before, child="backend", code=1)
        service.open_gate()
        for worker in sorted(WORKERS):
            service.event("connected", after=before, process=worker)
        assert ask(service, "danach").status_code == 200
        assert service.metrics().sum("xlmr_process_restarts_total", process="backend") == 1.0


def test_a_device_that_does_not_come_back_makes_a_single_process_say_that_it_is_dead(
    tmp_path: Path, project_root: Path, pool: ThreadPoolExecutor
) -> None:
    with tree(tmp_path, project_root, http_workers=1, stuck_batch_s=1) as service:
        assert service.event("listening")["pid"] == service.process.pid
        before = service.now
        first = occupied(service, pool)
        service.event("batch_stuck", after=before)
        assert first.result(TIMEOUT_S).status_code == 500
        with service.client() as client:
            eventually(lambda: client.get("/health/live").status_code == 503)
            assert_unavailable(client.get("/health/ready"), "must be restarted")
            assert_unavailable(predict(client, "ein Satz"), "must be restarted")
        service.open_gate()
        service.process.send_signal(signal.SIGTERM)
        assert service.end() == (0, "")
    assert "Traceback" not in json.dumps([e for e in service.events if e["event"] != "backend_broken"])
