"""One process on one socket: uvicorn, with draining before the end.

Rules: the socket listens before anything is loaded. The first signal drains and the program
then ends with 0, where uvicorn by itself would end by the signal; the second one drops what
is under way, which is answered with 503. SIGHUP reads the catalogue again.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import structlog
import uvicorn

from service.api.one_write import OneWriteProtocol
from service.app import create_app, create_service
from service.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from fastapi import FastAPI

    from service.engine.device import Device
    from service.service import Service
    from service.settings import Settings

# After draining, answers that are still on their way to slow clients get this long.
WRITE_OUT_S = 5
_BACKLOG = 2048
# With 700, as Python has it, searches took a tenth to a sixth of the time at 16 at once (docs/log.md).
# Garbage in cycles (an error and its frames) waits a little longer; all else is freed at once, as ever.
_MAX_NEW_OBJECTS = 10_000
# The signal at which requests under way are no longer waited for.
_GIVE_UP = 2


class DrainingServer(uvicorn.Server):
    """uvicorn, which asks its service to drain before it closes the socket."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        service: Service,
        drain_timeout_s: float,
        on_listening: Callable[[], object],
    ) -> None:
        """``on_listening``: called when connections are taken."""
        super().__init__(config)
        self._on_listening = on_listening
        self._service = service
        self._drain_timeout_s = drain_timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: asyncio.Task[None] | None = None
        self._num_signals = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app and take connections; from the line in the log on, signals drain."""
        self._loop = asyncio.get_running_loop()
        collect_rarely()
        await super().startup(sockets)
        self._on_listening()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, give up what is under way at the second, stop dead at the third."""
        del sig, frame
        self._num_signals += 1
        if self._loop is None or self._num_signals > _GIVE_UP:
            self.should_exit = self.force_exit = True
        elif self._num_signals == _GIVE_UP:
            self._loop.call_soon_threadsafe(self._service.give_up)
        else:
            self._loop.call_soon_threadsafe(self.drain)

    def drain(self) -> None:
        """Answer what is under way, then end; call it on the event loop."""
        if self._drain is None:
            self._drain = asyncio.ensure_future(self._drain_and_exit())

    async def _drain_and_exit(self) -> None:
        log = structlog.get_logger()
        log.info("draining", timeout_s=self._drain_timeout_s)
        if not await self._service.drain(self._drain_timeout_s):
            log.warning("drain_timed_out", timeout_s=self._drain_timeout_s)
            self._service.give_up()
        self.should_exit = True


def serve(settings: Settings, *, make_device: Callable[[], Device] | None = None) -> bool:
    """Serve until a signal; return whether everything has stopped, the engine's thread included.

    ``make_device``: None for torch and the catalogue's checkpoints.

    Raises:
        StartupError: the address, the catalogue or a checkpoint cannot be served.
    """
    address: dict[str, object] = {}
    server: DrainingServer | None = None

    def stop() -> None:
        assert server is not None, "Loading ended before the server was there. This is a bug."
        server.should_exit = True

    def tell_ready() -> None:
        if settings.ready_file is not None:
            write_ready_file(settings.ready_file, address)

    def tell_listening() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.reload)
        structlog.get_logger().info("listening", **address)

    service = create_service(settings, make_device=make_device, on_ready=tell_ready, on_failure=stop)
    listener = listen(settings)
    try:
        address |= address_of(settings, listener)
        server = DrainingServer(
            server_config(settings, create_app(settings, service)),
            service=service,
            drain_timeout_s=settings.drain_timeout_s,
            on_listening=tell_listening,
        )
        server.run(sockets=[listener])
    finally:
        listener.close()
        if settings.ready_file is not None:
            settings.ready_file.unlink(missing_ok=True)
    if service.failure is not None:
        raise service.failure
    structlog.get_logger().info("stopped")
    return service.has_stopped


def server_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    """Return how uvicorn serves an app."""
    return uvicorn.Config(
        app,
        http=OneWriteProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        backlog=_BACKLOG,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=WRITE_OUT_S,
    )


def collect_rarely() -> None:
    """Let Python look for cycles after so many new objects that requests under way do not set it off.

    Their objects are many, none of them is garbage, and each search goes through all that are new.
    """
    gc.set_threshold(_MAX_NEW_OBJECTS)


def address_of(settings: Settings, listener: socket.socket) -> dict[str, object]:
    """Say where the service is, and which process to signal."""
    port = listener.getsockname()[1]
    url = f"http://{settings.url_host}:{port}"
    return {"url": url, "host": settings.host, "port": port, "pid": os.getpid()}


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens, so that a port in use is told before anything else is done.

    Raises:
        StartupError: the address is in use, or no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise StartupError(
            f"--host {settings.host} is no address of this machine ({error.strerror})."
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartupError(_why_not_bound(settings, error)) from error
    listener.setblocking(False)
    return listener


def listen_together(settings: Settings, num_sockets: int) -> tuple[socket.socket, ...]:
    """Return sockets that listen at one address, among which the system spreads connections.

    Where it cannot (only Linux does), they are one and the same socket.

    Raises:
        StartupError: the address is in use, also by sockets that would share it, or none of this machine.
    """
    probe = listen(settings)  # sharing is not asked for: another service at this address is found out
    if sys.platform != "linux":
        return (probe,) * num_sockets
    address = probe.getsockname()
    probe.close()
    sockets = tuple(socket.socket(probe.family, socket.SOCK_STREAM) for _ in range(num_sockets))
    try:
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
        for one in sockets:
            one.listen(_BACKLOG)
            one.setblocking(False)
    except OSError as error:
        for one in sockets:
            one.close()
        raise StartupError(_why_not_bound(settings, error)) from error
    return sockets


def _why_not_bound(settings: Settings, error: OSError) -> str:
    where = f"{settings.url_host}:{settings.port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where} is in use; choose another --port, or 0 for any free one."
        case errno.EACCES:
            return f"{where} may not be used by this user; choose a --port above 1023."
        case _:
            return f"{where} cannot be used ({error.strerror}); choose another --host or --port."


def write_ready_file(path: Path, address: dict[str, object]) -> None:
    """Write the file whole or not at all, since somebody is waiting for it to appear.

    Where it cannot be written, requests are answered all the same, and the log says why nobody hears of it.
    """
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_text(json.dumps(address) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        structlog.get_logger().error("ready_file_not_written", path=str(path), reason=error.strerror)
