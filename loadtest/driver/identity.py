"""Which process this is, and which clock it reads."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def identity() -> dict[str, Any]:
    """Say which process of which host this is; processes with one boot id share a monotonic clock."""
    try:
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        boot_id = f"{socket.gethostname()} {os.getpid()}"  # unknown: taken for a host of its own
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot_id": boot_id,
        "affinity": sorted(os.sched_getaffinity(0)),
    }
