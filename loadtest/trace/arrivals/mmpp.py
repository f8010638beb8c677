"""The probability of each gap of a two-state Markov-modulated Poisson process, its phase unseen.

With ``Q`` the generator of the phases and ``L`` the diagonal of rates, the chance that
no arrival comes for ``g`` seconds is ``p exp((Q - L) g) 1``, where ``p`` is what the
arrivals so far tell of the phase; an arrival then multiplies ``p`` by the rates.
The exponential of a two by two matrix has a closed form.

Source: Fischer and Meier-Hellstern, "The Markov-modulated Poisson process cookbook" (1993).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtest.trace.arrivals.gaps import Gaps


def filtered_uniforms(
    gaps: Gaps,
    *,
    rates_per_s: tuple[float, float],
    leave_per_s: tuple[float, float],
    first: tuple[float, float],
) -> NDArray[np.float64]:
    """Return each gap's probability given those before it, ``[n]``; i.i.d. uniform under the law.

    ``leave_per_s``: the rate of leaving each state. ``first``: the states' shares at 0.
    """
    counted = _silence(gaps.counted_s, rates_per_s, leave_per_s)
    # Rows sum over the state at the gap's end: the chance of silence from each state at its start.
    low0, low1 = _silence(gaps.low_s, rates_per_s, leave_per_s).sum(axis=1)
    high0, high1 = _silence(gaps.high_s, rates_per_s, leave_per_s).sum(axis=1)
    shares0 = _shares(counted, rates_per_s, first)
    low = 1 - (shares0 * low0 + (1 - shares0) * low1)
    high = 1 - (shares0 * high0 + (1 - shares0) * high1)
    return gaps.spread(low, high)


def _silence(
    gaps_s: NDArray[np.float64], rates_per_s: tuple[float, float], leave_per_s: tuple[float, float]
) -> NDArray[np.float64]:
    """Return ``exp((Q - L) g)`` as ``[2, 2, n]``: silence for a gap, from one state to the other."""
    a, d = -(leave_per_s[0] + rates_per_s[0]), -(leave_per_s[1] + rates_per_s[1])
    b, c = leave_per_s
    middle = (a + d) / 2
    # Real, since b and c are positive; both exponents, middle - spread and middle + spread, are at most 0.
    spread = math.sqrt(((a - d) / 2) ** 2 + b * c)
    fast = np.exp((middle - spread) * gaps_s)
    slow = np.exp((middle + spread) * gaps_s)
    even, odd = (slow + fast) / 2, (slow - fast) / (2 * spread)
    return np.array([[even + odd * (a - middle), odd * b], [odd * c, even + odd * (d - middle)]])


def _shares(
    silence: NDArray[np.float64], rates_per_s: tuple[float, float], first: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the chance, at the start of each gap, that the first state holds, ``[n]``."""
    shares = np.empty(silence.shape[2])
    p0, p1 = first
    for i, (s00, s01, s10, s11) in enumerate(silence.reshape(4, -1).T.tolist()):
        shares[i] = p0
        q0 = (p0 * s00 + p1 * s10) * rates_per_s[0]
        q1 = (p0 * s01 + p1 * s11) * rates_per_s[1]
        total = q0 + q1
        # A gap so long that its chance underflows says nothing more: begin anew.
        p0, p1 = (q0 / total, q1 / total) if total > 0 else first
    return shares
