"""Laws without instants of their own: every item is ready at 0 and the number in flight is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loadtest.trace.arrivals.law import Law, LawError, check_size

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline(Law):
    """Each item once, all at 0; the driver's limit bounds what is in flight. Measures the makespan."""

    @property
    def text(self) -> str:
        """The law as ``parse_law`` reads it."""
        return "offline"

    @property
    def is_open(self) -> bool:
        """False: a request is sent when another is done."""
        return False

    def expected_count(self, duration_s: float) -> None:
        """Return None: there are as many arrivals as items."""

    def times_us(self, duration_s: float, rng: Generator, *, num_items: int = 0) -> NDArray[np.int64]:
        """Return a zero for each item, int64 ``[num_items]``."""
        del rng
        return _all_at_zero(self, duration_s, num_items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Law):
    """Each item once, in the hands of ``num_clients`` that each wait for their answer before they go on."""

    num_clients: int

    @property
    def text(self) -> str:
        """The law as ``parse_law`` reads it."""
        return f"closed:{self.num_clients}"

    @property
    def is_open(self) -> bool:
        """False: a request is sent when another is done."""
        return False

    @property
    def max_inflight(self) -> int:
        """One request a client."""
        return self.num_clients

    def expected_count(self, duration_s: float) -> None:
        """Return None: how many are asked depends on how fast they are answered."""

    def times_us(self, duration_s: float, rng: Generator, *, num_items: int = 0) -> NDArray[np.int64]:
        """Return a zero for each item, int64 ``[num_items]``."""
        del rng
        return _all_at_zero(self, duration_s, num_items)


def _all_at_zero(law: Law, duration_s: float, num_items: int) -> NDArray[np.int64]:
    check_size(law, duration_s)
    if num_items < 1:
        raise LawError(f"{law.text} asks for each item once and was given none; add items to the trace.")
    return np.zeros(num_items, dtype=np.int64)
