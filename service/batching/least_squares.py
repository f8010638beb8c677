"""Least squares over coefficients that are not negative, from its normal equations; pure.

Rules: for a handful of unknowns, whose supports are tried until one is feasible and no term outside of it
would lower the sum: that is the exact answer. Plain numbers, since arrays of three cost more to make than
to compute with; it runs for every batch, on the event loop.

Source: Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23.
"""

from __future__ import annotations

from itertools import combinations
from math import sqrt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence as Many

# Relative to the scaled diagonal; keeps unseen directions solvable without moving the seen ones.
_RIDGE: Final = 1e-9
# A term that was never seen has a diagonal of zero.
_TINY: Final = 1e-300


def nonnegative(information: Many[Many[float]], target: Many[float]) -> tuple[float, ...]:
    """Minimise ``x @ information @ x - 2 * target @ x`` over ``x >= 0``.

    ``information``: ``[K, K]``, symmetric, no negative eigenvalue. ``target``: ``[K]``. Returns ``[K]``.
    """
    num_terms = len(target)
    scale = [sqrt(max(information[term][term], _TINY)) for term in range(num_terms)]
    scaled = [
        [value / (scale[row] * scale[column]) for column, value in enumerate(values)]
        for row, values in enumerate(information)
    ]
    wanted = [value / scale[term] for term, value in enumerate(target)]
    best, best_loss = [0.0] * num_terms, 0.0
    for size in range(num_terms, 0, -1):
        for support in combinations(range(num_terms), size):
            found = _solve([[scaled[i][j] for j in support] for i in support], [wanted[i] for i in support])
            if min(found) < 0.0:
                continue
            # At the minimum over a support, x @ information @ x is target @ x.
            loss = -sum(value * wanted[term] for term, value in zip(support, found, strict=True))
            if loss < best_loss:
                best_loss, best = loss, [0.0] * num_terms
                for term, value in zip(support, found, strict=True):
                    best[term] = value
            if _is_least(scaled, wanted, support, found):
                return tuple(value / scale[term] for term, value in enumerate(best))
    # Where rounding hides which support is the one: the best of all.
    return tuple(value / scale[term] for term, value in enumerate(best))


def _is_least(
    scaled: list[list[float]], wanted: list[float], support: tuple[int, ...], found: list[float]
) -> bool:
    """Whether no term outside of a support would lower the sum, were it a little above zero."""
    return all(
        sum(scaled[term][other] * value for other, value in zip(support, found, strict=True)) >= wanted[term]
        for term in range(len(wanted))
        if term not in support
    )


def _solve(system: list[list[float]], wanted: list[float]) -> list[float]:
    """Solve a symmetric positive semidefinite system, its diagonal lifted a little; both are overwritten."""
    size = len(wanted)
    for pivot in range(size):
        system[pivot][pivot] += _RIDGE
    # No pivoting: elimination is stable on positive definite systems.
    for pivot in range(size):
        for row in range(pivot + 1, size):
            factor = system[row][pivot] / system[pivot][pivot]
            for column in range(pivot, size):
                system[row][column] -= factor * system[pivot][column]
            wanted[row] -= factor * wanted[pivot]
    for pivot in reversed(range(size)):
        known = sum(system[pivot][column] * wanted[column] for column in range(pivot + 1, size))
        wanted[pivot] = (wanted[pivot] - known) / system[pivot][pivot]
    return wanted
