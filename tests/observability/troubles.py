"""Services with one trouble each, on a device that computes in closed form, and clients that ask them.

Rules: a trouble is in the device or in a limit, where real ones are; the service around it is the
real one, with a real socket. Devices wait on events with a time limit, for that is their work here.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

from models.tokenizer import bundled_file
from service.engine.fake import FakeDevice, FakeDeviceError
from tests.service.backend_world import card
from tests.service.serving import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from service.batching.packing import PackedBatch
    from service.domain import Lane
    from service.engine.device import Loaded

VARIANT = "v"
TEXT = "one two three four"
# Room for one such text and no second one, so that batches are as full as they can be.
ONE_TEXT_TOKENS = 16
FOREVER_S = 300.0


@dataclass(eq=False)
class TroubledDevice:
    """A closed-form device; ``load`` and ``forward`` are told of each call before it is answered."""

    on_load: Callable[[], object] = lambda: None
    on_forward: Callable[[], object] = lambda: None
    inner: FakeDevice = field(
        default_factory=lambda: FakeDevice(variants=(card(VARIANT, tokenizer=str(bundled_file())),))
    )

    def load(self) -> Iterator[Loaded]:
        self.on_load()
        yield from self.inner.load()

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        self.on_forward()
        return self.inner.forward(lane, batch)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A service's trouble. ``prepare`` gets an event that ends it, and returns the device.

    ``num_clients`` ask ``num_inputs`` at once, all the time, with a pause after each answer.
    ``alerts``: those that it must cause; no other may fire.
    """

    name: str
    alerts: frozenset[str]
    prepare: Callable[[Switches], TroubledDevice]
    num_clients: int = 1
    num_inputs: int = 1
    pause_s: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    wait: bool = True


@dataclass(frozen=True, kw_only=True)
class Switches:
    """``armed``: loading is over and the trouble may begin. ``over``: whatever waits may go on."""

    armed: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)


def _loading(switches: Switches) -> TroubledDevice:
    return TroubledDevice(on_load=lambda: switches.over.wait(FOREVER_S))


def _failing(switches: Switches) -> TroubledDevice:
    def fail() -> None:
        if switches.armed.is_set():
            raise FakeDeviceError("The device is broken.")

    return TroubledDevice(on_forward=fail)


def _taking(*seconds: float) -> Callable[[Switches], TroubledDevice]:
    """Make a device whose batches take these times, in turn."""

    def prepare(switches: Switches) -> TroubledDevice:
        turns = itertools.cycle(seconds)
        return TroubledDevice(on_forward=lambda: switches.over.wait(next(turns)))

    return prepare


def _stuck(warm_up_s: float) -> Callable[[Switches], TroubledDevice]:
    """Make a device that stops in its first batch after warm-up."""

    def prepare(switches: Switches) -> TroubledDevice:
        return TroubledDevice(
            on_forward=lambda: switches.over.wait(FOREVER_S if switches.armed.is_set() else warm_up_s)
        )

    return prepare


AVAILABILITY = frozenset({"XlmrAvailabilityBurnFast", "XlmrAvailabilityBurnSlow"})
LATENCY = frozenset({"XlmrLatencyBurnFast", "XlmrLatencyBurnSlow"})
FULL = {"max_batch_tokens": ONE_TEXT_TOKENS}
TROUBLES = (
    Trouble(name="loading", alerts=frozenset({"XlmrNotReady"}), prepare=_loading, num_clients=0, wait=False),
    Trouble(name="errors", alerts=AVAILABILITY, prepare=_failing, pause_s=0.2),
    # Alone, so that nothing queues behind it, and rarely, so that the engine is idle between.
    # Two batches a request, each short enough for warm-up to measure more than one.
    Trouble(name="slow", alerts=LATENCY, prepare=_taking(0.35), num_inputs=2, pause_s=1.3, options=FULL),
    # Ten requests of 0.2 s each wait for an engine that gives none back.
    Trouble(
        name="stuck",
        alerts=frozenset({"XlmrQueueSaturated"}),
        prepare=_stuck(0.2),
        num_clients=10,
        options=FULL,
    ),
    # Who is refused is not answered, so the objective suffers too.
    Trouble(
        name="overload",
        alerts=frozenset({"XlmrRequestsRefused"}) | AVAILABILITY,
        prepare=_stuck(0.001),
        num_clients=8,
        pause_s=0.3,
        options=FULL | {"max_queue_tokens": 2 * ONE_TEXT_TOKENS},
    ),
    Trouble(name="thin", alerts=frozenset({"XlmrBatchFillLow"}), prepare=_taking(0.06), num_clients=4),
    Trouble(
        name="erratic",
        alerts=frozenset({"XlmrCostModelOff"}),
        prepare=_taking(0.01, 0.12),
        num_clients=2,
        options=FULL,
    ),
)


@contextlib.contextmanager
def troubled(trouble: Trouble, catalogue: Path) -> Iterator[str]:
    """Run a service in trouble, and its clients, until the block ends; give its host and port."""
    switches, stop = Switches(), threading.Event()
    make_device = lambda: trouble.prepare(switches)  # noqa: E731 - one expression
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(
            served(catalogue, make_device=make_device, wait=trouble.wait, **trouble.options)
        )
        switches.armed.set()
        clients = [
            threading.Thread(target=_ask, args=(running.url, trouble, stop), daemon=True)
            for _ in range(trouble.num_clients)
        ]
        for client in clients:
            client.start()
        try:
            yield running.url.removeprefix("http://")
        finally:
            stop.set()
            switches.over.set()
            for client in clients:
                client.join(10)


def _ask(url: str, trouble: Trouble, stop: threading.Event) -> None:
    """Ask again and again; whatever the answer, it is the service's metrics that count."""
    body = {"inputs": [{"text": TEXT}] * trouble.num_inputs}
    with httpx2.Client(base_url=url, timeout=FOREVER_S) as client:
        while not stop.is_set():
            with contextlib.suppress(httpx2.TransportError):
                client.post(f"/v1/variants/{VARIANT}/predict", json=body)
            stop.wait(trouble.pause_s)
