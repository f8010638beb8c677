"""Several HTTP processes in front of one backend: real processes, real sockets, real signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import httpx2
import psutil  # type: ignore[import-untyped]  # ships no types
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service.errors import StartupError
from service.processes.backoff import FIRST_S, LONGEST_S, delay_s
from service.processes.supervisor import supervise
from service.server import listen, listen_together
from service.settings import read_settings
from tests.service.fake_tree import fake_device
from tests.service.serving import served
from tests.service.test_app_life import UNUSED
from tests.service.trees import TIMEOUT_S, Tree, raw_request, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service.settings import Settings

pytestmark = pytest.mark.timeout(900)

WORKERS = {"http-1", "http-2"}
TEXTS = [{"text": "ein Satz " * n} for n in range(1, 40)]
INPUTS: dict[str, list[Any]] = {
    "v": TEXTS,
    "t": [{"tokens": ["Ada", "wohnt", "in", "Genf", "."] * n} for n in (1, 3, 150)],
    "s": [{"question": "wo ?", "context": "sie wohnt in Genf . " * n} for n in (1, 9, 200)],
    "c": [{"context": "sie geht", "choices": ["nach Hause", "weg", "zur Arbeit am Morgen"]}] * 3,
    "e": TEXTS,
}


@pytest.fixture
def service(tmp_path: Path, project_root: Path) -> Iterator[Tree]:
    with tree(tmp_path, project_root) as running:
        yield running


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def predict(client: httpx2.Client, *texts: str, **headers: str) -> httpx2.Response:
    return client.post(
        "/v1/variants/v/predict", json={"inputs": [{"text": text} for text in texts]}, headers=headers
    )


def ask(running: Tree, *texts: str, **headers: str) -> httpx2.Response:
    """Ask over a connection of its own."""
    with running.client() as client:
        return predict(client, *texts, **headers)


def occupied(service: Tree, pool: ThreadPoolExecutor) -> Future[httpx2.Response]:
    """Close the gate and let a request wait before it: whatever comes now is queued."""
    service.close_gate()
    first = pool.submit(ask, service, "der erste Stapel")
    service.until_a_batch_waits()
    return first


def assert_unavailable(response: httpx2.Response, detail: str) -> None:
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) >= 1
    assert detail in response.json()["detail"]


def test_answers_are_those_of_one_process_byte_for_byte(tmp_path: Path, project_root: Path) -> None:
    # Large embeddings too: 256 texts of 1024 numbers are five megabytes of JSON.
    many = [{"text": f"Satz {n}"} for n in range(256)]
    requests = [(name, {"inputs": inputs}) for name, inputs in INPUTS.items()] + [
        ("e", {"inputs": many, "parameters": {"encoding": "base64"}}),
        ("e", {"inputs": many, "parameters": {"normalize": True, "pooling": "cls", "layer": 2}}),
    ]
    with served(UNUSED, make_device=lambda: fake_device(1024)) as one:
        wanted = [one.client.post(f"/v1/variants/{name}/predict", json=body) for name, body in requests]
    with tree(tmp_path, project_root, hidden_size=1024) as many_processes:
        for worker in sorted(WORKERS):
            with closing(many_processes.client_of(worker)) as client:
                got = [client.post(f"/v1/variants/{name}/predict", json=body) for name, body in requests]
            assert [response.status_code for response in got] == [200] * len(requests)
            assert [response.content for response in got] == [response.content for response in wanted]
            assert max(len(response.content) for response in got) > 2**21


def test_metrics_of_both_add_up_and_any_of_them_tells_all(service: Tree) -> None:
    counts = {"http-1": 7, "http-2": 5}
    tokens = 0
    clients = {name: service.client_of(name) for name in counts}
    for name, count in counts.items():
        for n in range(count):
            response = predict(clients[name], "ein Satz", "und " * (n + 1))
            tokens += sum(output["usage"]["tokens"] for output in response.json()["outputs"])
        assert predict(clients[name], "").status_code == 422
    readings = [
        service.until(
            lambda series: (
                series.sum("xlmr_requests_total") == 14.0
                and series.sum("xlmr_batches_total", variant="v") == 12.0
            ),
            client,
        )
        for client in clients.values()
    ]
    for series in readings:
        assert series.sum("xlmr_requests_total", variant="v", outcome="ok") == 12.0
        assert series.sum("xlmr_requests_total", variant="v", outcome="rejected") == 2.0
        assert series.sum("xlmr_requests_total") == 14.0
        assert series.sum("xlmr_rejected_total", reason="all-inputs") == 2.0
        assert series.sum("xlmr_inputs_total", variant="v") == 24.0
        assert series.sum("xlmr_tokens_total", variant="v") == tokens
        assert series.sum("xlmr_request_duration_seconds_count", variant="v") == 12.0
        for stage in ("tokenize", "queue", "infer", "decode"):
            assert series.sum("xlmr_stage_duration_seconds_count", variant="v", stage=stage) == 12.0
            assert (
                series.sum("xlmr_stage_duration_seconds_bucket", variant="v", stage=stage, le="+Inf") == 12.0
            )
        # The backend's own, once: each request was a batch, since each came alone.
        assert series.sum("xlmr_batches_total", variant="v") == 12.0
        assert series.sum("xlmr_batch_sequences_sum") == 24.0
        assert series.sum("xlmr_batch_tokens_sum") == tokens
        assert series.sum("xlmr_variant_info", variant="v") == 1.0
        assert series.sum("xlmr_variant_owned_bytes", variant="v") == 100.0
        assert series.sum("xlmr_variant_loads_total", variant="v", result="ok") == 1.0
        assert series.sum("xlmr_build_info") == 1.0
        assert series.sum("xlmr_ready") == 1.0
        assert series.sum("xlmr_queue_requests") == 0.0
        assert series.sum("xlmr_process_restarts_total") == 0.0
        infer_s = series.sum("xlmr_stage_duration_seconds_sum", variant="v", stage="infer")
        assert series.sum("xlmr_engine_busy_seconds_total") == pytest.approx(infer_s)
        memory = sum(psutil.Process(pid).memory_info().rss for pid in tree_pids(service))
        assert series.sum("process_resident_memory_bytes") == pytest.approx(memory, rel=0.2)
        names = [(name, tuple(sorted(labels.items()))) for name, labels, _ in series.samples]
        assert len(names) == len(set(names))
    for client in clients.values():
        client.close()


def tree_pids(service: Tree) -> list[int]:
    return [service.process.pid, *(service.pid(name) for name in ("backend", *WORKERS))]


def test_promtool_finds_nothing_wrong_with_the_sum(service: Tree) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian's package prometheus) is not installed")
    assert ask(service, "ein Satz").status_code == 200
    with service.client() as client:
        text = client.get("/metrics").content
        found = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (found.returncode, found.stdout) == (0, b""), found
        open_metrics = client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert open_metrics.headers["Content-Type"].startswith("application/openmetrics-text")
    read = text_string_to_metric_families(open_metrics.text)  # type: ignore[no-untyped-call]  # ships no types
    families = {family.name: family for family in read}
    (count,) = [
        sample.value
        for sample in families["xlmr_requests"].samples
        if sample.name == "xlmr_requests_total"
        and sample.labels == {"variant": "v", "protocol": "native", "outcome": "ok"}
    ]
    assert count == 1.0


def test_a_backend_that_is_killed_answers_nobody_twice_or_never_and_comes_back(
    service: Tree, pool: ThreadPoolExecutor
) -> None:
    assert ask(service, "vorher").status_code == 200
    first = occupied(service, pool)
    pending = [first, *(pool.submit(ask, service, f"Satz {n}") for n in range(11))]
    service.until(lambda series: series.sum("xlmr_queue_requests") == 11.0)
    before = service.now
    os.kill(service.pid("backend"), signal.SIGKILL)
    for answer in pending:
        assert_unavailable(answer.result(TIMEOUT_S), "died and is being restarted")
    service.event("process_died", after=before, child="backend", signal="SIGKILL")
    service.open_gate()
    for worker in sorted(WORKERS):
        service.event("connected", after=before, process=worker)
    assert {ask(service, f"Satz {n}").status_code for n in range(12)} == {200}
    series = service.until(lambda series: series.sum("xlmr_requests_total") == 25.0)
    assert series.sum("xlmr_requests_total", outcome="ok") == 13.0
    assert series.sum("xlmr_requests_total", outcome="unavailable") == 12.0
    assert series.sum("xlmr_process_restarts_total", process="backend") == 1.0
    # What the first backend had counted when it was last read stays counted; the second may be read later.
    service.until(lambda series: series.sum("xlmr_variant_loads_total", variant="v", result="ok") == 2.0)
    service.until(lambda series: series.sum("xlmr_batches_total", variant="v") >= 13.0)


def test_while_there_is_no_backend_front_ends_are_unready_and_say_why(
    service: Tree, pool: ThreadPoolExecutor
) -> None:
    # The next backend cannot be killed before it has loaded, nor load before the supervisor goes on.
    supervisor = psutil.Process(service.process.pid)
    before = service.now
    supervisor.suspend()
    try:
        os.kill(service.pid("backend"), signal.SIGKILL)
        for worker in sorted(WORKERS):
            service.event("backend_lost", after=before, process=worker)
        with service.client() as client:
            assert_unavailable(client.get("/health/ready"), "died and is being restarted")
            assert_unavailable(predict(client, "ein Satz"), "died and is being restarted")
            assert client.get("/health/live").status_code == 200
            assert client.get("/v1/variants/v").status_code == 200
    finally:
        supervisor.resume()
    service.event("connected", after=before, process="http-1")
    with closing(service.client_of("http-1")) as client:
        assert client.get("/health/ready").status_code == 200


def test_under_load_each_request_is_answered_once_whatever_dies(
    service: Tree, pool: ThreadPoolExecutor
) -> None:
    def load(who: int) -> list[int]:
        with service.client() as client:
            return [predict(client, f"Satz {who} {n} " * 5).status_code for n in range(40)]

    before = service.now
    loads = [pool.submit(load, who) for who in range(8)]
    for deaths in (1, 2):
        service.until(lambda series: series.sum("xlmr_requests_total", outcome="ok") >= 1.0)
        os.kill(service.pid("backend"), signal.SIGKILL)
        service.event("process_started", after=before, child="backend")
        for worker in sorted(WORKERS):
            service.event("connected", after=before, process=worker)
        before = service.now
        assert service.metrics().sum("xlmr_process_restarts_total", process="backend") == deaths
    statuses = [status for one in loads for status in one.result(TIMEOUT_S)]
    assert len(statuses) == 8 * 40
    assert set(statuses) <= {200, 503}
    series = service.until(lambda series: series.sum("xlmr_requests_total") == len(statuses))
    assert series.sum("xlmr_requests_total", outcome="ok") == statuses.count(200)
    assert series.sum("xlmr_requests_total", outcome="unavailable") == statuses.count(503)
    assert series.sum("xlmr_requests_total") == len(statuses)
    assert ask(service, "danach").status_code == 200


def test_a_front_end_that_is_killed_takes_its_work_with_it_and_is_replaced(
    service: Tree, pool: ThreadPoolExecutor
) -> None:
    clients = {name: service.client_of(name) for name in sorted(WORKERS)}
    assert {predict(client, "vorher").status_code for client in clients.values()} == {200}
    service.until(lambda series: series.sum("xlmr_requests_total", outcome="ok") == 2.0)
    service.close_gate()
    first = pool.submit(ask_of, service, "http-2", "der erste Stapel")
    service.until_a_batch_waits()
    kept = [pool.submit(ask_of, service, "http-2", f"x {n}") for n in range(3)]
    doomed = [pool.submit(ask_of, service, "http-1", f"y {n}") for n in range(3)]
    service.until(lambda series: series.sum("xlmr_queue_requests") == 6.0, clients["http-2"])
    before = service.now
    os.kill(service.pid("http-1"), signal.SIGKILL)
    for answer in doomed:
        with pytest.raises(httpx2.TransportError):
            answer.result(TIMEOUT_S)
    service.until(lambda series: series.sum("xlmr_queue_requests") == 3.0, clients["http-2"])
    service.open_gate()
    assert {answer.result(TIMEOUT_S).status_code for answer in (first, *kept)} == {200}
    service.event("connected", after=before, process="http-1")
    with closing(service.client_of("http-1")) as client:
        assert predict(client, "danach").status_code == 200
        series = service.until(lambda series: series.sum("xlmr_requests_total", outcome="ok") >= 7.0, client)
    # One more of http-1, which is no more, is still counted: it had been read.
    assert series.sum("xlmr_requests_total", outcome="ok") == 7.0
    assert series.sum("xlmr_process_restarts_total", process="http-1") == 1.0
    for client in clients.values():
        client.close()


def ask_of(service: Tree, worker: str, text: str) -> httpx2.Response:
    with closing(service.client_of(worker)) as client:
        return predict(client, text)


def test_a_client_that_hangs_up_takes_its_work_from_the_queue(
    service: Tree, pool: ThreadPoolExecutor
) -> None:
    running = [occupied(service, pool), *(pool.submit(ask, service, f"Satz {n}") for n in range(3))]
    service.until(lambda series: series.sum("xlmr_queue_requests") == 3.0)
    body = json.dumps({"inputs": [{"text": "weg"}]}).encode()
    with raw_request(service.url, "/v1/variants/v/predict", body):
        service.until(lambda series: series.sum("xlmr_queue_requests") == 4.0)
    service.until(lambda series: series.sum("xlmr_queue_requests") == 3.0)
    service.until(lambda series: series.sum("xlmr_requests_total", outcome="cancelled") == 1.0)
    service.open_gate()
    assert {answer.result(TIMEOUT_S).status_code for answer in running} == {200}
    service.until(lambda series: series.sum("xlmr_batch_sequences_sum") == 4.0)


def test_a_deadline_holds_whether_the_backend_works_or_hangs(service: Tree) -> None:
    headers = {"X-Request-Timeout-Ms": "200"}
    service.close_gate()
    assert ask(service, "zu spät", **headers).status_code == 504
    backend = psutil.Process(service.pid("backend"))
    backend.suspend()
    try:
        assert ask(service, "auch zu spät", **headers).status_code == 504
    finally:
        backend.resume()
    service.open_gate()
    service.until(lambda series: series.sum("xlmr_requests_total", outcome="deadline") == 2.0)
    assert ask(service, "rechtzeitig").status_code == 200


def test_sigterm_drains_the_front_ends_then_the_backend(service: Tree, pool: ThreadPoolExecutor) -> None:
    everybody = [psutil.Process(pid) for pid in service.pids()]
    folder = service.backend_socket.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    clients = [service.client_of(name) for name in sorted(WORKERS)]
    first = occupied(service, pool)
    pending = [first, *(pool.submit(predict, client, "unterwegs") for client in clients)]
    service.until(lambda series: series.sum("xlmr_queue_requests") == 2.0)
    service.process.send_signal(signal.SIGTERM)
    for worker in sorted(WORKERS):
        service.event("draining", process=worker)
    assert_unavailable(ask(service, "zu spät"), "shutting down")
    service.open_gate()
    assert [answer.result(TIMEOUT_S).status_code for answer in pending] == [200, 200, 200]
    for client in clients:
        client.close()
    assert service.end() == (0, "")
    assert service.events[-2]["event"] == "stopped"
    ended = {one["child"]: one["code"] for one in service.events if one["event"] == "process_ended"}
    assert ended == {"backend": 0, "http-1": 0, "http-2": 0}
    assert list(ended)[-1] == "backend"
    _, alive = psutil.wait_procs(everybody, TIMEOUT_S)
    assert alive == []
    assert not folder.exists()
    assert "Traceback" not in json.dumps(service.events)


def test_a_second_signal_answers_what_is_under_way_with_503(service: Tree, pool: ThreadPoolExecutor) -> None:
    pending = [occupied(service, pool), *(pool.submit(ask, service, f"Satz {n}") for n in range(3))]
    service.until(lambda series: series.sum("xlmr_queue_requests") == 3.0)
    service.process.send_signal(signal.SIGINT)
    service.event("draining")
    service.process.send_signal(signal.SIGINT)
    for answer in pending:
        assert_unavailable(answer.result(TIMEOUT_S), "has shut down")
    assert service.end() == (0, "")


def test_a_signal_to_the_whole_group_ends_it_in_order_too(tmp_path: Path, project_root: Path) -> None:
    """A terminal's Ctrl-C and some service managers signal every process."""
    with tree(tmp_path, project_root) as service:
        for pid in service.pids() - {service.process.pid}:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        assert ask(service, "lebt noch").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.end() == (0, "")


def test_it_ends_in_order_also_when_nobody_reads_its_log_any_more(tmp_path: Path, project_root: Path) -> None:
    (tmp_path / "gate").touch()
    command = [sys.executable, "-m", "tests.service.fake_tree", str(tmp_path / "gate"), "http_workers=2"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=project_root,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as running:
        assert running.stdout is not None
        assert any(json.loads(line)["event"] == "ready" for line in running.stdout)
        everybody = [running.pid, *(one.pid for one in psutil.Process(running.pid).children(recursive=True))]
        processes = [psutil.Process(pid) for pid in everybody]
        running.stdout.close()
        running.send_signal(signal.SIGTERM)
        assert running.wait(TIMEOUT_S) == 0
    _, alive = psutil.wait_procs(processes, TIMEOUT_S)
    assert alive == []


def test_when_the_supervisor_is_killed_nothing_stays_behind(service: Tree) -> None:
    processes = [psutil.Process(pid) for pid in service.pids()]
    service.process.kill()
    _, alive = psutil.wait_procs(processes, TIMEOUT_S)
    assert alive == []


def test_garbage_at_the_backends_socket_hurts_nobody(service: Tree, pool: ThreadPoolExecutor) -> None:
    pending = occupied(service, pool)
    before = service.now
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"XL\x01\x01\xff\xff\xff\xff", bytes(1000)):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(TIMEOUT_S)
            stranger.connect(str(service.backend_socket))
            stranger.sendall(garbage)
            while stranger.recv(65536):  # what it says first, then the end
                pass
    service.event("garbage_received", after=before, process="backend")
    service.open_gate()
    assert pending.result(TIMEOUT_S).status_code == 200
    assert service.metrics().sum("xlmr_process_restarts_total") == 0.0


def test_what_cannot_be_served_ends_everything_with_one_line(tmp_path: Path, project_root: Path) -> None:
    with tree(tmp_path, project_root, wait=False, catalogue="refused.toml") as service:
        code, err = service.end()
    assert code == 2
    (line,) = err.splitlines()
    assert line == "xlmr-serve: The fake device does not serve refused.toml."
    assert "Traceback" not in json.dumps(service.events)
    assert list(tmp_path.glob("xlmr-serve-*")) == []


def test_what_front_ends_cannot_serve_ends_everything_with_one_line_too(
    tmp_path: Path, project_root: Path
) -> None:
    with tree(tmp_path, project_root, wait=False, catalogue="mute.toml") as service:
        code, err = service.end()
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("xlmr-serve: Loading failed")
    assert "start_failed" in [event["event"] for event in service.events]


def test_a_backend_that_never_comes_up_is_given_up(tmp_path: Path, project_root: Path) -> None:
    with tree(tmp_path, project_root, wait=False, catalogue="deadly.toml") as service:
        code, err = service.end()
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("xlmr-serve: The process backend died 3 times before it was ready")
    died = [event for event in service.events if event["event"] == "process_died"]
    assert [event["restart_in_s"] for event in died] == [FIRST_S, 2 * FIRST_S]


def test_a_signal_while_the_backend_loads_ends_it_too(tmp_path: Path, project_root: Path) -> None:
    with tree(tmp_path, project_root, wait=False) as service:
        service.event("process_started", child="backend")
        service.process.send_signal(signal.SIGTERM)
        assert service.end() == (0, "")


def settings_of(port: int) -> Settings:
    return read_settings(catalogue="unused.toml", port=str(port), http_workers="2")


def test_connections_are_spread_over_the_front_ends_sockets() -> None:
    listeners = listen_together(settings_of(0), 2)
    address = listeners[0].getsockname()
    assert {listener.getsockname() for listener in listeners} == {address}
    clients = [socket.create_connection(address) for _ in range(64)]
    counts = [len(accepted(listener)) for listener in listeners]
    assert sum(counts) == 64
    if sys.platform == "linux":
        assert min(counts) > 0
    for one in (*clients, *listeners):
        one.close()


def accepted(listener: socket.socket) -> list[str]:
    peers = []
    with suppress(BlockingIOError):
        while True:
            connection, peer = listener.accept()
            connection.close()
            peers.append(str(peer))
    return peers


def test_a_port_that_another_service_shares_among_its_front_ends_is_in_use() -> None:
    listeners = listen_together(settings_of(0), 2)
    port = listeners[0].getsockname()[1]
    for take in (lambda: listen_together(settings_of(port), 2), lambda: listen(settings_of(port))):
        with pytest.raises(StartupError, match=f"127.0.0.1:{port} is in use"):
            take()
    for one in listeners:
        one.close()


def test_a_folder_for_the_backends_socket_that_is_too_deep_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(StartupError, match="TMPDIR"):
        supervise(settings_of(0), make_device=fake_device)
    assert list(deep.iterdir()) == []


def test_a_restart_waits_twice_as_long_each_time_up_to_a_bound() -> None:
    delays = [delay_s(num_deaths) for num_deaths in range(1, 10)]
    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_S, LONGEST_S]
    assert delay_s(10_000) == LONGEST_S


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which libraries a process has loaded")
def test_the_command_serves_real_weights_and_front_ends_never_load_torch(
    tmp_path: Path, project_root: Path, mini_catalogue: Path
) -> None:
    ready_file = tmp_path / "ready.json"
    (tmp_path / "gate").touch()
    command = [sys.executable, "-m", "service", "--catalogue", str(mini_catalogue)]
    command += ["--variants", "classify,embed", "--port", "0", "--http-workers", "2"]
    command += ["--max-batch-tokens", "512", "--ready-file", str(ready_file)]
    service = Tree(command, gate=tmp_path / "gate", home=tmp_path, cwd=project_root)
    try:
        service.event("process_started", child="backend")
        backend = psutil.Process(service.pid("backend"))
        backend.suspend()  # lest it has loaded before a front end answers
        with service.client() as client:
            assert client.get("/health/live").status_code == 200
            assert_unavailable(client.get("/health/ready"), "loading its weights")
            assert not ready_file.exists()
            backend.resume()
            service.event("ready", http_workers=2)
            assert json.loads(ready_file.read_text())["pid"] == service.process.pid
            body = {"inputs": [{"text": "keep-this-to-yourself"}]}
            assert client.post("/v1/variants/classify/predict", json=body).status_code == 200
            assert client.post("/v1/variants/embed/predict", json=body).status_code == 200

        def libraries(name: str) -> str:
            pid = service.process.pid if name == "supervisor" else service.pid(name)
            with open(f"/proc/{pid}/maps", encoding="utf-8") as file:  # noqa: PTH123 - no file of ours
                return file.read()

        assert "libtorch" in libraries("backend")
        for name in ("supervisor", *WORKERS):
            assert "libtorch" not in libraries(name)
        service.process.send_signal(signal.SIGTERM)
        assert service.end() == (0, "")
        assert not ready_file.exists()
        assert "yourself" not in json.dumps(service.events)
    finally:
        service.close()
