"""A world whose backend is reached through a socket, as a front end's is."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from service.backend.listener import BackendListener
from service.backend.remote import RemoteBackend
from tests.service.backend_world import World, settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from service.domain import BackendStatistics


class RemoteWorld(World):
    """Its ``backend`` is at the other end, ``front`` at this one."""

    def __init__(self, folder: Path, **limits: float) -> None:
        super().__init__(**limits)  # type: ignore[arg-type]  # the limits only
        self.path = folder / "backend.sock"
        self.listener = BackendListener(self.backend)
        self.remote = RemoteBackend(self.path, clock=self.clock)
        self.front = self.remote

    async def listen(self) -> None:
        """Take connections."""
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(str(self.path))
        bound.listen()
        await self.listener.listen(bound)

    async def statistics(self) -> BackendStatistics:
        return await self.remote.read()


@asynccontextmanager
async def remote_world(folder: Path, **limits: float) -> AsyncIterator[RemoteWorld]:
    """A world with one front end that is connected."""
    world = RemoteWorld(folder, **limits)
    await world.started()
    await world.listen()
    await world.remote.open()
    try:
        yield world
    finally:
        world.remote.close()
        world.listener.close()
        await settle()
