"""What the supervisor and its children say to each other, each over a socket of its own.

Rules: short frames, JSON or text inside; a question carries a number, which its answer repeats. The end of
the socket says that the other one is gone.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from service.backend.frames import frame_bytes

_NUMBER = struct.Struct("<I")
# The number of a child's last reading, which nobody asked for.
LAST = 0


class Order(IntEnum):
    """What a frame between supervisor and child holds."""

    # From a child.
    LISTENING = 1  # HTTP is answered, if only with 503
    READY = 2  # requests are answered
    FAILED = 3  # what cannot be served, as text; the child ends
    READING = 4  # its metrics
    EXPOSE = 5  # the metrics of all, please; an Accept header as text
    ALIVE = 12  # it was asked
    # To a child.
    READ = 6  # its metrics, please
    EXPOSITION = 7  # content type, a zero byte, body
    DRAIN = 8  # answer what is under way, then end
    GIVE_UP = 9  # answer it with 503 instead
    RELOAD = 10  # serve what the catalogue says now; to the backend
    ASK_ALIVE = 11  # a sign of life from its event loop, please


def order_bytes(order: Order, content: bytes = b"", *, number: int = 0) -> bytes:
    """Make the frame of an order."""
    return frame_bytes(order, _NUMBER.pack(number) + content)


def read_order(payload: memoryview) -> tuple[int, bytes]:
    """Return an order's number and content.

    Raises:
        struct.error: it is none.
    """
    return _NUMBER.unpack_from(payload)[0], bytes(payload[_NUMBER.size :])
