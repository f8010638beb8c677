"""A Locust worker that believes to be on another host: another boot, a clock 1,000 s ahead, no shared folder.

python foreign_worker.py LOCUST_OPTIONS..
"""

from __future__ import annotations

import time
from pathlib import Path

import locust.main

import loadtest.driver.identity

AHEAD_S = 1_000


def turn_the_clock() -> None:
    """Set this process apart from the coordinator's host."""
    monotonic, monotonic_ns = time.monotonic, time.monotonic_ns
    time.monotonic = lambda: monotonic() + AHEAD_S
    time.monotonic_ns = lambda: monotonic_ns() + AHEAD_S * 10**9
    loadtest.driver.identity._BOOT_ID = Path("/nowhere/boot_id")


if __name__ == "__main__":
    turn_the_clock()
    locust.main.main()  # type: ignore[no-untyped-call]  # Locust's, untyped
