"""Which arm answers better: the same items, answered by both unloaded, compared task by task. Pure.

What is right or wrong is tested by McNemar; other scores by swapping the arms unit by unit; intervals are of
what units gain and lose. Where a task's items are translations of each other, an item in all its languages is
one unit: by the data set's own ids, which the trace holds, or by the line where every language's file has the
same lines. Tasks share the risk of a false claim: differences by Holm, equivalences evenly. A score of a
synthetic variant says nothing, and the report says that.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.multiplicity import holm
from loadtest.analysis.quality import compare_accuracy, compare_scores, mean_score, micro_f1
from loadtest.datasets.tasks import TASKS, Metric, Task
from loadtest.report.study_record import Correction, QualityDifference, VerdictWord
from loadtest.study.comparisons import interval_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.random import Generator

    from loadtest.analysis.quality import QualityDifference as Found
    from loadtest.analysis.scoring import ItemScore, Score

# A point of a score either way; the benchmark itself reports to a tenth of one.
QUALITY_MARGIN = 0.01

RIGHT_OR_WRONG = frozenset({Metric.ACCURACY, Metric.RETRIEVAL_ACCURACY})

# Line i of one language translates line i of another.
# Source: Conneau et al. 2018 (XNLI), Ponti et al. 2020 (XCOPA), Artetxe et al. 2020 (XQuAD), Roy et al. 2020
# (LAReQA, whose questions are XQuAD's; where a language lacks one, those after it are put with others).
PARALLEL = frozenset({Task.XNLI, Task.XCOPA, Task.XQUAD, Task.LAREQA})
# Translations that stand on other lines in each language. Source: Lewis et al. 2020.
SCATTERED = frozenset({Task.MLQA})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Risk:
    """The chance of a false claim, and how many comparisons share it."""

    alpha: float
    num_claims: int


def compare_quality(  # noqa: PLR0913 - two sides, and by name what is said of them
    scores: Iterable[Score],
    reference: Iterable[Score],
    rng: Generator,
    *,
    arm: str,
    alpha: float,
    units: Mapping[str, str] = MappingProxyType({}),
) -> tuple[QualityDifference, ...]:
    """Compare two arms' scores, task by task, over the items that both were asked.

    ``units``: what translations share, by item id, where the trace says it.
    """
    ours, theirs = _by_task(scores), _by_task(reference)
    metrics: dict[str, Metric] = {task: metric for task, (metric, _) in ours.items()}
    asked = {
        task: sorted(ours[task][1].keys() & theirs[task][1].keys()) for task in ours.keys() & theirs.keys()
    }
    risk = _Risk(alpha=alpha, num_claims=sum(map(bool, asked.values())))
    found: dict[str, Found] = {}
    for task, items in sorted(asked.items()):
        if items:
            pairs = [(ours[task][1][item], theirs[task][1][item]) for item in items]
            together = [units.get(item) or _unit_of(task, item) for item in items]
            found[task] = _compare(metrics[task], pairs, together, rng, risk)
    corrected = holm({task: difference.p_value for task, difference in found.items()})
    return tuple(
        _record(task, metrics[task], difference, corrected[task], alpha).model_copy(update={"arm": arm})
        for task, difference in found.items()
    )


def _by_task(scores: Iterable[Score]) -> dict[str, tuple[Metric, dict[str, ItemScore]]]:
    tasks: dict[str, tuple[Metric, dict[str, ItemScore]]] = {}
    for score in scores:
        _, items = tasks.setdefault(score.task.value, (score.metric, {}))
        items.update({item.item: item for item in score.items})
    return tasks


def counted_apart(scores: Iterable[Score], units: Mapping[str, str]) -> tuple[str, ...]:
    """Say of which tasks translations are counted as if they did not hang together."""
    languages: dict[Task, set[str]] = {}
    for score in scores:
        if score.task in SCATTERED and any(item.item not in units for item in score.items):
            languages.setdefault(score.task, set()).add(score.language)
    return tuple(
        f"{TASKS[task].title} asks one question in several languages, and this trace does not say which "
        "items are one: each counts by itself, and the interval of the score's difference is narrower than "
        "it should be; a trace that is built anew says it."
        for task, found in languages.items()
        if len(found) > 1
    )


def _unit_of(task: str, item: str) -> str:
    return item.rpartition("/")[2] if task in PARALLEL else item


def _compare(
    metric: Metric,
    pairs: list[tuple[ItemScore, ItemScore]],
    units: list[str],
    rng: Generator,
    risk: _Risk,
) -> Found:
    if metric in RIGHT_OR_WRONG and len(set(units)) == len(units):
        correct = np.array([[score.is_correct for score in pair] for pair in pairs])
        return compare_accuracy(
            correct[:, 0],
            correct[:, 1],
            margin=QUALITY_MARGIN,
            alpha=risk.alpha,
            num_claims=risk.num_claims,
        )
    counted = all(score.counts is not None for pair in pairs for score in pair)
    values = [[_counts(score) if counted else (score.value, 1.0) for score in pair] for pair in pairs]
    sides = np.array(values, dtype=np.float64)
    return compare_scores(
        sides[:, 0],
        sides[:, 1],
        micro_f1 if counted else mean_score,
        margin=QUALITY_MARGIN,
        rng=rng,
        clusters=units,
        alpha=risk.alpha,
        num_claims=risk.num_claims,
    )


def _counts(score: ItemScore) -> tuple[int, int, int]:
    counts = score.counts
    assert counts is not None, "Items without counts are compared otherwise. This is a bug."
    return counts.num_matched, counts.num_predicted, counts.num_gold


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
