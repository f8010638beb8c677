"""The device's process: one queue, one scheduler, one engine, and a socket for the front ends.

Rules: no HTTP. What cannot be served is told to the supervisor, and the process ends with 2; a backend that
has broken ends with 1, so that a new one is started. It drains when the supervisor says so, after the
front ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING

import structlog

from service.app import create_back_end
from service.backend.source import JOIN_S
from service.errors import NotReadyError, StartupError, loading_failed
from service.processes.orders import Order
from service.processes.superior import Superior, begin_child

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from service.app import BackEnd
    from service.engine.device import Device
    from service.observability.families import Families
    from service.settings import Settings

_BROKEN, _REFUSED = 1, 2


def serve_back_end(
    settings: Settings,
    *,
    name: str,
    make_device: Callable[[], Device] | None,
    listener: socket.socket,
    control: socket.socket,
) -> None:
    """Run works until the supervisor ends it; the main function of the process.

    ``make_device``: None for torch and the catalogue's checkpoints. ``listener``: the Unix socket to which
    front ends connect. ``control``: to the supervisor.
    """
    begin_child(name, settings)
    code, has_stopped = asyncio.run(_BackEndProcess(settings, make_device).run(listener, control))
    if not has_stopped:
        # A forward pass still runs; it would crash in an interpreter that is taken down around it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


class _BackEndProcess:
    """Loading, serving and ending."""

    def __init__(self, settings: Settings, make_device: Callable[[], Device] | None) -> None:
        self._settings = settings
        self._make_device = make_device
        self._back_end: BackEnd | None = None
        self._end = asyncio.Event()
        self._reloads: set[asyncio.Task[None]] = set()
        self._code = 0

    async def run(self, listener: socket.socket, control: socket.socket) -> tuple[int, bool]:
        """Return the exit code, and whether the engine has stopped."""
        superior = Superior(
            read=self._read,
            families=self._families,
            on_drain=self._end.set,
            on_give_up=self._end.set,
            on_reload=self._reload,
        )
        await superior.connect(control)
        try:
            back_end = self._back_end = create_back_end(
                self._settings, make_device=self._make_device, on_broken=self._broken
            )
        except StartupError as error:  # the catalogue was read before, but has changed
            superior.tell(Order.FAILED, str(error))
            await superior.leave()
            return _REFUSED, True
        await back_end.listener.listen(listener)
        loading = asyncio.create_task(self._load(superior, back_end))
        await self._end.wait()
        backend = back_end.source.backend
        if not self._code:
            await backend.drain(self._settings.drain_timeout_s)
        for task in (loading, *self._reloads):
            task.cancel()
        await asyncio.gather(loading, *self._reloads, return_exceptions=True)
        back_end.source.close()
        back_end.listener.close()
        await superior.leave()
        has_stopped = await back_end.source.stopped(JOIN_S)
        if back_end.tracing is not None:
            await asyncio.to_thread(back_end.tracing.close)
        return self._code, has_stopped

    async def _load(self, superior: Superior, back_end: BackEnd) -> None:
        log = structlog.get_logger()
        began_at = time.monotonic()
        log.info("loading")
        try:
            await back_end.source.open()
            _tell_variants(back_end)
        except NotReadyError:
            return  # stopped meanwhile
        except StartupError as error:
            superior.tell(Order.FAILED, str(error))
            self._finish(_REFUSED)
            return
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a library in another language may raise what is no Exception
            log.exception("start_failed")
            superior.tell(Order.FAILED, str(loading_failed(error)))
            self._finish(_REFUSED)
            return
        seconds = round(time.monotonic() - began_at, 3)
        log.info("loaded", variants=len(back_end.source.backend.cards()), seconds=seconds)
        superior.tell(Order.READY)
        try:
            while True:
                await back_end.source.changed()
                _tell_variants(back_end)
        except asyncio.CancelledError:
            raise
        except BaseException:  # nobody awaits this task: front ends would ask for weights that go
            log.exception("variants_not_told")
            self._finish(_BROKEN)

    def _reload(self) -> None:
        if self._back_end is None:
            return
        task = asyncio.get_running_loop().create_task(self._back_end.source.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    def _read(self) -> None:
        if self._back_end is not None:  # whether the service is ready, its front ends say
            self._back_end.metrics.read(self._back_end.source.backend.statistics(), ready=False)

    def _families(self) -> Families:
        return () if self._back_end is None else self._back_end.metrics.families()

    def _broken(self) -> None:
        """End, so that a new backend is started; those who wait have been told."""
        self._finish(_BROKEN)

    def _finish(self, code: int) -> None:
        self._code = code
        self._end.set()


def _tell_variants(back_end: BackEnd) -> None:
    """Tell metrics and front ends what is served now."""
    back_end.metrics.variants_loaded(back_end.source.backend.cards())
    back_end.listener.tell_state()
