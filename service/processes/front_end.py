"""An HTTP process: the whole of the service's outside, and of its backend only a socket.

Rules: it never imports torch. It listens on the socket that it shares with the other front ends, answers 503
while there is no backend, and ends when the supervisor says so.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from service.app import create_app, create_front_end
from service.processes.orders import Order
from service.processes.superior import Superior, begin_child
from service.server import DrainingServer, server_config

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    import uvicorn

    from service.service import Service
    from service.settings import Settings


def serve_front_end(
    settings: Settings, *, name: str, path: Path, listener: socket.socket, control: socket.socket
) -> None:
    """Answer HTTP until the supervisor ends it; the main function of the process.

    ``path``: of the backend's socket. ``listener``: shared by the front ends. ``control``: to the supervisor.
    """
    begin_child(name, settings)

    def drain() -> None:
        server.drain()

    def give_up() -> None:
        service.give_up()

    def fail() -> None:
        superior.tell(Order.FAILED, str(service.failure))
        server.should_exit = True

    superior = Superior(
        read=lambda: service.read_metrics(),  # noqa: PLW0108 - the service is made below, of the superior
        families=lambda: service.metrics.families(),  # noqa: PLW0108 - as above
        on_drain=drain,
        on_give_up=give_up,
    )
    service = create_front_end(
        settings,
        path=path,
        exposition=superior.expose,
        on_ready=lambda: superior.tell(Order.READY),
        on_failure=fail,
    )
    server = _ManagedServer(
        server_config(settings, create_app(settings, service)),
        service=service,
        drain_timeout_s=settings.drain_timeout_s,
        superior=superior,
        control=control,
    )
    server.run(sockets=[listener])


class _ManagedServer(DrainingServer):
    """uvicorn that obeys a supervisor, not signals."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        service: Service,
        drain_timeout_s: float,
        superior: Superior,
        control: socket.socket,
    ) -> None:
        super().__init__(
            config,
            service=service,
            drain_timeout_s=drain_timeout_s,
            on_listening=lambda: superior.tell(Order.LISTENING),
        )
        self._superior = superior
        self._control = control

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Hear the supervisor, then start the app and take connections."""
        await self._superior.connect(self._control)
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the app; what it has counted goes to the supervisor.

        Nobody may connect any more, although the supervisor still holds the socket: who did would wait, and
        then be cut off with a request sent.
        """
        for sock in sockets or ():
            with suppress(OSError):  # it does not listen any more
                sock.shutdown(socket.SHUT_RDWR)
        await super().shutdown(sockets)
        await self._superior.leave()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave signals to the supervisor."""
