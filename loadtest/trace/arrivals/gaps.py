"""Gaps between whole microseconds, and the probabilities of gaps known only so finely.

A law with clustered arrivals puts a noticeable share of its gaps below a microsecond,
and no sender keeps gaps apart that are shorter than its own lateness. So a gap stands
for a bin of gaps, and its probability is spread over the bin's by a fixed sequence of
random shares: uniform if the law holds, and the same at each call. (An even sequence
would not do: neighbours in it are correlated, and so would be the gaps.)

Source: Smith, "Diagnostic checks of non-standard time series models" (1985), the
randomised probability transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loadtest.trace.arrivals.law import MICROSECONDS, LawError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHARES_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gaps:
    """The gap before each arrival, float64 seconds ``[n]``: as counted, and the bin that it stands for.

    ``shares`` in (0, 1) says where in its bin each is put.
    """

    counted_s: NDArray[np.float64]
    low_s: NDArray[np.float64]
    high_s: NDArray[np.float64]
    shares: NDArray[np.float64]

    def spread(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a probability ``[n]`` between those of the bins' two ends."""
        return low + self.shares * (high - low)


def gaps(times_us: NDArray[np.int64], *, resolution_us: int) -> Gaps:
    """Return the gaps before arrivals ``[n]``, the first counted from 0, in bins of a resolution.

    Raises:
        LawError: the resolution is below a microsecond.
    """
    if resolution_us < 1:
        raise LawError(
            f"A resolution of {resolution_us} us is below the microsecond that instants are kept in."
        )
    counted = np.diff(times_us, prepend=np.int64(0))
    first = counted // resolution_us * resolution_us
    # A difference of two rounded instants is off by up to half a unit on average, either way.
    low = np.maximum(first - 0.5, 0.0)
    return Gaps(
        counted_s=counted / MICROSECONDS,
        low_s=low / MICROSECONDS,
        high_s=(first + resolution_us - 0.5) / MICROSECONDS,
        shares=np.random.Generator(np.random.PCG64(_SHARES_SEED)).random(counted.size),
    )
