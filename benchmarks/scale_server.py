"""The service as a user starts it, on a free port: where it listens, and the CPU time of its processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from benchmarks.http_client import Address
from benchmarks.server_process import ServerError, cpu_s

_ROOT = Path(__file__).resolve().parents[1]
_START_S = 420.0
_END_S = 30.0
_LOOK_S = 0.1


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
        command += ["--ready-file", str(self._ready)]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=_ROOT
            )
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

    def _wait(self) -> Address:
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise ServerError(f"The service ended with {self._process.returncode}:\n{tail}")
            if self._ready.exists():
                told = json.loads(self._ready.read_text(encoding="utf-8"))
                return Address(host=told["host"], port=int(told["port"]))
            time.sleep(_LOOK_S)
        raise ServerError(f"The service did not start within {_START_S:.0f} s.")


def _family(pid: int) -> list[int]:
    """Return a process and all that it started, directly or not."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in (task / "children").read_text(encoding="ascii").split():
            found += _family(int(child))
    return found
