"""Which arm answers better: the same items, answered by both unloaded, compared task by task. Pure.

Accuracy by McNemar; QA, retrieval and tagging by a paired bootstrap over items. Holm over tasks. A score
of a synthetic variant says nothing, and the report says that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.multiplicity import holm
from loadtest.analysis.quality import compare_accuracy, compare_scores, mean_score
from loadtest.datasets.tasks import Metric
from loadtest.report.study_record import Correction, QualityDifference, VerdictWord
from loadtest.study.comparisons import interval_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.random import Generator
    from numpy.typing import NDArray

    from loadtest.analysis.quality import QualityDifference as Found
    from loadtest.analysis.scoring import ItemScore, Score

# A point of a score either way; the benchmark itself reports to a tenth of one.
QUALITY_MARGIN = 0.01


def compare_quality(
    scores: Iterable[Score], reference: Iterable[Score], rng: Generator, *, alpha: float
) -> tuple[QualityDifference, ...]:
    """Compare two arms' scores, task by task, over the items that both were asked."""
    ours, theirs = _by_task(scores), _by_task(reference)
    metrics: dict[str, Metric] = {task: metric for task, (metric, _) in ours.items()}
    found: dict[str, Found] = {}
    for task in sorted(ours.keys() & theirs.keys()):
        items = sorted(ours[task][1].keys() & theirs[task][1].keys())
        if items:
            pairs = [(ours[task][1][item], theirs[task][1][item]) for item in items]
            found[task] = _compare(metrics[task], pairs, rng, alpha)
    corrected = holm({task: difference.p_value for task, difference in found.items()})
    return tuple(_record(task, metrics[task], found[task], corrected[task], alpha) for task in found)


def _by_task(scores: Iterable[Score]) -> dict[str, tuple[Metric, dict[str, ItemScore]]]:
    tasks: dict[str, tuple[Metric, dict[str, ItemScore]]] = {}
    for score in scores:
        _, items = tasks.setdefault(score.task.value, (score.metric, {}))
        items.update({item.item: item for item in score.items})
    return tasks


def _compare(metric: Metric, pairs: list[tuple[ItemScore, ItemScore]], rng: Generator, alpha: float) -> Found:
    if all(score.counts is not None for pair in pairs for score in pair):
        counted = [[_counts(score) for score in pair] for pair in pairs]
        sides = np.array(counted, dtype=np.float64)
        return compare_scores(
            sides[:, 0], sides[:, 1], _micro_f1, margin=QUALITY_MARGIN, rng=rng, alpha=alpha
        )
    if metric is Metric.ACCURACY:
        correct = np.array([[score.is_correct for score in pair] for pair in pairs])
        return compare_accuracy(correct[:, 0], correct[:, 1], margin=QUALITY_MARGIN, alpha=alpha)
    values = np.array([[[score.value, 1.0] for score in pair] for pair in pairs])
    return compare_scores(values[:, 0], values[:, 1], mean_score, margin=QUALITY_MARGIN, rng=rng, alpha=alpha)


def _counts(score: ItemScore) -> tuple[int, int, int]:
    counts = score.counts
    assert counts is not None, "Items without counts are compared otherwise. This is a bug."
    return counts.num_matched, counts.num_predicted, counts.num_gold


def _micro_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return F1 from sums ``[..., (matched, predicted, gold)]``; 0 where nothing was there to find."""
    total = sums[..., 1] + sums[..., 2]
    f1: NDArray[np.float64] = np.divide(
        2 * sums[..., 0], total, out=np.zeros_like(total, dtype=np.float64), where=total > 0
    )
    return f1


def _record(
    task: str, metric: Metric, found: Found, p_value: float | None, alpha: float
) -> QualityDifference:
    word = VerdictWord(found.verdict.value)
    survives = p_value is not None and p_value < alpha
    if word in (VerdictWord.BETTER, VerdictWord.WORSE) and not survives:
        word = VerdictWord.INCONCLUSIVE
    return QualityDifference(
        task=task,
        metric=metric.value,
        n=found.n,
        score=found.score,
        reference_score=found.reference_score,
        difference=found.difference,
        interval=interval_of(found.interval),
        p_value=p_value,
        correction=Correction.HOLM,
        word=word,
    )
