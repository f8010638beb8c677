"""A server that outlived its study is ended by the next sitting, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from loadtest.study.left_over import end_left_over, remember
from loadtest.study.server import NOTE, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.alone

SLEEP = [sys.executable, "-c", "import signal; signal.pause()"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def test_a_server_of_an_earlier_sitting_is_ended(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    note = tmp_path / NOTE
    remember(note, sleeper.pid)
    assert end_left_over(note, 10.0)
    assert sleeper.wait(10) < 0
    assert not note.exists()
    assert not end_left_over(note, 10.0)


def test_another_process_that_got_the_id_is_left_alone(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    note = tmp_path / NOTE
    remember(note, sleeper.pid)
    written = json.loads(note.read_text())
    note.write_text(json.dumps({**written, "started": written["started"] - 1}))
    assert not end_left_over(note, 10.0)
    assert sleeper.poll() is None


@pytest.mark.parametrize(
    "text", ["", "{}", '{"pid": "x", "started": 1}', '{"pid": 1, "started": null}', "[]"]
)
def test_a_damaged_note_ends_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / NOTE).write_text(text)
    assert not end_left_over(tmp_path / NOTE, 1.0)


def test_a_server_is_remembered_while_it_runs_and_the_one_before_it_ended(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    remember(tmp_path / NOTE, sleeper.pid)
    command = ["{python}", *SLEEP[1:]]
    with running(command, here=tmp_path, out=tmp_path, cpus=None, log=tmp_path / "l.log") as server:
        assert sleeper.wait(10) < 0
        assert server.process is not None
        assert json.loads((tmp_path / NOTE).read_text())["pid"] == server.process.pid
    assert not (tmp_path / NOTE).exists()
