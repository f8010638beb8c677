"""The server under test as a child process: started, awaited, stopped.

The only place of the load tester that starts a server. It listens on the loopback, is
pinned to cores where the study says so, writes its output to a log file of the study,
and is ended by the process id that was started here.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from loadtest.driver.run import Silence
from loadtest.study.cores import pinned
from loadtest.study.left_over import end_left_over, forget, remember
from loadtest.study.study_file import StoppedError, StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from loadtest.driver.run import Show

NOTE = "server.json"
STOP_TIMEOUT_S = 45.0  # the service drains within 30 s
_LAST_LINES = 20
_EVERYDAY = ("debug", "info")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that the study talks to; ``process`` is None where it was running before."""

    url: str
    process: subprocess.Popen[bytes] | None = None
    log: Path | None = None

    def alive(self) -> bool:
        """Whether the process, if it is ours, still runs."""
        return self.process is None or self.process.poll() is None

    def check(self, during: str) -> None:
        """Do nothing while it lives.

        Raises:
            StoppedError: it ended by itself.
        """
        if self.alive():
            return
        assert self.process is not None, "Only a process of ours can end. This is a bug."
        raise StoppedError(
            f"the server ended during {during} ({_ending(self.process.returncode)}): {self.last_words()}. "
            f"All of its output is in {self.log}; the same command makes this run again"
        )

    def not_ready(self, what: str) -> StoppedError:
        """Return what to tell of a server that was waited for in vain; ``what`` says for how long."""
        if self.process is None:
            return StoppedError(f"{what}; start the service, then give the same command")
        return StoppedError(
            f"{what}. The study started it, and it runs; its last words: {self.last_words()}. All of its "
            f"output is in {self.log}. If it needs longer, declare a longer server.start_timeout_s, in a new "
            "--out"
        )

    def last_words(self) -> str:
        """Return the last of the server's log that may be a reason, for an error message."""
        if self.log is None or not self.log.is_file():
            return "no log was kept"
        lines = self.log.read_text(errors="replace").strip().splitlines()
        if not lines:
            return "its log is empty"
        return next(
            filter(None, map(_complaint, reversed(lines[-_LAST_LINES:]))), "its log says nothing of why"
        )


def _ending(status: int) -> str:
    """Say how a process ended: by itself, or by which signal."""
    if status >= 0:
        return f"status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"


def _complaint(line: str) -> str:
    """Return what a line of a log says, empty where it tells of everyday business (JSON up to level info)."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        return line.strip()
    return "" if record.get("level") in _EVERYDAY else str(record.get("event") or line.strip())


class Starting:
    """A server that is started when the first run asks for it, and ended with the block."""

    def __init__(self, start: Callable[[], contextlib.AbstractContextManager[Server]]) -> None:
        self._start = start
        self._kept = contextlib.ExitStack()
        self._server: Server | None = None

    def __call__(self) -> Server:
        """Return the server, started."""
        if self._server is None:
            self._server = self._kept.enter_context(self._start())
        return self._server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()


class Watched:
    """Shows what another shows, and gives up waiting for a server that has ended."""

    def __init__(self, show: Show, server: Server) -> None:
        self._show = show
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._show, name)

    @classmethod
    def show(cls, show: Show | None, server: Server) -> Show:
        """Return a show that watches the server too."""
        return cast("Show", cls(show or Silence(), server))

    def waiting(self, said: str, left_s: float) -> None:
        """Show why the target is waited for.

        Raises:
            StoppedError: it is waited for in vain.
        """
        self._server.check("its start")
        self._show.waiting(said, left_s)


@contextlib.contextmanager
def running(
    command: list[str], *, here: Path, out: Path, cpus: frozenset[int] | None, log: Path
) -> Iterator[Server]:
    """Start a server from a command with placeholders, and stop it on the way out; one left over ends first.

    Raises:
        StudyError: the command cannot be started.
    """
    port = free_port()
    words = {"here": str(here), "out": str(out), "python": sys.executable, "port": str(port)}
    argv = [_filled(part, words) for part in command]
    note = out / NOTE
    end_left_over(note, STOP_TIMEOUT_S)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink, pinned(cpus):
        try:
            process = subprocess.Popen(argv, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise StudyError(f"the server cannot be started ({argv[0]}: {error.strerror})") from error
    try:
        remember(note, process.pid)
        yield Server(url=f"http://127.0.0.1:{port}", process=process, log=log)
    finally:
        _stop(process)
        forget(note)


def _filled(part: str, words: Mapping[str, str]) -> str:
    """Fill in ``{name}``; other braces, such as JSON's, are left alone."""

    def word(found: re.Match[str]) -> str:
        if found[1] not in words:
            raise StudyError(f"server.command has a placeholder other than {sorted(words)}: {found[0]}")
        return words[found[1]]

    return _PLACEHOLDER.sub(word, part)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
