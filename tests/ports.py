"""Ports for programs that must be told theirs before they listen.

Rule: none that the system hands to whoever leaves the choice to it, else it could be anybody's by then.
"""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_OWN_CHOICE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port that is free, and that the system gives to nobody who leaves the choice to it."""
    first = int(_OWN_CHOICE.read_text(encoding="ascii").split()[0])
    while True:
        port = random.SystemRandom().randrange(first // 2, first)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
