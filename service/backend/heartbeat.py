"""Whether a peer still lives: it is asked for a sign again and again, and one that gives none is told of.

Rules: what counts are questions without an answer, not seconds: a process that was itself stopped for a
minute (a suspended machine, a debugger) asks once when it goes on, and takes nobody for dead. Owns one timer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.backend.clock import Clock, Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a peer is asked for a sign of life, and how long it may give none."""

    period_s: float
    timeout_s: float

    @property
    def num_questions(self) -> int:
        """How many questions in a row may stay without an answer."""
        return max(1, ceil(self.timeout_s / self.period_s))


class Heartbeat:
    """Asks one peer."""

    def __init__(
        self,
        patience: Patience | None,
        *,
        clock: Clock,
        ask: Callable[[], object],
        on_silence: Callable[[], object],
    ) -> None:
        """Ask nothing yet. ``patience``: None for never. ``on_silence``: called once, when it is over."""
        self._patience = patience
        self._clock = clock
        self._ask = ask
        self._on_silence = on_silence
        self._num_unanswered = 0
        self._timer: Timer | None = None

    def start(self) -> None:
        """Ask from now on; nothing where that has begun."""
        if self._patience is not None and self._timer is None:
            self._num_unanswered = 0
            self._timer = self._clock.call_later(self._patience.period_s, self._beat)

    def heard(self) -> None:
        """Hear a sign of life."""
        self._num_unanswered = 0

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        assert self._patience is not None, "A heart beats that was never started. This is a bug."
        if self._num_unanswered >= self._patience.num_questions:
            self._timer = None
            self._on_silence()
            return
        self._num_unanswered += 1
        self._timer = self._clock.call_later(self._patience.period_s, self._beat)
        self._ask()
