"""The service as a user starts it, on a free port: where it listens, and the CPU time of its processes.

Rules: nothing polls; the service says that it is ready in its log, which comes through a pipe, after it has
written its ready file; a service that ends before closes the pipe.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Self

from benchmarks.http_client import Address
from benchmarks.server_process import ServerError, cpu_s

_ROOT = Path(__file__).resolve().parents[1]
_START_S = 420.0
_END_S = 30.0
_TAIL_CHARACTERS = 2000


class Serving:
    """`xlmr-serve` with options; a context manager that ends it."""

    def __init__(self, catalogue: Path, folder: Path, **options: object) -> None:
        """Start it, and wait until it takes requests.

        Raises:
            ServerError: it ended instead, or took too long.
        """
        self._ready = folder / f"ready-{time.monotonic_ns()}.json"
        self.log = folder / f"{self._ready.stem}.log"
        command = [sys.executable, "-m", "service", "--catalogue", str(catalogue), "--port", "0"]
        command += ["--ready-file", str(self._ready), "--log-format", "json", "--log-level", "info"]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, cwd=_ROOT
        )
        assert self._process.stdout is not None
        self._said = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        try:
            self.address = self._wait()
        except ServerError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def cpu_s(self) -> float:
        """Return the CPU seconds that its living processes have used so far."""
        return sum(cpu_s(pid) for pid in _family(self._process.pid))

    def close(self) -> None:
        """Let it drain; end it by force if it does not."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(_END_S)

    def _read(self, lines: IO[bytes]) -> None:
        """Keep the log, and tell of its being ready, or of its end."""
        with lines, self.log.open("wb") as log:
            for line in lines:
                log.write(line)
                log.flush()
                if not self._said.is_set() and _says_ready(line) and self._ready.exists():
                    self._said.set()
        self._said.set()

    def _wait(self) -> Address:
        if not self._said.wait(_START_S):
            raise ServerError(f"The service did not start within {_START_S:.0f} s.")
        try:
            told = json.loads(self._ready.read_text(encoding="utf-8"))
        except FileNotFoundError:
            status = self._process.wait()
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL_CHARACTERS:]
            raise ServerError(f"The service ended with {status}:\n{tail}") from None
        return Address(host=told["host"], port=int(told["port"]))


def _says_ready(line: bytes) -> bool:
    try:
        said = json.loads(line)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("event") == "ready"


def _family(pid: int) -> list[int]:
    """Return a process and all that it started, directly or not."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in (task / "children").read_text(encoding="ascii").split():
            found += _family(int(child))
    return found
