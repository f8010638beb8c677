"""What every law of arrivals answers, and the error that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

MICROSECONDS = 1_000_000
# A schedule is held in memory and written as one line an arrival; past this a slip is likelier than a wish.
MAX_ARRIVALS = 20_000_000


class LawError(ValueError):
    """A law cannot be parsed, loaded or drawn; the sentence says what to write instead."""


class Law(ABC):
    """When requests arrive; every law is a frozen record."""

    __slots__ = ()

    @property
    @abstractmethod
    def text(self) -> str:
        """The law as ``parse_law`` reads it."""

    @property
    def is_open(self) -> bool:
        """Whether instants are fixed in advance; False for ``offline`` and ``closed``."""
        return True

    @property
    def max_inflight(self) -> int | None:
        """How many requests may be outstanding; None where the law bounds nothing."""
        return None

    @abstractmethod
    def expected_count(self, duration_s: float) -> float | None:
        """Return the mean number of arrivals in ``[0, duration_s)``; None where the law does not say."""

    @abstractmethod
    def times_us(self, duration_s: float, rng: Generator, *, num_items: int = 0) -> NDArray[np.int64]:
        """Return sorted instants in ``[0, duration_s)``, int64 microseconds ``[n]``.

        ``num_items`` is read only by laws that are not open: they ask for each item
        once, all at 0.

        Raises:
            LawError: the duration is not positive, or the schedule would not fit.
        """

    def uniforms(self, times_us: NDArray[np.int64], *, resolution_us: int = 1) -> NDArray[np.float64] | None:
        """Return values ``[n]`` that are i.i.d. uniform under the law; None where it has no randomness.

        Each is the law's probability of an arrival this early, given those before it
        (Rosenblatt's transform; for a varying rate, the time-rescaling theorem). Gaps
        that fall into one bin of ``resolution_us`` are not told apart: give the lateness
        that is allowed when instants are those at which requests were sent.
        """
        del times_us, resolution_us
        return None


def check_size(law: Law, duration_s: float, *, num_draws: float = 0.0) -> None:
    """Raise a LawError unless the duration is positive and the schedule can be drawn and held.

    ``num_draws``: what has to be drawn beside the arrivals, about.
    """
    if not 0 < duration_s < float("inf"):
        raise LawError(f"The duration is {duration_s} s; give a positive number of seconds.")
    expected = law.expected_count(duration_s)
    if expected is not None and expected > MAX_ARRIVALS:
        raise LawError(
            f"{law.text} over {duration_s:g} s makes about {expected:.3g} arrivals, more than "
            f"{MAX_ARRIVALS:,}; lower the rate or the duration."
        )
    if num_draws > MAX_ARRIVALS:
        raise LawError(
            f"{law.text} over {duration_s:g} s takes about {num_draws:.3g} draws, more than "
            f"{MAX_ARRIVALS:,}; give longer phases, a lower peak rate or a shorter duration."
        )
