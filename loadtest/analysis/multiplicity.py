"""Many comparisons at once, and how sure one may still be of each.

Primaries are tested in the order that was declared, each at full strength, until one
fails; tasks are corrected by Holm (no false claim at all, 95 % of the time);
task x language cells by Benjamini and Hochberg (few of the claims are false), and are
exploratory. Keys are whatever names a comparison; a missing p-value (None) stays
missing and does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

K = TypeVar("K")


def holm(p_values: Mapping[K, float | None]) -> dict[K, float | None]:
    """Return p-values adjusted by Holm: a claim below 5 % holds for the whole family."""
    return _adjusted(p_values, _holm)


def benjamini_hochberg(p_values: Mapping[K, float | None]) -> dict[K, float | None]:
    """Return p-values adjusted by Benjamini and Hochberg: of claims below 5 %, 5 % are false on average."""
    return _adjusted(p_values, stats.false_discovery_control)


def fixed_sequence(p_values: Sequence[tuple[K, float | None]], *, alpha: float = 0.05) -> tuple[K, ...]:
    """Return the claims that hold, tested uncorrected in the declared order up to the first failure."""
    held: list[K] = []
    for key, p in p_values:
        if p is None or p >= alpha:
            break
        held.append(key)
    return tuple(held)


def _holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return adjusted values ``[n]``; statsmodels' own runs the garbage collector at each call."""
    order = np.argsort(p_values, kind="stable")
    stepped = p_values[order] * np.arange(p_values.size, 0, -1)
    adjusted = np.empty(p_values.size)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def _adjusted(
    p_values: Mapping[K, float | None], correct: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> dict[K, float | None]:
    known = [(key, p) for key, p in p_values.items() if p is not None]
    adjusted: dict[K, float | None] = dict.fromkeys(p_values)
    if known:
        corrected = correct(np.array([p for _, p in known]))
        adjusted.update({key: float(p) for (key, _), p in zip(known, corrected, strict=True)})
    return adjusted
