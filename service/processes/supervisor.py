"""The process that the operator starts: it owns the sockets and looks after the others.

Rules: it answers no request and loads nothing, so that it outlives them all. It holds a listening socket
for each front end, all at one address, and the backend's, so that none vanishes when a process dies and who
connects meanwhile waits for the next one; a process that dies is started again, later each time, and one that
hangs is killed. The first SIGTERM or SIGINT lets the front ends drain, then the backend; the second answers
what is under way with 503; the third kills. SIGHUP is for the backend, which then reads the catalogue again.
It adds up the metrics of all processes, also of those that are gone.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Counter, ProcessCollector

from service.app import check_catalogue, patience_of
from service.errors import StartupError
from service.observability.families import add_up, cumulative, exposition, families_of
from service.processes.back_end import serve_back_end
from service.processes.backoff import STEADY_S, delay_s
from service.processes.child import Child
from service.processes.front_end import serve_front_end
from service.processes.orders import Order
from service.server import WRITE_OUT_S, address_of, listen_together, write_ready_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from service.engine.device import Device
    from service.observability.families import Families
    from service.settings import Settings

BACKEND = "backend"
# More than any number of front ends that connect at once.
_BACKEND_BACKLOG = 128
# A backend that never came up is tried so often; then something is wrong that trying does not cure.
_MAX_EARLY_DEATHS = 3
# What a process may take to end beyond the time that it was given.
_END_S = 10.0
_GIVE_UP, _KILL = 2, 3


def supervise(settings: Settings, *, make_device: Callable[[], Device] | None = None) -> bool:
    """Serve with several HTTP processes until a signal; return that everything has stopped.

    ``make_device``: made in the backend's process, so that it must be importable there (a function of a
    module, or a partial of one); None for torch and the catalogue's checkpoints.

    Raises:
        StartupError: the address, the catalogue or a checkpoint cannot be served.
    """
    if make_device is None:
        check_catalogue(settings)
    names = tuple(f"http-{number}" for number in range(1, settings.http_workers + 1))
    listeners = dict(zip(names, listen_together(settings, len(names)), strict=True))

    def ended(name: str) -> None:
        """Let nobody wait for a front end that will not come."""
        if name in listeners:
            listeners[name].close()

    try:
        # Made by mkdtemp: nobody but this user may enter.
        with tempfile.TemporaryDirectory(prefix="xlmr-serve-") as folder:
            path = Path(folder) / "backend.sock"
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as back_listener:
                _bind(back_listener, path)
                back_listener.listen(_BACKEND_BACKLOG)
                back_listener.setblocking(False)
                starts = _starts(settings, make_device, back_listener, listeners, path)
                supervisor = Supervisor(
                    settings, starts=starts, address=address_of(settings, listeners[names[0]]), on_end=ended
                )
                asyncio.run(supervisor.run())
    finally:
        for listener in listeners.values():
            listener.close()
        if settings.ready_file is not None:
            settings.ready_file.unlink(missing_ok=True)
    structlog.get_logger().info("stopped")
    return True


def _starts(
    settings: Settings,
    make_device: Callable[[], Device] | None,
    back_listener: socket.socket,
    listeners: Mapping[str, socket.socket],
    path: Path,
) -> Mapping[str, Callable[[Child], Awaitable[None]]]:
    """Return what starts each process, again and again: the backend, and a front end a listener."""
    back_end = partial(
        Child.start,
        main=serve_back_end,
        settings=settings,
        name=BACKEND,
        make_device=make_device,
        listener=back_listener,
    )
    front_ends = {
        name: partial(
            Child.start, main=serve_front_end, settings=settings, name=name, path=path, listener=listener
        )
        for name, listener in listeners.items()
    }
    return {BACKEND: back_end} | front_ends


class Supervisor:
    """Keeps every process running until it is told to end them."""

    def __init__(
        self,
        settings: Settings,
        *,
        starts: Mapping[str, Callable[[Child], Awaitable[None]]],
        address: dict[str, object],
        on_end: Callable[[str], object],
    ) -> None:
        """Start nothing.

        ``starts``: how each process is started, by its name. ``address``: what is told of the service.
        ``on_end``: called with the name of a process that has ended for good.
        """
        self._settings = settings
        self._starts = starts
        self._address = address
        self._on_end = on_end
        self._children: dict[str, Child] = {}
        self._news: dict[Order, set[str]] = {Order.LISTENING: set(), Order.READY: set()}
        self._asking: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()
        self._failure: StartupError | None = None
        self._num_signals = 0
        self._retired: Families = ()
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        restarts = Counter(
            "xlmr_process_restarts_total",
            "Times that a process of the service was started again after it had died.",
            ["process"],
            registry=registry,
        )
        self._restarts = {name: restarts.labels(name) for name in starts}
        hangs = Counter(
            "xlmr_process_hangs_total",
            "Times that a process of the service was killed since it gave no sign of life.",
            ["process"],
            registry=registry,
        )
        self._hangs = {name: hangs.labels(name) for name in starts}
        self._registry = registry

    async def run(self) -> None:
        """Start every process; return when all have ended.

        Raises:
            StartupError: one of them could never serve.
        """
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        keepers = {name: asyncio.create_task(self._keep(name, start)) for name, start in self._starts.items()}
        for keeper in keepers.values():
            keeper.add_done_callback(self._kept)
        await self._ending.wait()
        front_ends = {name: keeper for name, keeper in keepers.items() if name != BACKEND}
        time_s = self._settings.drain_timeout_s + WRITE_OUT_S + _END_S
        await self._end(front_ends, time_s, gives_up=self._failure is not None)
        await self._end({BACKEND: keepers[BACKEND]}, _END_S, gives_up=True)
        if self._failure is not None:
            raise self._failure

    async def _keep(self, name: str, start: Callable[[Child], Awaitable[None]]) -> None:
        """Start a process, and again whenever it has died."""
        log = structlog.get_logger()
        num_deaths = 0
        while not self._ending.is_set():
            child = self._children[name] = Child(
                name,
                on_news=self._hear,
                on_expose=self._expose,
                patience=patience_of(self._settings),
                on_silence=self._hung,
            )
            began_at = time.monotonic()
            await start(child)
            log.info("process_started", child=name, pid=child.pid)
            code = await child.ended()
            del self._children[name]
            self._retired = add_up([self._retired, cumulative(child.last_reading)])
            if self._ending.is_set():
                log.info("process_ended", child=name, pid=child.pid, **_why(code))
                break
            if child.is_ready and time.monotonic() - began_at >= STEADY_S:
                num_deaths = 0
            num_deaths += 1
            if self._is_hopeless(child, num_deaths):
                return
            wait_s = delay_s(num_deaths)
            log.error("process_died", child=name, pid=child.pid, **_why(code), restart_in_s=wait_s)
            self._restarts[name].inc()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._ending.wait()
        self._on_end(name)

    def _is_hopeless(self, child: Child, num_deaths: int) -> bool:
        """Whether the service never came up and will not; then everything ends."""
        if child.name in self._news[Order.READY]:
            if child.failure is not None:
                structlog.get_logger().error("restart_refused", child=child.name, reason=child.failure)
            return False
        if child.failure is None and num_deaths < _MAX_EARLY_DEATHS:
            return False
        self._failure = StartupError(
            child.failure
            or f"The process {child.name} died {num_deaths} times before it was ready; see the log."
        )
        self._ending.set()
        return True

    async def _end(self, keepers: dict[str, asyncio.Task[None]], time_s: float, *, gives_up: bool) -> None:
        """Let processes end in their own way; kill those that do not."""
        for name in keepers:
            if name in self._children:
                if gives_up:
                    self._children[name].order(Order.GIVE_UP)
                self._children[name].order(Order.DRAIN)
        _, late = await asyncio.wait(keepers.values(), timeout=time_s)
        if late:
            for name in keepers:
                if name in self._children:
                    structlog.get_logger().error("process_killed", child=name, waited_s=time_s)
                    self._children[name].kill()
            await asyncio.wait(late)

    def _hung(self, child: Child) -> None:
        """Tell of a process that is about to be killed."""
        self._hangs[child.name].inc()
        silent_s = self._settings.hang_timeout_s
        structlog.get_logger().error("process_hung", child=child.name, pid=child.pid, silent_s=silent_s)

    def _signalled(self) -> None:
        self._num_signals += 1
        self._ending.set()
        if self._num_signals == _GIVE_UP:
            for child in self._children.values():
                child.order(Order.GIVE_UP)
        elif self._num_signals >= _KILL:
            for child in self._children.values():
                child.kill()

    def _reload(self) -> None:
        """Let the backend read the catalogue again; one that is being started reads it anyway."""
        if BACKEND in self._children:
            self._children[BACKEND].order(Order.RELOAD)

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        """End everything where this process itself has failed."""
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            structlog.get_logger().error("supervisor_failed", exc_info=error)
            self._failure = StartupError("The supervisor failed; this is a bug, and the log says where.")
            self._ending.set()

    def _hear(self, child: Child, order: Order) -> None:
        """Tell the outside, once, when every front end listens, and when every one is ready."""
        told = self._news[order]
        if child.name in told:
            return
        told.add(child.name)
        if told - {BACKEND} != self._starts.keys() - {BACKEND} or child.name == BACKEND:
            return
        log = structlog.get_logger()
        if order is Order.LISTENING:
            log.info("listening", **self._address)
        else:
            if self._settings.ready_file is not None:
                write_ready_file(self._settings.ready_file, self._address)
            log.info("ready", http_workers=self._settings.http_workers)

    def _expose(self, child: Child, number: int, accept: str) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(child, number, accept))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _answer(self, asker: Child, number: int, accept: str) -> None:
        """Add up what every process has counted, and what those had counted that are gone."""
        # Both as they are now: a child that dies meanwhile is in its last reading, and must not be in both.
        children, retired = tuple(self._children.values()), self._retired
        readings = await asyncio.gather(*(child.read() for child in children))
        total = add_up([*readings, retired, families_of(self._registry)])
        body, content_type = exposition(total, accept)
        asker.order(Order.EXPOSITION, content_type.encode() + b"\0" + body, number=number)


def _bind(sock: socket.socket, path: Path) -> None:
    try:
        sock.bind(str(path))
    except OSError as error:  # the system allows about a hundred bytes
        raise StartupError(
            f"No socket can be made at {path} ({error}); set TMPDIR to a shorter path."
        ) from error


def _why(code: int) -> dict[str, object]:
    """Say how a process ended."""
    return {"signal": signal.Signals(-code).name} if code < 0 else {"code": code}
