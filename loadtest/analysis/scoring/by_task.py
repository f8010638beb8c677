"""One entry point for all ten tasks: the answers and the gold of one task and language in, a Score out.

Rules: both mappings hold the items of this cell that were asked, keyed by item id. An item without gold is
counted, never scored; one without an answer is wrong, or skipped where the caller says so. An answer of the
wrong shape (a tag too few, a choice that is no index) is a wrong answer, never an exception: one bad reply
must not cost the report.
Labels are compared after the given mapping from the served label to the task's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from loadtest.analysis.scoring.normaliser import tokens_for
from loadtest.analysis.scoring.retrieval import Progress, average_precision, nearest, normalise_rows
from loadtest.analysis.scoring.score import (
    Answer,
    Candidates,
    Gold,
    ItemScore,
    Score,
    ScoringError,
    Unanswered,
    Vectors,
)
from loadtest.analysis.scoring.span import score_span
from loadtest.analysis.scoring.tagging import count_chunks, micro_f1
from loadtest.datasets.tasks import TASKS, Metric, Task

RANKS = 20  # Mewsli-X and LAReQA in XTREME-R (arXiv 2104.07412): mAP@20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
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
class _Outcome:
    value: float | None
    items: tuple[ItemScore, ...]
    parts: Mapping[str, float]
    malformed: tuple[str, ...] = ()


def score_task(  # noqa: PLR0913 - the one entry point; all but the first four are options by name
    task: Task | str,
    language: str,
    answers: Mapping[str, Answer],
    gold: Mapping[str, Gold],
    *,
    labels: Mapping[str, str] | None = None,
    candidates: Candidates | None = None,
    unanswered: Unanswered = Unanswered.WRONG,
    progress: Progress | None = None,
) -> Score:
    """Score the answers of one task in one language.

    Args:
        task: one of the ten of XTREME-R, for example ``"xnli"``.
        language: two letters; MLQA's normaliser depends on it.
        answers: item id -> the service's output object, or the row float32[H] of an embedding.
        gold: item id -> label, index, tags, answer texts or ids of the right candidates, of the items that
            were asked (not of all that the trace holds).
        labels: served label -> the task's label; a label that is not there stands for itself.
        candidates: what a retrieval task searches; LAReQA and Mewsli-X search all languages at once.
        unanswered: whether an item without an answer counts as wrong or takes no part.
        progress: told (similarities done, in all) by retrieval tasks.

    Raises:
        ScoringError: an unknown task, or a retrieval task without candidates.
    """
    spec = TASKS[_known(task)]
    given = [item for item in gold if _is_given(gold[item])]
    missing = [item for item in given if item not in answers]
    skipped = frozenset(missing) if unanswered is Unanswered.SKIP else frozenset()
    cell = _Cell(
        task=spec.task,
        language=language,
        ids=tuple(item for item in given if item not in skipped),
        answers=answers,
        gold=gold,
        labels=labels or {},
        candidates=candidates,
        progress=progress,
    )
    outcome = _SCORERS[spec.metric](cell) if cell.ids else _Outcome(value=None, items=(), parts={})
    return Score(
        task=spec.task,
        language=language,
        metric=spec.metric,
        value=outcome.value,
        n_scored=len(cell.ids),
        n_without_gold=sum(1 for item in answers if item not in gold or not _is_given(gold[item])),
        n_unanswered=len(missing),
        n_skipped=len(skipped),
        n_malformed=sum(1 for item in outcome.malformed if item in answers),
        parts=outcome.parts,
        items=outcome.items,
    )


def _known(task: Task | str) -> Task:
    try:
        return Task(task)
    except ValueError:
        raise ScoringError(f"no metric for task {task!r}; the tasks are {', '.join(Task)}") from None


def _is_given(gold: Gold) -> bool:
    """Tell gold from what stripped files leave in its place: an empty label, no answers, or blank ones."""
    if isinstance(gold, str):
        return bool(gold)
    if isinstance(gold, int):
        return True
    return any(gold)


def _score_labels(cell: _Cell) -> _Outcome:
    """Accuracy of labels (classify) or of choices (choose)."""
    items, malformed = [], []
    for item in cell.ids:
        given = _label_or_choice(cell.answer(item), cell.labels)
        if given is None:
            malformed.append(item)
        right = given is not None and given == cell.gold[item]
        items.append(ItemScore(item=item, value=float(right), is_correct=right))
    return _Outcome(value=_mean(items), items=tuple(items), parts={}, malformed=tuple(malformed))


def _score_tags(cell: _Cell) -> _Outcome:
    """Micro F1 over chunks, entities and UPOS alike; a wrong number of tags counts as no chunk found."""
    items, counts, malformed, tokens, right_tokens = [], [], [], 0, 0
    for item in cell.ids:
        gold = _texts(cell.gold[item])
        tags = _tags(cell.answer(item), cell.labels)
        if len(tags) != len(gold):
            malformed.append(item)
            tags = ["O"] * len(gold)
        count = count_chunks(tags, gold)
        counts.append(count)
        tokens += len(gold)
        right_tokens += sum(map(_equal, tags, gold))
        f1 = micro_f1([count]).f1
        items.append(
            ItemScore(item=item, value=1.0 if f1 is None else f1, is_correct=tags == list(gold), counts=count)
        )
    total = micro_f1(counts)
    parts = {"precision": total.precision, "recall": total.recall, "token_accuracy": right_tokens / tokens}
    return _Outcome(
        value=total.f1,
        items=tuple(items),
        parts={name: part for name, part in parts.items() if part is not None},
        malformed=tuple(malformed),
    )


def _score_spans(cell: _Cell) -> _Outcome:
    """(EM + F1) / 2 with the normaliser of task and language; no answer text counts as an empty one."""
    tokens = tokens_for(TASKS[cell.task].metric, cell.language)
    scores, items, malformed = [], [], []
    for item in cell.ids:
        text = _best_text(cell.answer(item))
        if text is None:
            malformed.append(item)
        score = score_span(text or "", [t for t in _texts(cell.gold[item]) if t], tokens)
        scores.append(score)
        items.append(ItemScore(item=item, value=score.mean, is_correct=score.exact_match == 1))
    parts = {
        "exact_match": sum(s.exact_match for s in scores) / len(scores),
        "f1": sum(s.f1 for s in scores) / len(scores),
    }
    return _Outcome(
        value=(parts["exact_match"] + parts["f1"]) / 2,
        items=tuple(items),
        parts=parts,
        malformed=tuple(malformed),
    )


def _score_translation(cell: _Cell) -> _Outcome:
    """Accuracy of the single nearest candidate by cosine."""
    return _score_ranking(cell, k=1, is_cosine=True)


def _score_top(cell: _Cell) -> _Outcome:
    """Mean average precision of the 20 nearest candidates by inner product."""
    return _score_ranking(cell, k=RANKS, is_cosine=False)


def _score_ranking(cell: _Cell, *, k: int, is_cosine: bool) -> _Outcome:
    candidates = cell.candidates
    if candidates is None or not candidates.ids:
        raise ScoringError(
            f"{cell.task} in {cell.language} is a retrieval task and got no candidate embeddings; "
            "run the index phase first"
        )
    width = candidates.embeddings.shape[1]
    rows = {item: _vector(cell.answer(item), width) for item in cell.ids}
    queries = np.stack([np.zeros(width, dtype=np.float32) if row is None else row for row in rows.values()])
    against = candidates.embeddings
    if is_cosine:
        queries, against = normalise_rows(queries), normalise_rows(against)
    ranks = nearest(queries, against, k, progress=cell.progress)
    items = []
    for ranked, (item, row) in zip(ranks, rows.items(), strict=True):
        ids = [] if row is None else [candidates.ids[i] for i in ranked]
        relevant = _texts(cell.gold[item])
        items.append(
            ItemScore(
                item=item,
                value=average_precision(ids, relevant, k),
                is_correct=bool(ids) and ids[0] in relevant,
            )
        )
    return _Outcome(
        value=_mean(items),
        items=tuple(items),
        parts={"accuracy_at_1": sum(i.is_correct for i in items) / len(items)},
        malformed=tuple(item for item, row in rows.items() if row is None),
    )


_SCORERS: Mapping[Metric, Callable[[_Cell], _Outcome]] = MappingProxyType(
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


def _fields(answer: Answer) -> Mapping[str, object]:
    return answer if isinstance(answer, Mapping) else {}


def _label_or_choice(answer: Answer, labels: Mapping[str, str]) -> str | int | None:
    fields = _fields(answer)
    label, choice = fields.get("label"), fields.get("choice")
    if isinstance(label, str):
        return labels.get(label, label)
    return choice if isinstance(choice, int) and not isinstance(choice, bool) else None


def _texts(gold: Gold) -> Sequence[str]:
    """Read gold that the task makes a list; a bare string stands for a list of one."""
    if isinstance(gold, str):
        return [gold]
    if isinstance(gold, int):
        raise ScoringError(f"the gold of this task is a list, but an item has {gold!r}; build the trace anew")
    return gold


def _tags(answer: Answer, labels: Mapping[str, str]) -> list[str]:
    given = _fields(answer).get("tags")
    if not isinstance(given, Sequence) or isinstance(given, str):
        return []
    tags = [entry.get("tag") if isinstance(entry, Mapping) else entry for entry in given]
    return [labels.get(tag, tag) if isinstance(tag, str) else "" for tag in tags]


def _best_text(answer: Answer) -> str | None:
    given = _fields(answer).get("answers")
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        return None
    text = given[0].get("text") if isinstance(given[0], Mapping) else None
    return text if isinstance(text, str) else None


def _vector(answer: Answer, width: int) -> Vectors | None:
    given = answer if isinstance(answer, np.ndarray) else _fields(answer).get("embedding")
    if given is None or isinstance(given, str):
        return None
    try:
        vector = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError):
        return None
    return vector if vector.shape == (width,) and bool(np.isfinite(vector).all()) else None


def _mean(items: Sequence[ItemScore]) -> float:
    return sum(item.value for item in items) / len(items)


def _equal(one: str, other: str) -> bool:
    return one == other
