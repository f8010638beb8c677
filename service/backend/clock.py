"""The time that a backend lives in, so that tests can make it pass."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """Something that will be called."""

    def cancel(self) -> None:
        """Let it not be called."""
        ...


class Clock(Protocol):
    """Monotonic seconds, and calls after some of them."""

    def time(self) -> float:
        """Return the moment it is."""
        ...

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Call once after a delay, on the event loop."""
        ...


class LoopClock:
    """The running event loop's timers on the system's monotonic clock.

    Not the loop's own ``time()``: uvloop's counts whole milliseconds, and stands still while a
    callback runs.
    """

    def time(self) -> float:
        """Return the system's monotonic seconds, the same in every thread and process."""
        return time.monotonic()

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Call once after a delay, on the running event loop."""
        return asyncio.get_running_loop().call_later(max(0.0, delay_s), callback)
