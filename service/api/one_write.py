"""HTTP as uvicorn speaks it, with an answer's head and body in one write.

Rules: the bytes and their order stay the same. A head that nothing follows in this turn of the event loop
goes out at its end, and whatever else is done with the connection (its end, above all) comes after what was
written before. uvicorn writes head and body apart, and uvloop writes at once: two calls of the system an
answer, and a client that is woken twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEAD = b"HTTP/1.1 "
_END_OF_HEAD = b"\r\n\r\n"


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a transport that holds heads back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection."""
        super().connection_made(cast("asyncio.Transport", HoldingTransport(transport)))


class HoldingTransport:
    """A transport that holds an answer's head until its body comes, or the turn of the loop ends."""

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        """Stand in for a transport; what is not written here is its own business."""
        # uvloop's transports are none by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        self._head: bytes | None = None
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        """Return what the transport has."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, unless it is a head: that is held."""
        if self._head is not None:
            data, self._head = self._head + data, None
        elif data.startswith(_HEAD) and data.endswith(_END_OF_HEAD):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write all of them."""
        self.write(b"".join(lines))

    def close(self) -> None:
        """End the connection after what was written."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is ending."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        """Write the head that nothing followed; the connection may have ended meanwhile."""
        if self._head is not None:
            head, self._head = self._head, None
            if not self._transport.is_closing():
                self._transport.write(head)
