"""A child process that serves: started from a template, found at its port, ended."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import httpx2
import pytest

from loadtest.study.cores import pinned
from loadtest.study.server import Server, free_port, running
from loadtest.study.study_file import StoppedError, StudyError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.alone

LISTEN = (
    "import sys; "
    "print('hello', sys.argv[2], flush=True); "
    "from http.server import *; "
    "HTTPServer(('127.0.0.1', int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()"
)


def _reached(url: str) -> int:
    transport = httpx2.HTTPTransport(retries=20)
    with httpx2.Client(transport=transport, timeout=10) as client:
        return client.get(url).status_code


def test_a_server_is_started_at_a_free_port_and_ended(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "one.log"
    command = ["{python}", "-c", LISTEN, "{port}", "{here}"]
    with running(command, here=tmp_path, out=tmp_path, cpus=None, log=log) as server:
        assert _reached(server.url) == 200
        assert server.alive()
        process = server.process
    assert process is not None
    assert process.poll() is not None
    assert log.read_text().startswith(f"hello {tmp_path}")


def test_a_server_that_ended_by_itself_leaves_its_last_words(tmp_path: Path) -> None:
    command = ["{python}", "-c", "raise SystemExit('no weights at /gone')"]
    with running(command, here=tmp_path, out=tmp_path, cpus=None, log=tmp_path / "l.log") as server:
        assert server.process is not None
        server.process.wait(20)
        assert not server.alive()
        assert server.last_words() == "no weights at /gone"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"event": "request", "level": "info"}'] * 3, "its log says nothing of why"),
        (['{"event": "No memory is left.", "level": "error"}', '{"level": "info"}'], "No memory is left."),
        (["ValueError: no such layer", '{"event": "request", "level": "info"}'], "ValueError: no such layer"),
        (["[1, 2]"], "[1, 2]"),
        (
            ["an old complaint", *['{"event": "request", "level": "info"}'] * 20],
            "its log says nothing of why",
        ),
        ([], "its log is empty"),
    ],
)
def test_the_last_words_are_not_everyday_business(tmp_path: Path, lines: list[str], said: str) -> None:
    log = tmp_path / "l.log"
    log.write_text("\n".join(lines))
    assert Server(url="http://127.0.0.1:1", log=log).last_words() == said


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", "(ended by SIGKILL): its log is empty"),
        ("import os; os.kill(os.getpid(), 40)", "(ended by signal 40): its log is empty"),
        ("raise SystemExit(3)", "(status 3): its log is empty"),
    ],
)
def test_how_a_server_ended_is_told(tmp_path: Path, program: str, said: str) -> None:
    command = ["{python}", "-c", program]
    with running(command, here=tmp_path, out=tmp_path, cpus=None, log=tmp_path / "l.log") as server:
        assert server.process is not None
        server.process.wait(20)
        with pytest.raises(StoppedError, match="the server ended during a test") as caught:
            server.check("a test")
    assert said in str(caught.value)


def test_a_server_that_never_gets_ready_is_told_by_its_log_and_another_by_its_address(tmp_path: Path) -> None:
    command = ["{python}", "-c", "import signal; signal.pause()"]
    with running(command, here=tmp_path, out=tmp_path, cpus=None, log=tmp_path / "l.log") as server:
        said = str(server.not_ready("It is not ready after 3 s"))
        assert "It is not ready after 3 s. The study started it, and it runs" in said
        assert f"All of its output is in {tmp_path / 'l.log'}" in said
        assert "server.start_timeout_s" in said
    assert str(Server(url="http://127.0.0.1:1").not_ready("It is gone")).startswith("It is gone; start the")


@pytest.mark.parametrize(
    ("command", "said"),
    [(["/no/such/program"], "cannot be started"), (["{python}", "{pot}"], "placeholder other than")],
)
def test_a_command_that_cannot_run_is_told(tmp_path: Path, command: list[str], said: str) -> None:
    with (
        pytest.raises(StudyError, match=said),
        running(command, here=tmp_path, out=tmp_path, cpus=None, log=tmp_path / "l.log"),
    ):
        pass


def test_children_inherit_cores_and_the_caller_keeps_its_own(tmp_path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    first = min(allowed)
    command = ["{python}", "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
    log = tmp_path / "l.log"
    with running(command, here=tmp_path, out=tmp_path, cpus=frozenset({first}), log=log) as server:
        assert server.process is not None
        server.process.wait(20)
    assert log.read_text().strip() == f"[{first}]"
    with pinned(frozenset({first})):
        assert os.sched_getaffinity(0) == {first}
    assert os.sched_getaffinity(0) == allowed


def test_a_port_is_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))
