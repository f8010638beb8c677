"""The headers that every protocol here understands and sends.

Rules: a request id of the client is taken over only if it is short and plain, since it goes
into logs and back out. Headers are read and written as ASGI has them, pairs of bytes with names in
lower case: the framework's mappings cost more than what is done with the few that are wanted.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from service.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.domain import Stages

REQUEST_ID = "X-Request-ID"
TIMEOUT = "X-Request-Timeout-Ms"
SERVER_TIMING = "Server-Timing"

_PLAIN_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_MS_PER_S = 1000.0
_ID_BYTES = 16


def header(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """Return a header's first value; None where it was not sent. ``name``: in any case."""
    wanted = name.lower().encode("latin-1")
    for key, value in headers:
        if key == wanted:
            return value.decode("latin-1")
    return None


def request_id(given: str | None) -> str:
    """Return the client's request id if it is valid, else a new one."""
    return given if given is not None and _PLAIN_ID.fullmatch(given) else secrets.token_hex(_ID_BYTES)


def timeout_s(given: str | None, *, default_s: float, max_s: float) -> float:
    """Return how long a request may take, from X-Request-Timeout-Ms.

    Raises:
        ShapeError: it is not a whole number of milliseconds from 1 to the maximum.
    """
    if given is None:
        return default_s
    max_ms = int(max_s * _MS_PER_S)
    # isdecimal alone lets other scripts' digits in, and int() any number of them.
    if not (given.isascii() and given.isdecimal()) or len(given) > len(str(max_ms)):
        raise _bad_timeout(max_ms)
    milliseconds = int(given)
    if not 1 <= milliseconds <= max_ms:
        raise _bad_timeout(max_ms)
    return milliseconds / _MS_PER_S


def server_timing(stages: Stages) -> str:
    """Return the header that says where the time went, in milliseconds."""
    return (
        f"tokenize;dur={stages.tokenize_s * _MS_PER_S:.3f}, queue;dur={stages.queue_s * _MS_PER_S:.3f}, "
        f"infer;dur={stages.infer_s * _MS_PER_S:.3f}, decode;dur={stages.decode_s * _MS_PER_S:.3f}, "
        f"total;dur={stages.total_s * _MS_PER_S:.3f}"
    )


def _bad_timeout(max_ms: int) -> ShapeError:
    return ShapeError(f"{TIMEOUT} must be a whole number of milliseconds from 1 to {max_ms}.")
