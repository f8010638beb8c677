"""The sign-flip test: had the arms been alike, each unit's sign would be a coin's.

Exact up to sixteen units (65,536 ways to flip), by random flips beyond. It assumes
nothing but symmetry, and so checks the intervals, whose tails assume more. With five
units or fewer its least p-value is above 5 %: it cannot speak there.

Source: Fisher, "The Design of Experiments" (1935), 21; Phipson and Smyth,
"Permutation p-values should never be zero" (2010).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import ArrayLike

MAX_EXACT_UNITS = 16
NUM_FLIPS = 9999
# Sums of the same values in another order differ in their last bits; those count as equal.
_TIE = 1e-12


def sign_flip_p(units: ArrayLike, rng: Generator) -> float:
    """Return the two-sided p-value that the mean of symmetric units ``[n]`` is 0."""
    values = np.asarray(units, dtype=np.float64)
    n = values.size
    if n == 0:
        return 1.0
    observed = abs(float(values.sum())) * (1 - _TIE)
    if n <= MAX_EXACT_UNITS:
        # The first sign is fixed: flipping all changes no absolute value.
        bits = np.arange(2 ** (n - 1))[:, np.newaxis] >> np.arange(n - 1) & 1
        sums = values[0] + (1.0 - 2.0 * bits) @ values[1:]
        return float(np.mean(np.abs(sums) >= observed))
    # As doubles, which numpy multiplies with BLAS and integers without.
    signs = 1.0 - 2.0 * rng.integers(2, size=(NUM_FLIPS, n), dtype=np.int8)
    beyond = int(np.count_nonzero(np.abs(signs @ values) >= observed))
    return (1 + beyond) / (NUM_FLIPS + 1)
