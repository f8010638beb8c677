"""One scorer for each metric: the items of one cell in, a value and every item's own score out.

Rules: a scorer sees at least one item; an item without an answer reads as an answer without any field; what
cannot be read is wrong and is named as malformed. Sums run in the order of the gold, so the same input gives
the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.scoring.normaliser import tokens_for
from loadtest.analysis.scoring.reading import best_text_of, label_or_choice_of, tags_of, texts_of, vector_of
from loadtest.analysis.scoring.retrieval import average_precision, nearest, normalise_rows
from loadtest.analysis.scoring.score import ItemScore, ScoringError
from loadtest.analysis.scoring.span import SpanScore, score_span
from loadtest.analysis.scoring.tagging import count_chunks, count_corpus_chunks, micro_f1
from loadtest.datasets.tasks import TASKS, Metric, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loadtest.analysis.scoring.retrieval import Progress
    from loadtest.analysis.scoring.score import Answer, Candidates, Gold, TagCounts

RANKS = 20  # Mewsli-X and LAReQA in XTREME-R (arXiv 2104.07412): mAP@20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Items of one task and language to score, in the order of their gold."""

    task: Task
    language: str
    ids: tuple[str, ...]
    answers: Mapping[str, Answer]
    gold: Mapping[str, Gold]
    labels: Mapping[str, str]
    candidates: Candidates | None
    progress: Progress | None

    def answer(self, item: str) -> Answer:
        """Return the answer, or an object without any field."""
        return self.answers.get(item, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The value of a cell, every item's own score, and the items whose answers had the wrong shape."""

    value: float | None
    items: tuple[ItemScore, ...]
    parts: Mapping[str, float]
    malformed: tuple[str, ...] = ()


def _score_labels(cell: Cell) -> Outcome:
    """Accuracy of labels (classify) or of choices (choose)."""
    items, malformed = [], []
    for item in cell.ids:
        given = label_or_choice_of(cell.answer(item), cell.labels)
        if given is None:
            malformed.append(item)
        right = given is not None and given == cell.gold[item]
        items.append(ItemScore(item=item, value=float(right), is_correct=right))
    return Outcome(value=_mean(items), items=tuple(items), parts={}, malformed=tuple(malformed))


def _score_tags(cell: Cell) -> Outcome:
    """Micro F1 over chunks, entities and UPOS alike; a wrong number of tags counts as no chunk found."""
    items, malformed, right_tokens = [], [], 0
    predictions: list[Sequence[str]] = []
    golds = [texts_of(cell.gold[item]) for item in cell.ids]
    for item, gold in zip(cell.ids, golds, strict=True):
        tags = tags_of(cell.answer(item), cell.labels)
        fits = len(tags) == len(gold)
        if not fits:
            malformed.append(item)
        predictions.append(tags if fits else ["O"] * len(gold))
        count = count_chunks(predictions[-1], gold)
        right = sum(map(_equal, tags, gold)) if fits else 0
        right_tokens += right
        items.append(
            ItemScore(
                item=item,
                value=_sentence_f1(count) if fits else 0.0,
                is_correct=fits and right == len(gold),
                counts=count,
            )
        )
    total = micro_f1([count_corpus_chunks(predictions, golds)])
    parts = {
        "precision": total.precision,
        "recall": total.recall,
        "token_accuracy": right_tokens / sum(map(len, golds)),
    }
    return Outcome(
        value=total.f1,
        items=tuple(items),
        parts={name: part for name, part in parts.items() if part is not None},
        malformed=tuple(malformed),
    )


def _score_spans(cell: Cell) -> Outcome:
    """(EM + F1) / 2 with the normaliser of task and language; no answer text is never right."""
    tokens = tokens_for(TASKS[cell.task].metric, cell.language)
    scores, items, malformed = [], [], []
    for item in cell.ids:
        text = best_text_of(cell.answer(item))
        if text is None:
            malformed.append(item)
        gold = [answer for answer in texts_of(cell.gold[item]) if answer]
        score = SpanScore(exact_match=0, f1=0) if text is None else score_span(text, gold, tokens)
        scores.append(score)
        items.append(ItemScore(item=item, value=score.mean, is_correct=score.exact_match == 1))
    parts = {
        "exact_match": sum(s.exact_match for s in scores) / len(scores),
        "f1": sum(s.f1 for s in scores) / len(scores),
    }
    return Outcome(
        value=(parts["exact_match"] + parts["f1"]) / 2,
        items=tuple(items),
        parts=parts,
        malformed=tuple(malformed),
    )


def _score_translation(cell: Cell) -> Outcome:
    """Accuracy of the single nearest candidate by cosine."""
    return _score_ranking(cell, k=1, is_cosine=True)


def _score_top(cell: Cell) -> Outcome:
    """Mean average precision of the 20 nearest candidates by inner product."""
    return _score_ranking(cell, k=RANKS, is_cosine=False)


def _score_ranking(cell: Cell, *, k: int, is_cosine: bool) -> Outcome:
    candidates = cell.candidates
    if candidates is not None and TASKS[cell.task].searches_own_language:
        candidates = candidates.in_languages_of({right for i in cell.ids for right in texts_of(cell.gold[i])})
    if candidates is None or not candidates.ids:
        raise ScoringError(
            f"{cell.task} in {cell.language} is a retrieval task and got no candidate embeddings; "
            "run the index phase first"
        )
    width = candidates.embeddings.shape[1]
    rows = {item: vector_of(cell.answer(item), width) for item in cell.ids}
    queries = np.stack([np.zeros(width, dtype=np.float32) if row is None else row for row in rows.values()])
    against = candidates.embeddings
    if is_cosine:
        queries, against = normalise_rows(queries), normalise_rows(against)
    ranks = nearest(queries, against, k, progress=cell.progress)
    items = []
    for ranked, (item, row) in zip(ranks, rows.items(), strict=True):
        ids = [] if row is None else [candidates.ids[i] for i in ranked]
        relevant = texts_of(cell.gold[item])
        items.append(
            ItemScore(
                item=item,
                value=average_precision(ids, relevant, k),
                is_correct=bool(ids) and ids[0] in relevant,
            )
        )
    return Outcome(
        value=_mean(items),
        items=tuple(items),
        parts={"accuracy_at_1": sum(i.is_correct for i in items) / len(items)},
        malformed=tuple(item for item, row in rows.items() if row is None),
    )


SCORERS: Mapping[Metric, Callable[[Cell], Outcome]] = MappingProxyType(
    {
        Metric.ACCURACY: _score_labels,
        Metric.UPOS_F1: _score_tags,
        Metric.ENTITY_F1: _score_tags,
        Metric.SQUAD: _score_spans,
        Metric.MLQA: _score_spans,
        Metric.RETRIEVAL_ACCURACY: _score_translation,
        Metric.MAP_AT_20: _score_top,
    }
)


def _sentence_f1(count: TagCounts) -> float:
    """Return the F1 of one sentence; 1 where there was no chunk to find and none was found."""
    f1 = micro_f1([count]).f1
    return 1.0 if f1 is None else f1


def _mean(items: Sequence[ItemScore]) -> float:
    return sum(item.value for item in items) / len(items)


def _equal(one: str, other: str) -> bool:
    return one == other
