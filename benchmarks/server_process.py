"""A server in a process of its own: started, asked, its CPU time read, ended.

Rules: the child's first line on standard output is a JSON object with its ``port``; each line that it is
then given on standard input it answers with one line of JSON; it ends when its input does. CPU time is
that of all its threads, by the kernel's clock of the process, which other processes may read.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

from benchmarks.http_client import Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HOST = "127.0.0.1"
_END_S = 20.0
# CPUCLOCK_SCHED of the kernel's posix-timers: see clock_getcpuclockid(3).
_SCHED_CLOCK = 2


class ServerError(Exception):
    """A server did not start, or ended before its time."""


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used so far, in all its threads, ended ones included."""
    return time.clock_gettime((~pid << 3) | _SCHED_CLOCK)


class ServerProcess:
    """A running server; a context manager that ends it."""

    def __init__(self, command: Sequence[str], *, environment: dict[str, str] | None = None) -> None:
        """Start it, and wait until it says where it listens.

        Raises:
            ServerError: it ended instead.
        """
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (environment or {}),
        )
        try:
            told = self._read()
        except ServerError:
            self.close()
            raise
        self.address = Address(host=HOST, port=int(told["port"]))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_s(self) -> float:
        """Return the CPU seconds that it has used so far."""
        return cpu_s(self.pid)

    def order(self, **what: Any) -> dict[str, Any]:
        """Tell it to do something, and return what it says when that is done.

        Raises:
            ServerError: it ended instead.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End it, by force if it must be."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ServerError(f"{' '.join(self._process.args)} ended; its errors are above.")  # type: ignore[arg-type]  # a list, as given
        told: dict[str, Any] = json.loads(line)
        return told


def busy_s() -> float:
    """Return the seconds that all cores of the machine were busy or stolen since it started."""
    with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123 - a kernel's file
        user, nice, system, _idle, _wait, hard, soft, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + hard + soft + steal) / os.sysconf("SC_CLK_TCK")


def total_cpu_s(servers: Iterable[ServerProcess]) -> float:
    """Return the CPU seconds of this process and these servers."""
    return time.process_time() + sum(server.cpu_s() for server in servers)
