"""By how much batches take longer at present than they used to; pure.

Rules: what a machine does beside the engine (its own HTTP side, neighbours, a clock that falls) changes the
time of every batch alike and within seconds, and says nothing of how tokens compare with each other. So it
is a factor of its own, a mean of logarithms in which a batch of ten before counts a third as much, and in
which one odd batch, however long, moves it by five per cent at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import Final, Self

# What a batch counts for once others have been seen; until then all of them count alike. Replayed on what was
# served in float32 and int8, 0.1 to 0.2 had the least errors: less follows too late, more follows noise.
GAIN: Final = 0.1
# The most by which a batch may differ from its prediction and still count in full, a logarithm: 1.65.
BOUND: Final = 0.5
# What of the logarithm is let go of between batches by who learns the coefficients too (see `eased`).
RETURN: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A factor on predicted times. ``num_seen``: batches it was learnt from; its beginning counts as one."""

    logarithm: float = 0.0
    num_seen: int = 0

    @property
    def factor(self) -> float:
        """How many times as long batches take."""
        return exp(self.logarithm)

    def eased(self) -> Self:
        """Return the level a little nearer to 1, for whoever learns coefficients beside it.

        Only the product of the two is seen. Least squares of relative errors lie below a mean of logarithms,
        so both would drift without end: batches whose times spread by a fifth brought the factor to 3 after
        1,000 and to 1e27 after 60,000 of them. Eased it stays below 1.9, and the errors are the same.
        """
        return type(self)(logarithm=(1.0 - RETURN) * self.logarithm, num_seen=self.num_seen)

    def after(self, ratio: float) -> Self:
        """Return the level after a batch that took ``ratio`` times as long as its coefficients say."""
        assert ratio > 0.0, "A batch took no time. This is a bug."
        gain = max(GAIN, 1.0 / (self.num_seen + 2))
        surprise = min(max(log(ratio) - self.logarithm, -BOUND), BOUND)
        return type(self)(logarithm=self.logarithm + gain * surprise, num_seen=self.num_seen + 1)
