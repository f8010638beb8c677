"""Services with one trouble each, on a device that computes in closed form, and clients that ask them.

Rules: a trouble is in the device, in a process or in a limit, where real ones are; the service around it is
the real one, with a real socket. Devices wait on events with a time limit, for that is their work here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from models.tokenizer import bundled_file
from models.variant import load_catalogue
from service.engine.fake import FakeDevice, FakeDeviceError
from tests.service.backend_world import card
from tests.service.serving import served
from tests.service.trees import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
CANARY_S = 2.0
ROOT = Path(__file__).resolve().parents[2]


@dataclass(eq=False)
class TroubledDevice:
    """A closed-form device; ``load`` and ``forward`` are told of each call before it is answered.

    ``spoil``: what becomes of an output. ``ran``: when each batch ended, on a monotonic clock, and how long
    it took, seconds.
    """

    on_load: Callable[[], object] = lambda: None
    on_forward: Callable[[], object] = lambda: None
    spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda output: output
    inner: FakeDevice = field(
        default_factory=lambda: FakeDevice(variants=(card(VARIANT, tokenizer=str(bundled_file())),))
    )
    ran: list[tuple[float, float]] = field(default_factory=list)

    def load(self) -> Iterator[Loaded]:
        self.on_load()
        yield from self.inner.load()

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        began_s = time.monotonic()
        self.on_forward()
        output = self.spoil(self.inner.forward(lane, batch))
        ended_s = time.monotonic()
        self.ran.append((ended_s, ended_s - began_s))
        return output


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A service's trouble. ``prepare`` gets an event that ends it, and returns the device.

    ``prepare`` is None for true checkpoints, of a catalogue that ``edit`` changes once they are served and
    that the service then reads again, and where a process of several, ``stops``, is stopped. Both begin when
    Prometheus has data for ``begins_after``. ``num_clients`` ask ``num_inputs`` at once, all the time, with a
    pause after each answer. ``alerts``: those that it must cause; no other may fire, but for those that are
    true of seconds that stand for minutes, ``excused``. Every service asks its canary all the while.
    """

    name: str
    alerts: frozenset[str]
    excused: frozenset[str] = frozenset()
    prepare: Callable[[Switches], TroubledDevice] | None = None
    edit: Callable[[str], str] | None = None
    stops: str | None = None
    begins_after: str = ""
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


def _wrong(switches: Switches) -> TroubledDevice:
    """Make a device whose numbers are right while it loads, and then are others."""

    def spoil(output: NDArray[np.float32]) -> NDArray[np.float32]:
        return output + 1 if switches.armed.is_set() else output

    return TroubledDevice(spoil=spoil)


def _other_digests(catalogue: str) -> str:
    """Ask of every variant for weights that are not there."""
    return catalogue.replace("[[variant]]", f'[[variant]]\nsha256 = "{"0" * 64}"')


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
    # The canary, too, is not answered.
    Trouble(name="errors", alerts=AVAILABILITY | {"XlmrCanaryFailed"}, prepare=_failing, pause_s=0.2),
    # Nobody else can tell: requests are answered, in time and in form.
    Trouble(name="wrong", alerts=frozenset({"XlmrCanaryFailed"}), prepare=_wrong, pause_s=0.2),
    # Both are counted from nought, which Prometheus has to have seen.
    Trouble(
        name="swap",
        alerts=frozenset({"XlmrVariantLoadFailed"}),
        edit=_other_digests,
        begins_after='xlmr_variant_loads_total{job="swap", result="failed"} == 0',
        num_clients=0,
    ),
    # Until it is killed, /metrics waits for it for longer than there is between two readings here.
    Trouble(
        name="hung",
        alerts=frozenset({"XlmrProcessHung"}),
        excused=frozenset({"XlmrInstanceDown", "XlmrNotReady"}),
        stops="backend",
        begins_after='xlmr_process_hangs_total{job="hung", process="backend"} == 0',
        num_clients=0,
        options={"heartbeat_s": 0.5, "hang_timeout_s": 2},
    ),
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
    # Long enough that what a busy machine adds is little of it: costs stay what they were predicted to be.
    Trouble(name="thin", alerts=frozenset({"XlmrBatchFillLow"}), prepare=_taking(0.15), num_clients=4),
    Trouble(
        name="erratic",
        alerts=frozenset({"XlmrCostModelOff"}),
        prepare=_taking(0.01, 0.12),
        num_clients=2,
        options=FULL,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Troubled:
    """A service in trouble.

    ``address``: host and port. ``begin``: begins a trouble that begins later: its catalogue is read again, or
    a process is stopped. ``answered``: of each answer that its clients got, when it came (seconds of a
    monotonic clock) and how long it took (seconds), while it runs. ``ran``: the same of its device's batches.
    """

    address: str
    begin: Callable[[], object]
    answered: list[tuple[float, float]] = field(default_factory=list)
    ran: list[tuple[float, float]] = field(default_factory=list)


@contextlib.contextmanager
def troubled(trouble: Trouble, catalogue: Path, folder: Path) -> Iterator[Troubled]:
    """Run a service in trouble, and its clients, until the block ends. ``folder``: for files of its own."""
    if trouble.stops is not None:
        with tree(folder, ROOT, canary_interval_s=CANARY_S, **trouble.options) as several:
            pid = several.pid(trouble.stops)
            address = several.url.removeprefix("http://")
            yield Troubled(address=address, begin=partial(os.kill, pid, signal.SIGSTOP))
        return
    switches, stop, ran = Switches(), threading.Event(), list[tuple[float, float]]()
    # A device that is stuck stays so: what a restart would change is not what is looked at here.
    options: dict[str, Any] = {"canary_interval_s": CANARY_S, "stuck_batch_s": 0} | trouble.options
    if trouble.prepare is not None:
        prepare = trouble.prepare
        options["make_device"] = lambda: replace(prepare(switches), ran=ran)
    else:
        catalogue = _own_catalogue(catalogue, folder)
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(served(catalogue, wait=trouble.wait, **options))
        switches.armed.set()
        if trouble.edit is not None:
            catalogue.write_text(trouble.edit(catalogue.read_text(encoding="utf-8")), encoding="utf-8")
        address = running.url.removeprefix("http://")
        given = Troubled(
            address=address,
            begin=partial(running.loop.call_soon_threadsafe, running.service.reload),
            ran=ran,
        )
        clients = [
            threading.Thread(target=_ask, args=(given, trouble, stop), daemon=True)
            for _ in range(trouble.num_clients)
        ]
        for client in clients:
            client.start()
        try:
            yield given
        finally:
            stop.set()
            switches.over.set()
            for client in clients:
                client.join(10)


def _own_catalogue(catalogue: Path, folder: Path) -> Path:
    """Write a catalogue of one variant, the first of another catalogue."""
    (first, *_) = load_catalogue(catalogue)
    own = folder / "catalogue.toml"
    entry = f'[[variant]]\nname = "{first.name}"\nhead = "{first.head}"\ncheckpoint = "{first.checkpoint}"\n'
    own.write_text(entry, encoding="utf-8")
    return own


def _ask(service: Troubled, trouble: Trouble, stop: threading.Event) -> None:
    """Ask again and again; whatever the answer, it is the service's metrics that count."""
    body = {"inputs": [{"text": TEXT}] * trouble.num_inputs}
    with httpx2.Client(base_url=f"http://{service.address}", timeout=FOREVER_S) as client:
        while not stop.is_set():
            began_s = time.monotonic()
            with contextlib.suppress(httpx2.TransportError):
                if client.post(f"/v1/variants/{VARIANT}/predict", json=body).is_success:
                    ended_s = time.monotonic()
                    service.answered.append((ended_s, ended_s - began_s))
            stop.wait(trouble.pause_s)
