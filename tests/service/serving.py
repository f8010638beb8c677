"""A small catalogue of true checkpoints, and the service on it with a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import uvicorn
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app, create_service
from service.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from service.engine.device import Device
    from service.observability.tracing import Tracing
    from service.service import Service

START_S = 240.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """A service that answers at a URL."""

    client: httpx2.Client
    service: Service
    loaded: threading.Event
    loop: asyncio.AbstractEventLoop
    url: str
    port: int

    def wait_until_loaded(self) -> None:
        """Wait until loading has ended, well or badly."""
        assert self.loaded.wait(START_S), "The service did not start in time."

    def predict(
        self, variant: str, inputs: list[Any], parameters: dict[str, Any] | None = None, **more: Any
    ) -> httpx2.Response:
        """Send a predict request."""
        body = {"inputs": inputs} | ({} if parameters is None else {"parameters": parameters})
        return self.client.post(f"/v1/variants/{variant}/predict", content=json.dumps(body), **more)

    def outputs(
        self, variant: str, inputs: list[Any], parameters: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Send a predict request that must be answered."""
        response = self.predict(variant, inputs, parameters)
        assert response.status_code == 200, response.text
        outputs: list[dict[str, Any]] = response.json()["outputs"]
        return outputs

    def metrics(self) -> Series:
        """Read /metrics."""
        return Series.of(self.client.get("/metrics").text)


def eventually(check: Callable[[], object]) -> None:
    """Wait for what happens elsewhere: in another thread, or in another process."""
    deadline = time.monotonic() + START_S
    while not check():
        assert time.monotonic() < deadline, "It did not come true in time."
        time.sleep(0.005)  # else this thread takes the core, or the interpreter, that it waits for


@dataclass(frozen=True)
class Series:
    """Every series of a reading of /metrics: name, labels, value."""

    samples: list[tuple[str, dict[str, str], float]]

    @classmethod
    def of(cls, text: str) -> Series:
        """Read what /metrics said."""
        families = text_string_to_metric_families(text)
        return cls([(one.name, one.labels, one.value) for family in families for one in family.samples])

    def sum(self, name: str, **labels: str) -> float:
        """Sum the series of a name that have these labels; there must be one."""
        found = [
            value for own, given, value in self.samples if own == name and labels.items() <= given.items()
        ]
        assert found, f"no series {name} {labels}"
        return sum(found)


class _Server(uvicorn.Server):
    """uvicorn that says when it has started, and on which loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.listening.set()


@contextmanager
def served(
    catalogue: Path,
    *,
    make_device: Callable[[], Device] | None = None,
    tracing: Tracing | None = None,
    wait: bool = True,
    **given: Any,
) -> Iterator[Served]:
    """Serve a catalogue, or another device, from a thread, on a free port, until the block ends.

    ``wait``: for the weights to be loaded.
    """
    fixed = {"catalogue": catalogue, "device": "cpu", "torch_threads": 1, "max_batch_tokens": 2048}
    fixed |= {"canary_interval_s": 0}  # batches are counted here
    settings = read_settings(**(fixed | given))
    loaded = threading.Event()
    service = create_service(
        settings, make_device=make_device, tracing=tracing, on_ready=loaded.set, on_failure=loaded.set
    )
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = _Server(
        uvicorn.Config(
            create_app(settings, service), http="httptools", ws="none", lifespan="on", log_config=None
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert server.listening.wait(START_S), "The server did not start in time."
        assert server.loop is not None
        url = f"http://127.0.0.1:{port}"
        with httpx2.Client(base_url=url, timeout=START_S) as client:
            running = Served(
                client=client, service=service, loaded=loaded, loop=server.loop, url=url, port=port
            )
            if wait:
                running.wait_until_loaded()
                assert service.failure is None, service.failure
            yield running
    finally:
        server.should_exit = True
        thread.join(START_S)
