"""Answers compared item by item: by hand, against statsmodels and seqeval's formula, and by symmetry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from loadtest.analysis.quality import (
    QualityVerdict,
    compare_accuracy,
    compare_scores,
    mean_score,
    micro_f1,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def answers(both: int, better: int, worse: int, neither: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    ours = np.repeat([True, True, False, False], [both, better, worse, neither])
    theirs = np.repeat([True, False, True, False], [both, better, worse, neither])
    return ours, theirs


def counted(correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.column_stack([correct, np.ones(correct.size)]).astype(np.float64)


def test_mcnemar_by_hand() -> None:
    # Ten items changed, nine for the better: 2 * (1 + 10) / 2**10.
    found = compare_accuracy(*answers(60, 9, 1, 30), margin=0.02)
    assert found.p_value == pytest.approx(22 / 1024)
    assert (found.num_better, found.num_worse) == (9, 1)
    assert found.score == pytest.approx(0.69)
    assert found.reference_score == pytest.approx(0.61)
    assert found.difference == pytest.approx(0.08)
    # The same by hand in test_analysis_gains.
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0131, 0.1614), abs=1e-4)
    assert found.verdict is QualityVerdict.BETTER


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (3, 3), (25, 10), (0, 7)])
def test_mcnemar_is_statsmodels_and_the_sign_test(better: int, worse: int) -> None:
    found = compare_accuracy(*answers(50, better, worse, 50), margin=0.02)
    theirs = mcnemar([[50, worse], [better, 50]], exact=True).pvalue
    assert found.p_value == pytest.approx(min(1.0, float(theirs)))
    if better + worse:
        assert found.p_value == pytest.approx(stats.binomtest(better, better + worse).pvalue)


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ((500, 50, 10, 440), QualityVerdict.BETTER),
        ((500, 10, 50, 440), QualityVerdict.WORSE),
        ((5000, 20, 20, 4960), QualityVerdict.EQUIVALENT),
        ((50, 3, 2, 45), QualityVerdict.INCONCLUSIVE),
    ],
)
def test_the_four_words(counts: tuple[int, int, int, int], verdict: QualityVerdict) -> None:
    ours, theirs = answers(*counts)
    assert compare_accuracy(ours, theirs, margin=0.01).verdict is verdict
    rng = np.random.default_rng(0)
    assert compare_scores(counted(ours), counted(theirs), mean_score, margin=0.01, rng=rng).verdict is verdict


def test_claims_of_equivalence_share_one_chance() -> None:
    """16 of 1,000 items changed, evenly: an error of 0.004, and a margin of 0.01 that is 2.5 errors away."""
    ours, theirs = answers(500, 8, 8, 484)
    for compare in (
        compare_accuracy,
        lambda a, b, **more: compare_scores(
            counted(a), counted(b), mean_score, rng=np.random.default_rng(0), **more
        ),
    ):
        alone, of_ten = (compare(ours, theirs, margin=0.01, num_claims=num) for num in (1, 10))
        assert (alone.verdict, of_ten.verdict) == (QualityVerdict.EQUIVALENT, QualityVerdict.INCONCLUSIVE)
        assert (alone.equivalence_interval.level, of_ten.equivalence_interval.level) == (0.9, 0.99)
        assert alone.interval == of_ten.interval


def tagged(rng: np.random.Generator, n: int, hit: float) -> NDArray[np.float64]:
    gold = rng.integers(1, 5, n)
    predicted = np.maximum(gold + rng.integers(-1, 2, n), 0)
    matched = rng.binomial(np.minimum(gold, predicted), hit)
    return np.column_stack([matched, predicted, gold]).astype(np.float64)


def test_micro_f1_is_precision_and_recall_s_harmonic_mean() -> None:
    counts = tagged(np.random.default_rng(1), 50, 0.8)
    matched, predicted, gold = counts.sum(axis=0)
    precision, recall = matched / predicted, matched / gold
    assert micro_f1(counts.sum(axis=0)) == pytest.approx(2 * precision * recall / (precision + recall))
    assert micro_f1(np.zeros(3)) == 0.0


def test_swapping_the_arms_turns_the_sign_and_keeps_the_p_value() -> None:
    rng = np.random.default_rng(5)
    ours, theirs = tagged(rng, 90, 0.95), tagged(rng, 90, 0.7)
    there = compare_scores(ours, theirs, micro_f1, margin=0.01, rng=np.random.default_rng(6))
    back = compare_scores(theirs, ours, micro_f1, margin=0.01, rng=np.random.default_rng(6))
    assert back.difference == -there.difference
    assert back.p_value == pytest.approx(there.p_value, abs=0.02)
    assert there.p_value < 0.05
    assert {there.verdict, back.verdict} == {QualityVerdict.BETTER, QualityVerdict.WORSE}


def test_swap_p_values_are_mcnemar_s_for_accuracy() -> None:
    ours, theirs = answers(60, 12, 4, 30)
    rng = np.random.default_rng(7)
    found = compare_scores(counted(ours), counted(theirs), mean_score, margin=0.02, rng=rng)
    assert found.p_value == pytest.approx(compare_accuracy(ours, theirs, margin=0.02).p_value, abs=0.02)


def test_translations_of_an_item_are_one_unit() -> None:
    # Eleven languages answer alike: eleven times the items, the same information.
    rng = np.random.default_rng(8)
    ours, theirs = (counted(rng.random(60) < p) for p in (0.75, 0.7))
    once = compare_scores(ours, theirs, mean_score, margin=0.02, rng=np.random.default_rng(9))
    many_ours, many_theirs = (np.repeat(a, 11, axis=0) for a in (ours, theirs))
    labels = np.repeat(np.arange(60), 11)
    clustered = compare_scores(
        many_ours, many_theirs, mean_score, margin=0.02, rng=np.random.default_rng(9), clusters=labels
    )
    fooled = compare_scores(many_ours, many_theirs, mean_score, margin=0.02, rng=np.random.default_rng(9))
    assert clustered.n == 660
    assert clustered.interval.low == pytest.approx(once.interval.low)
    assert clustered.p_value == pytest.approx(once.p_value)
    assert fooled.interval.high - fooled.interval.low < 0.5 * (once.interval.high - once.interval.low)


def test_identical_answers_differ_by_nothing() -> None:
    ours, _ = answers(30, 10, 0, 10)
    found = compare_accuracy(ours, ours, margin=0.1)
    assert (found.difference, found.p_value) == (0.0, 1.0)
    same = compare_scores(counted(ours), counted(ours), mean_score, margin=0.1, rng=np.random.default_rng(0))
    # Had a share s differed, none of 50 would with a chance of about exp(-50 s): 0.025 at s = 0.0738.
    assert (same.interval.low, same.interval.high) == pytest.approx((-0.0738, 0.0738), abs=1e-4)
    assert (same.difference, same.p_value) == (0.0, 1.0)
    assert same.verdict is QualityVerdict.EQUIVALENT


@pytest.mark.parametrize(
    ("num", "verdict"), [(299, QualityVerdict.INCONCLUSIVE), (300, QualityVerdict.EQUIVALENT)]
)
def test_few_items_cannot_say_equivalent_however_alike(num: int, verdict: QualityVerdict) -> None:
    # A hundredth of the items that differ goes unseen in 300 with a chance of about exp(-3) = 0.0498.
    ours, _ = answers(num, 0, 0, 0)
    same = compare_scores(counted(ours), counted(ours), mean_score, margin=0.01, rng=np.random.default_rng(0))
    assert same.verdict is verdict
    nearly = counted(ours)
    nearly[0, 0] -= 1e-6
    rng = np.random.default_rng(0)
    assert compare_scores(nearly, counted(ours), mean_score, margin=0.01, rng=rng).verdict is verdict


def test_a_rare_difference_is_rarely_called_none() -> None:
    # One item in fifty is wholly wrong in one arm; samples of 41 often hold none of them.
    rng = np.random.default_rng(11)
    held, called = 0, 0
    for _ in range(400):
        ours = counted(rng.random(41) < 0.98)
        found = compare_scores(ours, counted(np.ones(41, dtype=bool)), mean_score, margin=0.01, rng=rng)
        held += not found.interval.excludes(-0.02)
        called += found.verdict is QualityVerdict.EQUIVALENT
    assert held >= 0.95 * 400
    assert called == 0


def test_items_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="both arms answered"):
        compare_accuracy([True], [True, False], margin=0.01)
    with pytest.raises(ValueError, match="both arms answered"):
        compare_accuracy([], [], margin=0.01)
