"""The project's own programs as a user runs them: the service, and load runs against it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = ("xnli", "xcopa", "udpos", "xquad")
# They end what hangs: a busy machine takes minutes for what takes seconds alone.
START_S = 600.0
RUN_S = 600.0
# In which each of a service's variants is asked.
CANARY_S = 20.0
# A run whose generator was short of a core is no measurement, and counts all the same.
COUNTED = (0, 5)


@dataclass(frozen=True, kw_only=True)
class ServiceProcess:
    """A service that takes requests."""

    process: subprocess.Popen[bytes]
    url: str

    @property
    def address(self) -> str:
        """Host and port, as Prometheus wants them."""
        return self.url.removeprefix("http://")


def run_program(module: str, *arguments: str, good: tuple[int, ...] = (0,)) -> None:
    """Run one of the programs to its end, which must be a good one."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RUN_S)
    assert done.returncode in good, done.stdout + done.stderr


@contextlib.contextmanager
def service_process(catalogue: Path, variants: list[str], folder: Path) -> Iterator[ServiceProcess]:
    """Serve some variants of a catalogue on a free port until the block ends."""
    ready = folder / "ready.json"
    command = [
        sys.executable,
        "-m",
        "service",
        "--catalogue",
        str(catalogue),
        "--variants",
        ",".join(variants),
    ]
    command += ["--canary-interval-s", str(CANARY_S), "--http-workers", "2", "--metrics-scripts", "true"]
    command += ["--device", "cpu", "--torch-threads", "1", "--port", "0", "--ready-file", str(ready)]
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + START_S
        while not ready.is_file():
            assert process.poll() is None, (folder / "service.log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "the service did not start in time"
            time.sleep(0.1)
        yield ServiceProcess(process=process, url=json.loads(ready.read_text(encoding="utf-8"))["url"])
    finally:
        process.kill()
        process.wait()


def build_trace(out: Path) -> Path:
    """Build a small trace of four kinds of heads, a few seconds long."""
    options = ["--data", "bundled", "--tasks", ",".join(TASKS), "--languages", "en,sw,de,zh"]
    options += ["--limit", "3", "--arrivals", "poisson:10", "--duration", "8", "--seed", "1"]
    run_program("loadtest", "trace", *options, "--out", str(out))
    return out


def write_arm(path: Path, name: str, prefix: str) -> Path:
    """Write an arm whose variants all begin alike."""
    lines = [f'name = "{name}"', "[variants]", *(f'{task} = "{prefix}.{task}"' for task in TASKS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
