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


def filtered_uniforms(
    gaps_s: NDArray[np.float64],
    *,
    rates_per_s: tuple[float, float],
    leave_per_s: tuple[float, float],
    first: tuple[float, float],
) -> NDArray[np.float64]:
    """Return each gap's probability given those before it, ``[n]``; i.i.d. uniform under the law.

    ``leave_per_s``: the rate of leaving each state. ``first``: the states' shares at 0.
    """
    a, d = -(leave_per_s[0] + rates_per_s[0]), -(leave_per_s[1] + rates_per_s[1])
    b, c = leave_per_s
    middle = (a + d) / 2
    # Real, since b and c are positive: the two exponents are middle - spread and middle + spread, both <= 0.
    spread = math.sqrt(((a - d) / 2) ** 2 + b * c)
    fast = np.exp((middle - spread) * gaps_s)
    slow = np.exp((middle + spread) * gaps_s)
    even, odd = (slow + fast) / 2, (slow - fast) / (2 * spread)
    stay0, move0 = even + odd * (a - middle), odd * b
    move1, stay1 = odd * c, even + odd * (d - middle)
    survival = np.empty(gaps_s.size)
    p0, p1 = first
    for i, (s0, m0, m1, s1) in enumerate(zip(stay0, move0, move1, stay1, strict=True)):
        q0, q1 = p0 * s0 + p1 * m1, p0 * m0 + p1 * s1
        survival[i] = q0 + q1
        p0, p1 = q0 * rates_per_s[0], q1 * rates_per_s[1]
        total = p0 + p1
        if total > 0:
            p0, p1 = p0 / total, p1 / total
        else:
            # An arrival that the law calls impossible, so late that its chance underflows: begin anew.
            p0, p1 = first
    return 1 - survival
