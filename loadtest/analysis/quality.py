"""Right answers compared on the same items: did one arm get more of them right?

Items are paired: both arms answered them. The interval of a difference is made of what each unit gains and
loses (``gains``), and holds from one unit on; the test is McNemar's exact one for right and wrong answers,
and one that swaps the arms unit by unit for other scores (F1 over tags). Where items are translations of each
other, they are one unit: give them one cluster.

What so few units have not shown may be there all the same: where no unit differs, the interval is as wide as
that allows (the rule of three), and "equivalent" takes so many units that a difference as rare as the margin
would have shown.

Effects are differences of scores in 0..1, arm - reference.

Source: McNemar (1947); Yeh, "More accurate tests for the statistical significance of result differences"
(2000); Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?" (1983).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar

from loadtest.analysis.gains import difference_interval, unit_differences

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import ArrayLike, NDArray

    from loadtest.analysis.interval import Interval

NUM_RESAMPLES = 1999
_MAX_INDICES = 250_000

# From sums over items, ``[..., k]``, to scores, ``[...]``.
Score = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]


class QualityVerdict(StrEnum):
    """What a comparison says of an arm's answers against the reference's."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityDifference:
    """Scores of both arms on the same ``n`` items, and their difference, arm - reference.

    ``num_better``, ``num_worse``: items that only the arm, or only the reference, got right; None where
    items are not right or wrong. ``equivalence_interval`` is held against ``margin``: the 90 % one where a
    claim of equivalence is the only one.
    """

    n: int
    score: float
    reference_score: float
    difference: float
    interval: Interval
    equivalence_interval: Interval
    p_value: float
    margin: float
    verdict: QualityVerdict
    num_better: int | None = None
    num_worse: int | None = None


def compare_accuracy(
    correct: ArrayLike,
    reference_correct: ArrayLike,
    *,
    margin: float,
    alpha: float = 0.05,
    num_claims: int = 1,
) -> QualityDifference:
    """Compare which of the same independent items ``[n]`` either arm got right.

    ``num_claims``: how many comparisons share one chance, ``alpha``, that some claim of equivalence is false.

    Raises:
        ValueError: there are no items, or not the same number.
    """
    ours, theirs = np.asarray(correct, dtype=np.bool_), np.asarray(reference_correct, dtype=np.bool_)
    _check(ours.shape, theirs.shape)
    n = ours.size
    better, worse = int(np.count_nonzero(ours & ~theirs)), int(np.count_nonzero(theirs & ~ours))
    table = [[int(np.count_nonzero(ours & theirs)), worse], [better, int(np.count_nonzero(~ours & ~theirs))]]
    away = ours.astype(np.float64) - theirs
    interval, equivalence = _intervals(away, alpha, num_claims)
    p_value = float(mcnemar(table, exact=True).pvalue)
    return QualityDifference(
        n=n,
        score=float(ours.mean()),
        reference_score=float(theirs.mean()),
        difference=(better - worse) / n,
        interval=interval,
        equivalence_interval=equivalence,
        p_value=p_value,
        margin=margin,
        verdict=_verdict(interval, equivalence, p_value, margin),
        num_better=better,
        num_worse=worse,
    )


def compare_scores(  # noqa: PLR0913 - two arms, what they are scored by, and how finely
    counts: ArrayLike,
    reference_counts: ArrayLike,
    score: Score,
    *,
    margin: float,
    rng: Generator,
    clusters: ArrayLike | None = None,
    alpha: float = 0.05,
    num_claims: int = 1,
) -> QualityDifference:
    """Compare scores that come from sums over items.

    ``counts`` ``[n, k]``: what each item adds (true positives, false positives, ...), for either
    arm; ``score`` turns sums ``[..., k]`` into scores ``[...]``. ``clusters`` ``[n]``: items
    with the same label are one unit (translations of one item). ``num_claims``: as for ``compare_accuracy``.

    Raises:
        ValueError: there are no items, or not the same number.
    """
    ours, theirs = np.asarray(counts, dtype=np.float64), np.asarray(reference_counts, dtype=np.float64)
    _check(ours.shape, theirs.shape)
    n = ours.shape[0]
    ours, theirs = (_by_cluster(array, clusters) for array in (ours, theirs))
    totals, reference_totals = ours.sum(axis=0), theirs.sum(axis=0)
    difference = float(score(totals) - score(reference_totals))
    away = unit_differences(ours, theirs, score)
    interval, equivalence = _intervals(away, alpha, num_claims)
    p_value = _swap_p(ours, theirs, score, difference, rng)
    return QualityDifference(
        n=n,
        score=float(score(totals)),
        reference_score=float(score(reference_totals)),
        difference=difference,
        interval=interval,
        equivalence_interval=equivalence,
        p_value=p_value,
        margin=margin,
        verdict=_verdict(interval, equivalence, p_value, margin),
    )


def micro_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return F1 from sums of ``[matched, predicted, gold]``; 0 where nothing was predicted nor there."""
    named = sums[..., 1] + sums[..., 2]
    return np.asarray(2 * sums[..., 0] / np.where(named > 0, named, 1.0), dtype=np.float64)


def mean_score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of items whose counts are ``[value, 1]``, for ``compare_scores``."""
    return np.asarray(sums[..., 0] / sums[..., 1], dtype=np.float64)


def _intervals(away: NDArray[np.float64], alpha: float, num_claims: int) -> tuple[Interval, Interval]:
    """Return the interval for the reader and the one that is held against the margin."""
    levels = (1 - alpha, 1 - 2 * alpha / num_claims)
    interval, equivalence = (difference_interval(away, level) for level in levels)
    return interval, equivalence


def _swap_p(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    score: Score,
    difference: float,
    rng: Generator,
) -> float:
    """Return how often swapping the arms, unit by unit, gives a difference as large."""
    away = theirs - ours
    flips = (rng.integers(2, size=(count, len(ours))).astype(np.float64) for count in _chunks(len(ours)))
    moved = np.concatenate([swapped @ away for swapped in flips])
    drawn = score(ours.sum(axis=0) + moved) - score(theirs.sum(axis=0) - moved)
    beyond = int(np.count_nonzero(np.abs(drawn) >= abs(difference) - 1e-12))
    return (1 + beyond) / (NUM_RESAMPLES + 1)


def _chunks(n: int) -> list[int]:
    """Cut the resamples into portions whose indices fit in a few megabytes."""
    size = max(1, min(NUM_RESAMPLES, _MAX_INDICES // n))
    return [min(size, NUM_RESAMPLES - start) for start in range(0, NUM_RESAMPLES, size)]


def _by_cluster(array: NDArray[np.float64], clusters: ArrayLike | None) -> NDArray[np.float64]:
    if clusters is None:
        return array
    _, which = np.unique(np.asarray(clusters), return_inverse=True)
    summed = np.zeros((int(which.max()) + 1, array.shape[1]))
    np.add.at(summed, which, array)
    return summed


def _verdict(interval: Interval, equivalence: Interval, p_value: float, margin: float) -> QualityVerdict:
    if equivalence.within(-margin, margin):
        return QualityVerdict.EQUIVALENT
    # Interval and test are built differently and part near the edge; a claim needs both.
    if not interval.excludes(0.0) or p_value >= 1 - interval.level:
        return QualityVerdict.INCONCLUSIVE
    return QualityVerdict.BETTER if interval.low > 0 else QualityVerdict.WORSE


def _check(shape: tuple[int, ...], reference_shape: tuple[int, ...]) -> None:
    if shape != reference_shape or not shape or shape[0] == 0:
        raise ValueError(
            f"Items of shape {shape} and {reference_shape} are not the same; compare what both arms answered."
        )
