"""One end of a socket between two processes of the service: frames out, frames in, and its end.

Rules: what is sent in one turn of the event loop goes out in one write; what is no frame ends the link with
a line in the log, and so does a peer that takes nothing in while more and more is meant for it. ``on_end`` is
called once, whoever ended it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import structlog

from service.backend.frames import FrameError, FrameReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.backend.frames import Frame

# A peer that lives reads at memory speed; one that leaves this much unread is stuck.
_MAX_UNREAD_BYTES = 512 * 1024 * 1024


class Link(asyncio.Protocol):
    """Frames to and from a peer."""

    def __init__(
        self, *, name: str, on_frame: Callable[[Frame], object], on_end: Callable[[], object]
    ) -> None:
        """``name``: of the peer, for the log. ``on_frame`` may raise FrameError, which ends the link."""
        self._name = name
        self._on_frame = on_frame
        self._on_end = on_end
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._ended = asyncio.Event()
        self._is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether what is sent may arrive."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the socket."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(high=_MAX_UNREAD_BYTES)
        self._flush()
        if self._is_closed:  # while the socket was on its way
            self._transport.close()

    def send(self, frame: bytes) -> None:
        """Send a frame, made by ``frame_bytes``; into the void where the link has ended."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(frame)

    def close(self) -> None:
        """Send what is to be sent, and end; one that has no socket yet ends as soon as it has."""
        self._is_closed = True
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End at once, for a peer that takes nothing in."""
        self._is_closed = True
        if self._transport is not None:
            self._transport.abort()

    async def ended(self) -> None:
        """Wait until it has ended, and nothing more will come."""
        await self._ended.wait()

    def data_received(self, data: bytes) -> None:
        """Hand on the frames that are whole."""
        try:
            for frame in self._reader.feed(data):
                self._on_frame(frame)
        except FrameError as error:
            self._break_off("garbage_received", reason=str(error))

    def pause_writing(self) -> None:
        """Give up on a peer that reads no more."""
        self._break_off("peer_reads_no_more", num_bytes=_MAX_UNREAD_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that it has ended."""
        del exc  # a peer that died may have reset the connection or not: the same to us
        self._ended.set()
        self._on_end()

    def _flush(self) -> None:
        if self._transport is None:  # they go out with the connection
            return
        frames, self._unsent = self._unsent, []
        if frames and not self._transport.is_closing():
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def _break_off(self, event: str, **why: object) -> None:
        structlog.get_logger().warning(event, peer=self._name, **why)
        if self._transport is not None:
            self._transport.abort()
