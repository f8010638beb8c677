"""Environments and processes of the servers: made once, started, asked whether they answer, ended.

Rules: a server listens on a free port of the loopback and is alive alone; it is ended by its own process id,
and whatever of its children outlives it by theirs. What it wrote is kept in a log beside the results.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import venv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # it ships no types

from benchmarks.peers_client import Connection, Target
from benchmarks.peers_grid import Kind
from benchmarks.peers_trace import Item

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.peers_systems import Place, Settings, System

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 120.0
# Ray Serve with its fast proxy was seen not to end within half a minute.
STOP_TIMEOUT_S = 10.0
_INSTALL_TIMEOUT_S = 1800.0
_ASK_AGAIN_S = 0.25
# What the caller may have set for himself would change what is compared.
NOT_INHERITED = ("OMP_", "GOMP_", "MKL_", "OPENBLAS_", "XLMR_", "RAY_", "INFINITY_", "TORCH_")
_PROBE = Item(text="Is anybody there?", text_pair="Yes.", num_tokens=0)


class ServerError(Exception):
    """A server cannot be installed or started; the message says why and names its log, from the root on."""

    def __init__(self, message: str) -> None:
        super().__init__(message.replace(f"{ROOT}/", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers."""

    system: System
    port: int
    process: psutil.Process
    start_s: float

    def target(self, kind: Kind) -> Target:
        """Return where requests of a kind go."""
        return Target(port=self.port, path=self.system.paths[kind])

    def cpu_s(self) -> float:
        """Return the CPU time of all of its processes."""
        return sum(sum(one.cpu_times()[:2]) for one in self._alive())

    def memory_bytes(self) -> int:
        """Return what its processes hold; pages that they share count once."""
        total = 0
        for one in self._alive():
            with contextlib.suppress(psutil.Error):
                total += one.memory_full_info().pss
        return total

    def _alive(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


def requirements_of(system: System) -> Path:
    """Return the file that says what a peer needs."""
    assert system.requirements is not None, "The service needs no environment of its own. This is a bug."
    return Path(__file__).parent / "peers" / system.requirements


def install(system: System, venvs: Path, log: Path) -> Path:
    """Return the interpreter of a system's environment, made anew where its requirements changed.

    Raises:
        ServerError: it cannot be made.
    """
    if system.is_own:
        return Path(sys.executable)
    file = requirements_of(system)
    folder = venvs / file.stem
    python, mark = folder / "bin" / "python", folder / "requirements.sha256"
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text(encoding="ascii").strip() == wanted:
        return python
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--requirement", str(file)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        try:
            done = subprocess.run(command, stdout=sink, stderr=sink, check=False, timeout=_INSTALL_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"its installation took over {_INSTALL_TIMEOUT_S:.0f} s; see {log}") from error
    if done.returncode != 0:
        raise ServerError(f"it cannot be installed: {last_line(log)} (see {log})")
    mark.write_text(wanted, encoding="ascii")
    return python


def versions(system: System, python: Path) -> dict[str, str]:
    """Return the versions of what a system is made of."""
    asked = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    done = subprocess.run(
        [str(python), "-c", asked, *system.packages], capture_output=True, text=True, check=True, timeout=60
    )
    return dict(zip(system.packages, done.stdout.split(), strict=True))


@contextlib.asynccontextmanager
async def running(system: System, settings: Settings, place: Place) -> AsyncIterator[Running]:
    """Start a server on a free port, wait until it answers for both checkpoints, end it on the way out.

    Raises:
        ServerError: it ended by itself, or does not answer in time.
    """
    place = replace(place, port=_free_port())
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    environment = {
        **inherited,
        **system.environment,
        **system.switches,
        **_threads(settings),
        "PYTHONPATH": str(ROOT),
    }
    place.log.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with place.log.open("wb") as sink:
        process = psutil.Popen(
            system.command(place, settings),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        await _answers(system, place, process)
        start_s = time.perf_counter() - began
        yield Running(system=system, port=place.port, process=psutil.Process(process.pid), start_s=start_s)
    finally:
        _stop(process)


def last_line(log: Path) -> str:
    """Return the last line of a log that says anything."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


def _threads(settings: Settings) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(settings["threads"])} if "threads" in settings else {}


async def _answers(system: System, place: Place, process: psutil.Popen) -> None:
    """Ask until both checkpoints answer; servers have no other way in common to say so."""
    waiting, log = list(Kind), place.log
    until = time.monotonic() + START_TIMEOUT_S
    async with Connection(place.port) as connection:
        while waiting:
            kind = waiting[0]
            request = Target(port=place.port, path=system.paths[kind]).request(system.body(kind, _PROBE))
            is_ok, _ = await connection.ask(request)
            if is_ok:
                waiting.pop(0)
                continue
            if process.poll() is not None:
                raise ServerError(f"it ended by itself: {last_line(log)} (see {log})")
            if time.monotonic() > until:
                raise ServerError(
                    f"it does not answer after {START_TIMEOUT_S:.0f} s: {last_line(log)} (see {log})"
                )
            await asyncio.sleep(_ASK_AGAIN_S)


def _stop(process: psutil.Popen) -> None:
    children = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=3)
    for one in alive:  # LitServe's workers outlive a server that was told to end
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
