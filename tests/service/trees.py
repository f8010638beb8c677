"""A service in several processes, looked at as an operator does: by its log, its port, its pids."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import psutil  # type: ignore[import-untyped]  # ships no types

from tests.service.serving import Series, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT_S = 240.0


class Tree:
    """A running service: its events as they are logged, and its processes."""

    def __init__(self, command: list[str], *, gate: Path, home: Path, cwd: Path) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("XLMR_")}
        self.home = home
        self._gate = gate
        self._lock = gate.open("rb")
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment | {"OMP_NUM_THREADS": "1", "TMPDIR": str(home)},
        )
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.events.append(event_of(line))
                self._news.notify_all()
        with self._news:
            self.events.append({"event": "end_of_log"})
            self._news.notify_all()

    def event(self, name: str, *, after: int = 0, **keys: object) -> dict[str, Any]:
        """Wait for an event with these keys, past the first ``after`` events of the log."""

        def found() -> dict[str, Any] | None:
            for event in self.events[after:]:
                if event["event"] == name and keys.items() <= event.items():
                    return event
            assert self.events[-1:] != [{"event": "end_of_log"}], f"No {name} in {self.events}"
            assert not any(event["event"] == "not_json" for event in self.events), self.events
            return None

        with self._news:
            event = self._news.wait_for(found, TIMEOUT_S)
        assert event is not None, f"No {name} {keys} in {self.events[after:]}"
        return event

    @property
    def now(self) -> int:
        """How many events there have been."""
        return len(self.events)

    @property
    def url(self) -> str:
        return str(self.event("listening")["url"])

    def pid(self, name: str) -> int:
        """The latest process of a name."""
        started = [event for event in self.events if event["event"] == "process_started"]
        return int(next(event["pid"] for event in reversed(started) if event["child"] == name))

    def pids(self) -> set[int]:
        """Every process that runs."""
        supervisor = psutil.Process(self.process.pid)
        return {supervisor.pid, *(child.pid for child in supervisor.children(recursive=True))}

    @property
    def backend_socket(self) -> Path:
        (path,) = self.home.glob("xlmr-serve-*/backend.sock")
        return path

    def close_gate(self) -> None:
        """Keep batches from running from now on."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._num_before = self._gate.stat().st_size

    def until_a_batch_waits(self) -> None:
        """Return when the device has a batch before its closed gate: whatever comes now is queued."""
        eventually(lambda: self._gate.stat().st_size > self._num_before)

    def open_gate(self) -> None:
        """Let batches run."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def client(self) -> httpx2.Client:
        """A client with connections of its own."""
        return httpx2.Client(base_url=self.url, timeout=TIMEOUT_S)

    def client_of(self, name: str) -> httpx2.Client:
        """A client whose one connection is with a front end of this name."""
        while True:
            client = self.client()
            if self.whose(client) == name:
                return client
            client.close()

    def whose(self, client: httpx2.Client) -> str:
        """With which front end a client's connection is."""
        before = self.now
        identity = client.get("/v1/variants").headers["X-Request-ID"]
        return str(self.event("request", after=before, request_id=identity)["process"])

    def metrics(self, client: httpx2.Client | None = None) -> Series:
        """Read /metrics."""
        with self.client() as own:
            return Series.of((client or own).get("/metrics").text)

    def until(self, condition: Callable[[Series], bool], client: httpx2.Client | None = None) -> Series:
        """Read the metrics until they fulfil a condition.

        What a process counted that is too busy to be asked comes with a later reading.
        """
        readings: list[Series] = []

        def is_fulfilled() -> bool:
            readings.append(self.metrics(client))
            return condition(readings[-1])

        eventually(is_fulfilled)
        return readings[-1]

    def end(self) -> tuple[int, str]:
        """Wait for the end: exit code and standard error."""
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()

    def close(self) -> None:
        """End whatever still runs, the processes of this tree alone."""
        self.open_gate()
        try:
            running = [psutil.Process(pid) for pid in self.pids()]
        except psutil.NoSuchProcess:
            running = []
        for process in running:
            with_suppressed(process.kill)
        self.process.wait()
        self._reader.join(TIMEOUT_S)
        self._lock.close()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def event_of(line: str) -> dict[str, Any]:
    """Read a line of the log; the processes share it, and none may write into another's line."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"event": "not_json", "line": line}
    return event


def with_suppressed(kill: Callable[[], object]) -> None:
    """Kill what may have ended by itself."""
    try:
        kill()
    except psutil.NoSuchProcess:
        return


@contextmanager
def tree(folder: Path, root: Path, *, wait: bool = True, **settings: object) -> Iterator[Tree]:
    """The service on the fake device. ``wait``: until it is ready."""
    gate = folder / "gate"
    gate.touch()
    options = [f"{name}={value}" for name, value in ({"http_workers": 2} | settings).items()]
    command = [sys.executable, "-m", "tests.service.fake_tree", str(gate), *options]
    running = Tree(command, gate=gate, home=folder, cwd=root)
    try:
        if wait:
            running.event("ready")
        yield running
    finally:
        running.close()


def raw_request(url: str, path: str, body: bytes, headers: str = "") -> socket.socket:
    """Send a request by hand; whoever closes the socket hangs up."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), TIMEOUT_S)
    connection.sendall(
        f"POST {path} HTTP/1.1\r\nHost: t\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
    )
    return connection
