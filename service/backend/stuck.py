"""Whether a batch takes so long that its device must be stuck.

Rules: what counts is the time that this process itself was awake: the limit is looked at in ten parts, so
that a process that was stopped for a minute takes no batch for stuck when it goes on. The limit is generous,
since what follows is a restart: a batch that is slow ends by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.backend.clock import Clock, Timer

# Predictions are off by half at the worst (a machine that others use, docs/benchmarks); a device that takes
# ten times as long as it did is not one to wait for.
_TIMES_EXPECTED: Final = 10.0
# Of the setting, where nothing is known of what a batch costs: sixteen thousand tokens of XLM-R large take
# two slow cores minutes.
_TIMES_UNKNOWN: Final = 10.0
_NUM_PARTS: Final = 10


def limit_s(least_s: float, expected_s: float) -> float:
    """Return how long batches may take that are expected to take so long together; 0 seconds if nobody knows.

    ``least_s``: what any batch may take, however small.
    """
    if expected_s <= 0.0:
        return _TIMES_UNKNOWN * least_s
    return max(least_s, _TIMES_EXPECTED * expected_s)


class Limit:
    """Calls once after a time, unless it is ended before."""

    def __init__(self, seconds: float, on_end: Callable[[], object], *, clock: Clock) -> None:
        self._part_s = seconds / _NUM_PARTS
        self._num_left = _NUM_PARTS
        self._on_end = on_end
        self._clock = clock
        self._timer: Timer = clock.call_later(self._part_s, self._look)

    def end(self) -> None:
        """Call no more."""
        self._timer.cancel()

    def _look(self) -> None:
        self._num_left -= 1
        if self._num_left:
            self._timer = self._clock.call_later(self._part_s, self._look)
        else:
            self._on_end()
