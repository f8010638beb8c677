"""The command as a user runs it: a process of its own, real HTTP, real signals."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import typer

from service.cli import run
from tests.service.serving import Series, eventually, served
from tests.service.trees import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(900)

TIMEOUT_S = 240.0


class Program:
    """`python -m service` with its log as events."""

    def __init__(self, *options: str, cwd: Path) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("XLMR_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment | {"OMP_NUM_THREADS": "1"},
        )

    def event(self, name: str) -> dict[str, Any]:
        """Read the log up to an event; pytest's timeout ends it if there is none."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
        raise AssertionError(f"The log ended without {name}.")

    def end(self) -> tuple[int, str, str]:
        """Wait for the end: exit code and what is left of both outputs."""
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, out, err


@contextmanager
def program(project_root: Path, *options: str) -> Iterator[Program]:
    running = Program(*options, cwd=project_root)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        for stream in (running.process.stdout, running.process.stderr):
            assert stream is not None
            stream.close()


def test_a_whole_life(project_root: Path, mini_catalogue: Path, tmp_path: Path) -> None:
    """Live, ready with a file, answers, SIGTERM with a request under way, exit 0."""
    ready_file = tmp_path / "ready.json"
    options = ["--catalogue", str(mini_catalogue), "--variants", "embed,classify", "--port", "0"]
    with (
        program(
            project_root, *options, "--ready-file", str(ready_file), "--max-batch-tokens", "512"
        ) as running,
        ThreadPoolExecutor(1) as pool,
    ):
        listening = running.event("listening")
        assert listening["host"] == "127.0.0.1"
        assert listening["pid"] == running.process.pid
        with httpx2.Client(base_url=listening["url"], timeout=TIMEOUT_S) as client:
            assert client.get("/health/live").status_code == 200
            assert running.event("ready")["variants"] == 2
            assert client.get("/health/ready").status_code == 200
            told = json.loads(ready_file.read_text())
            assert {key: told[key] for key in ("url", "port", "pid")} == {
                key: listening[key] for key in ("url", "port", "pid")
            }
            names = [entry["name"] for entry in client.get("/v1/variants").json()["variants"]]
            assert names == ["classify", "embed"]
            answer = client.post(
                "/v1/variants/classify/predict",
                json={"inputs": [{"text": "keep-this-to-yourself"}]},
                headers={"X-Request-ID": "mine"},
            )
            assert answer.status_code == 200
            logged = running.event("request")
            while logged["path"] != "/v1/variants/classify/predict":
                logged = running.event("request")
            assert (logged["request_id"], logged["status"]) == ("mine", 200)
            assert "yourself" not in json.dumps(logged)

            long = {"inputs": [{"text": "ein langer Satz " * 300}] * 32}
            under_way = pool.submit(client.post, "/v1/variants/embed/predict", json=long)
            # Of some thirty batches. What is refused meanwhile is tested below, where the engine waits.
            eventually(lambda: _metrics(client).sum("xlmr_batches_total", variant="embed") >= 1.0)
            running.process.send_signal(signal.SIGTERM)
            assert under_way.result(TIMEOUT_S).status_code == 200
            running.event("draining")
        code, out, err = running.end()
        assert (code, err) == (0, "")
        assert json.loads(out.splitlines()[-1])["event"] == "stopped"
        assert not ready_file.exists()


def _metrics(client: httpx2.Client) -> Series:
    return Series.of(client.get("/metrics").text)


def test_sigterm_drains_and_refuses_what_comes_meanwhile(tmp_path: Path, project_root: Path) -> None:
    with tree(tmp_path, project_root, http_workers=1) as running, ThreadPoolExecutor(1) as pool:
        with running.client() as client:
            ask = partial(client.post, "/v1/variants/v/predict", json={"inputs": [{"text": "ein Satz"}]})
            running.close_gate()
            under_way = pool.submit(ask)
            running.until_a_batch_waits()
            running.process.send_signal(signal.SIGTERM)
            running.event("draining")
            for refused in (client.get("/health/ready"), ask()):
                assert refused.status_code == 503
                assert "shutting down" in refused.json()["detail"]
            running.open_gate()
            assert under_way.result(TIMEOUT_S).status_code == 200
        assert running.end() == (0, "")
    assert running.events[-2]["event"] == "stopped"


def test_a_signal_while_the_weights_load_ends_it_too(project_root: Path, mini_catalogue: Path) -> None:
    with program(project_root, "--catalogue", str(mini_catalogue), "--port", "0") as running:
        running.event("listening")
        running.process.send_signal(signal.SIGINT)
        code, _, err = running.end()
        assert (code, err) == (0, "")


def test_a_second_signal_gives_up_what_is_under_way(tmp_path: Path, project_root: Path) -> None:
    with tree(tmp_path, project_root, http_workers=1, drain_timeout_s=600) as running:
        with running.client() as client, ThreadPoolExecutor(1) as pool:
            ask = partial(client.post, "/v1/variants/v/predict", json={"inputs": [{"text": "ein Satz"}]})
            running.close_gate()
            under_way = pool.submit(ask)
            running.until_a_batch_waits()
            running.process.send_signal(signal.SIGTERM)
            running.event("draining")
            running.process.send_signal(signal.SIGTERM)
            given_up = under_way.result(TIMEOUT_S)
            assert given_up.status_code == 503
            assert "has shut down" in given_up.json()["detail"]
        running.open_gate()
        assert running.end() == (0, "")
    assert "Traceback" not in json.dumps(running.events)


def test_it_is_live_before_it_is_ready(tmp_path: Path, project_root: Path) -> None:
    ready_file = tmp_path / "ready.json"
    with (tmp_path / "gate").open("wb") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)  # what it has to measure before it is ready waits for this
        with tree(tmp_path, project_root, wait=False, http_workers=1, ready_file=ready_file) as running:
            with running.client() as client:
                assert client.get("/health/live").status_code == 200
                refused = client.get("/health/ready")
                assert (refused.status_code, refused.headers["Retry-After"].isdigit()) == (503, True)
                assert not ready_file.exists()
                fcntl.flock(gate, fcntl.LOCK_UN)
                running.event("ready")
                assert client.get("/health/ready").status_code == 200
                assert json.loads(ready_file.read_text())["url"] == running.url
            running.process.send_signal(signal.SIGTERM)
            assert running.end() == (0, "")
    assert not ready_file.exists()


def refused_by(project_root: Path, *options: str) -> str:
    """Run what must refuse: exit code 2 and one line on standard error, which is returned."""
    with program(project_root, *options) as running:
        code, out, err = running.end()
    assert code == 2, (out, err)
    assert "Traceback" not in out + err
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("xlmr-serve: ")
    return lines[0]


def catalogue(folder: Path, text: str) -> str:
    file = folder / "catalogue.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def variant(
    mini_catalogue: Path, head: str = "classify", checkpoint: str = "classify", more: str = ""
) -> str:
    where = mini_catalogue.parent / checkpoint
    return f'[[variant]]\nname = "v"\nhead = "{head}"\ncheckpoint = "{where}"\n{more}\n'


def test_no_catalogue(project_root: Path) -> None:
    assert "--catalogue" in refused_by(project_root)


def test_a_wrong_digest(project_root: Path, tmp_path: Path, mini_catalogue: Path) -> None:
    text = variant(mini_catalogue, more=f'sha256 = "{"0" * 64}"')
    line = refused_by(project_root, "--catalogue", catalogue(tmp_path, text), "--port", "0")
    assert "digest" in line
    assert "0" * 64 in line


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what runs the command in this process, where it refuses before anything is started."""
    monkeypatch.setattr("service.cli.configure_logs", lambda **_: None)

    def refuse(**options: str) -> str:
        with pytest.raises(typer.Exit) as ended:
            run(**options)
        out, err = capsys.readouterr()
        assert ended.value.exit_code == 2
        assert out == ""
        (line,) = err.splitlines()
        assert line.startswith("xlmr-serve: ")
        return line

    return refuse


def test_a_catalogue_that_is_not_there(refusal: Callable[..., str], tmp_path: Path) -> None:
    assert "nowhere.toml" in refusal(catalogue=str(tmp_path / "nowhere.toml"))


def test_a_catalogue_that_is_not_toml(refusal: Callable[..., str], tmp_path: Path) -> None:
    assert "TOML" in refusal(catalogue=catalogue(tmp_path, "[[variant"))


def test_an_unknown_head(refusal: Callable[..., str], tmp_path: Path, mini_catalogue: Path) -> None:
    line = refusal(catalogue=catalogue(tmp_path, variant(mini_catalogue, head="generate")))
    assert "generate" in line
    assert "classify" in line


def test_a_checkpoint_that_is_not_there(
    refusal: Callable[..., str], tmp_path: Path, mini_catalogue: Path
) -> None:
    text = variant(mini_catalogue, checkpoint="nothing-here")
    assert "nothing-here" in refusal(catalogue=catalogue(tmp_path, text))


def test_a_variant_that_the_catalogue_lacks(refusal: Callable[..., str], mini_catalogue: Path) -> None:
    line = refusal(catalogue=str(mini_catalogue), variants="classify,nobody")
    assert "'nobody'" in line
    assert "choose, classify, embed" in line


def test_a_variant_that_has_no_checkpoint_yet(refusal: Callable[..., str], tmp_path: Path) -> None:
    text = '[[variant]]\nname = "v"\nhead = "embed"\ncheckpoint = "none yet"\n'
    assert "no checkpoint yet" in refusal(catalogue=catalogue(tmp_path, text))


def test_a_port_that_is_in_use(refusal: Callable[..., str], mini_catalogue: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refusal(catalogue=str(mini_catalogue), port=port)
    assert f"127.0.0.1:{port} is in use" in line


def test_a_host_that_is_not_of_this_machine(refusal: Callable[..., str], mini_catalogue: Path) -> None:
    assert "192.0.2.1" in refusal(catalogue=str(mini_catalogue), host="192.0.2.1", port="0")


def test_a_checkpoint_of_another_head(tmp_path: Path, mini_catalogue: Path) -> None:
    file = catalogue(tmp_path, variant(mini_catalogue, head="tag"))
    with served(Path(file), wait=False) as server:
        server.wait_until_loaded()
        assert "'tag'" in str(server.service.failure)
        assert "\n" not in str(server.service.failure)


def test_help_names_every_setting(project_root: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "service", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=project_root,
        timeout=TIMEOUT_S,
    ).stdout
    for option in ("--catalogue", "--variants", "--host", "--port", "--device", "--dtype", "--ready-file"):
        assert option in shown


def test_torch_is_not_imported_before_the_socket_is_bound(project_root: Path) -> None:
    """It takes seconds, in which liveness could not answer."""
    code = "import sys, service.cli; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=project_root, timeout=TIMEOUT_S)
