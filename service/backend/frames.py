"""Frames: how messages lie on a byte stream between processes of one machine.

Rules: bytes in, frames out; no I/O. A frame is eight bytes of header (two that every frame starts with, the
version of the messages, their kind, the payload's length; little-endian) and its payload. Both ends are of
one installation, so that another version means a mistake, like anything else that is not a frame. What has
been read of a stream after such a mistake means nothing: the connection must end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

# "XL", which no text protocol starts with a version byte after.
MAGIC = b"XL"
VERSION = 1
HEADER = struct.Struct("<2sBBI")
# The tokens of the fullest queue (2**20 by default) tagged with 50 labels are 200 MiB.
MAX_PAYLOAD_BYTES = 256 * 1024 * 1024


class FrameError(Exception):
    """What came is no frame, or none of ours; the message says why, without what came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message: its kind and its payload, which may be a view of a larger buffer."""

    kind: int
    payload: memoryview


def frame_bytes(kind: int, payload: bytes) -> bytes:
    """Put a header before a payload.

    Raises:
        FrameError: the payload is longer than a frame may be.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise FrameError(f"{len(payload)} bytes are more than a frame's {MAX_PAYLOAD_BYTES}.")
    return HEADER.pack(MAGIC, VERSION, kind, len(payload)) + payload


class FrameReader:
    """Cuts a stream, which comes in any pieces, into frames."""

    def __init__(self, *, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self._max_payload_bytes = max_payload_bytes
        self._kept = bytearray()
        self._num_wanted = HEADER.size

    def feed(self, data: bytes) -> list[Frame]:
        """Take what came; return the frames that are whole now.

        Raises:
            FrameError: the stream is not made of frames.
        """
        if self._kept:
            self._kept += data
            if len(self._kept) < self._num_wanted:  # a long frame is looked at once, when it is whole
                return []
            data = bytes(self._kept)
            self._kept = bytearray()
        return self._cut(memoryview(data))

    def _cut(self, view: memoryview) -> list[Frame]:
        frames: list[Frame] = []
        while len(view) >= HEADER.size:
            magic, version, kind, num_bytes = HEADER.unpack_from(view)
            if magic != MAGIC:
                raise FrameError("What came does not start like a frame.")
            if version != VERSION:
                raise FrameError(f"The frame is of version {version}, not {VERSION}.")
            if num_bytes > self._max_payload_bytes:
                raise FrameError(
                    f"The frame says that it has {num_bytes} bytes, past {self._max_payload_bytes}."
                )
            end = HEADER.size + num_bytes
            if len(view) < end:
                break
            frames.append(Frame(kind=kind, payload=view[HEADER.size : end]))
            view = view[end:]
        self._kept = bytearray(view)
        self._num_wanted = HEADER.size if len(view) < HEADER.size else end
        return frames
