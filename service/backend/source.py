"""Where an HTTP process has its backend from, and how that comes and goes.

Rules: ``open`` returns when the backend takes work, ``changed`` when its variants are others or it is gone,
so that it should be opened again; ``adopted`` hears that what was opened is what requests get from now on,
and ``close`` ends it for good. A backend in this process is started once: if it breaks, the process must be
restarted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog

from service.domain import Phase

if TYPE_CHECKING:
    from service.backend.local import LocalBackend
    from service.backend.remote import RemoteBackend
    from service.backend.swap import Swapping
    from service.domain import Backend
    from service.engine.contract import Engine

# For ``stopped``: a forward pass cannot be interrupted; one that takes longer is left behind.
JOIN_S = 2.0


class Source(Protocol):
    """A backend and its life."""

    @property
    def backend(self) -> Backend:
        """The backend itself; it refuses work while it is not open."""
        ...

    async def open(self) -> None:
        """Return once the backend takes work.

        Raises:
            StartupError: it never will.
            NotReadyError: it was closed meanwhile.
        """
        ...

    def adopted(self) -> None:
        """Hear that requests are answered from what ``open`` returned for."""
        ...

    async def changed(self) -> None:
        """Return once it should be opened again.

        Raises:
            NotReadyError: it was closed.
        """
        ...

    async def reload(self) -> None:
        """Serve what the catalogue says now, where the backend is this process's."""
        ...

    def close(self) -> None:
        """Take no more work; what is not answered raises NotReadyError where it is awaited."""
        ...

    async def stopped(self, timeout_s: float) -> bool:
        """After ``close``: wait until nothing of it runs here; False if something still does."""
        ...


class LocalSource:
    """The backend of this process, on an engine of this process."""

    def __init__(
        self,
        backend: LocalBackend,
        engine: Engine,
        *,
        calibrate_budget: bool,
        swapping: Swapping | None = None,
    ) -> None:
        """``swapping``: None where there is no catalogue to read again."""
        self._swapping = swapping
        self._is_started = False
        self._is_open = asyncio.Event()
        self._backend = backend
        self._engine = engine
        self._calibrate_budget = calibrate_budget

    @property
    def backend(self) -> LocalBackend:
        """The local backend."""
        return self._backend

    async def open(self) -> None:
        """Load the weights; nothing when called again."""
        if not self._is_started:
            self._is_started = True
            await self._backend.start(calibrate_budget=self._calibrate_budget)
            self._is_open.set()

    def adopted(self) -> None:
        """Leave it at that: weights and tokenizers are of one process."""

    async def changed(self) -> None:
        """Wait until other variants are served."""
        if self._swapping is None:
            await asyncio.get_running_loop().create_future()
        else:
            await self._swapping.changed()

    async def reload(self) -> None:
        """Serve what the catalogue says now; what is being started serves first what it has read before."""
        if self._backend.statistics().phase is Phase.STARTING:
            structlog.get_logger().info("reload_postponed")
            await self._is_open.wait()
        phase = self._backend.statistics().phase
        if self._swapping is None or phase is not Phase.READY:
            structlog.get_logger().warning("reload_ignored", phase=phase.value)
        else:
            await self._swapping.reload()

    def close(self) -> None:
        """Stop backend and engine."""
        if self._swapping is not None:
            self._swapping.close()
        self._backend.close()

    async def stopped(self, timeout_s: float) -> bool:
        """Wait for the batch that runs."""
        return await asyncio.to_thread(self._engine.join, timeout_s)


class RemoteSource:
    """The backend of another process."""

    def __init__(self, backend: RemoteBackend) -> None:
        self._backend = backend

    @property
    def backend(self) -> RemoteBackend:
        """The remote backend."""
        return self._backend

    async def open(self) -> None:
        """Wait for the other process."""
        await self._backend.open()

    def adopted(self) -> None:
        """Be as ready as the other process from now on."""
        self._backend.adopted()

    async def changed(self) -> None:
        """Wait for its end, or for other variants."""
        await self._backend.changed()

    async def reload(self) -> None:
        """Leave that to the process that has the weights."""

    def close(self) -> None:
        """End the link."""
        self._backend.close()

    async def stopped(self, timeout_s: float) -> bool:
        """Say that nothing runs here."""
        del timeout_s  # there is nothing to wait for
        return True
