"""Runs Locust in a process of its own, since it changes the sockets of whoever imports it.

The child gets a session of its own, so that Ctrl-C reaches this process alone, which then tells
Locust's master to end (SIGTERM); the master ends its workers. Readings of the progress come
back over a pipe.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.driver.errors import EngineError
from loadtest.driver.progress import progress_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.driver.progress import Progress

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
LOG_NAME = "locust.log"
_START_TIMEOUT_S = 420.0  # above all that the coordinator itself waits for before the first request
_STOP_TIMEOUT_S = 20.0  # the master waits for its workers' last reports
_LOG_LINES = 5
_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A prepared run. ``processes``: 1 sends from the only process, more make Locust fork workers.

    ``start_timeout_s``: how long Locust may take until it gives a first reading.
    """

    out: Path
    trace: Path
    processes: int
    num_warm: int
    start_timeout_s: float = _START_TIMEOUT_S


def launch(run: Launch, show: Callable[[Progress], None]) -> bool:
    """Run Locust to its end, and say whether it ended by itself (False: interrupted by Ctrl-C).

    Raises:
        EngineError: Locust could not be started, or gave no reading in time.
    """
    reader, writer = os.pipe()
    with (run.out / LOG_NAME).open("wb") as log, os.fdopen(reader, "rb", buffering=0) as pipe:
        try:
            child = subprocess.Popen(
                _command(run, writer),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
                start_new_session=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        except OSError as error:
            raise EngineError(f"Locust cannot be started: {error}.") from error
        finally:
            os.close(writer)
        try:
            if not _follow(pipe.fileno(), child, show, run.start_timeout_s):
                waited = f"{run.start_timeout_s:.4g} s"
                raise EngineError(f"Locust sent nothing in {waited} and was ended:\n{last_words(run.out)}")
        except KeyboardInterrupt:
            _stop(child)
            return False
        finally:
            _kill_rest(child)
    return True


def last_words(out: Path) -> str:
    """Return the end of Locust's log, for an error message."""
    try:
        lines = (out / LOG_NAME).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return "it left no log"
    return "\n".join(lines[-_LOG_LINES:]) or "its log is empty"


def _command(run: Launch, progress_fd: int) -> list[str]:
    options = ["--trace", str(run.trace), "--prepared", str(run.out), "--warm-connections", str(run.num_warm)]
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    command += ["--loglevel", "WARNING", "--progress-fd", str(progress_fd), *options]
    if run.processes > 1:
        port = str(_free_port())  # the default one may belong to another run on this host
        command += ["--processes", str(run.processes), "--master-bind-host", "127.0.0.1"]
        command += ["--master-bind-port", port, "--master-host", "127.0.0.1", "--master-port", port]
    return command


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _follow(
    fd: int, child: subprocess.Popen[bytes], show: Callable[[Progress], None], start_timeout_s: float
) -> bool:
    """Show readings until the child has ended; its forks may hold the pipe open for longer.

    Returns whether there was anything to follow: False once it has been silent from the start for too long.
    """
    with _exit_of(child) as pidfd, selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        selector.register(pidfd, selectors.EVENT_READ)
        patience_s: float | None = start_timeout_s
        rest = b""
        while ready := {key.fd for key, _ in selector.select(patience_s)}:
            if fd not in ready:
                return True
            data, patience_s = os.read(fd, _READ_BYTES), None
            if not data:
                selector.unregister(fd)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                show(progress_from(line.decode()))
        return False


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Tell Locust to end, and wait for it; a second Ctrl-C ends the wait."""
    child.terminate()
    with contextlib.suppress(KeyboardInterrupt), _exit_of(child) as pidfd:
        select.select([pidfd], [], [], _STOP_TIMEOUT_S)


@contextlib.contextmanager
def _exit_of(child: subprocess.Popen[bytes]) -> Iterator[int]:
    """Give a descriptor that is readable once the child ends; unreaped, its id stays its own."""
    pidfd = os.pidfd_open(child.pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _kill_rest(child: subprocess.Popen[bytes]) -> None:
    """End what is left of the child's session, whose processes were all started by it, and reap the child."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
