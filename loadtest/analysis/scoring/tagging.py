"""F1 of tag sequences as XTREME-R's evaluate.py takes it: seqeval's micro F1, for entities and UPOS alike.

Rules: seqeval finds the chunks, here they are only counted: over all sentences of a language for its score,
so that it equals ``seqeval.metrics.f1_score``, and in each sentence for what compares sentences.

On UPOS tags, which carry no B- or I-, seqeval 1.x reads the first letter as the prefix and the rest as the
type. What follows is part of the published metric (an older seqeval, 0.0.12, took the whole tag as the type):
a run of equal tags is one chunk, right only if its whole extent is; SCONJ and SYM (S: a chunk on its own)
never merge; **CCONJ and SCONJ are the same type "CONJ"**, so one for the other is no error; X has no type,
and neither has what stands between two sentences, so that an X at the edge of one may begin in the one
before. Without X the counts of sentences add up to those of the language.
The plain share of right tags is reported beside it as ``token_accuracy``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqeval.metrics.sequence_labeling import get_entities

from loadtest.analysis.scoring.score import TagCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class TagScore:
    """Micro-averaged precision, recall and F1 over chunks; None where there is nothing to divide by."""

    precision: float | None
    recall: float | None
    f1: float | None


def count_chunks(predicted: Sequence[str], gold: Sequence[str]) -> TagCounts:
    """Count the chunks of one sentence; ``predicted`` and ``gold`` have one tag a word."""
    return count_corpus_chunks([predicted], [gold])


def count_corpus_chunks(predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> TagCounts:
    """Count the chunks of sentences; ``predicted`` and ``gold`` have the same words, one tag each."""
    in_prediction, in_gold = _chunks(predicted), _chunks(gold)
    return TagCounts(
        num_matched=len(in_prediction & in_gold), num_predicted=len(in_prediction), num_gold=len(in_gold)
    )


def _chunks(sentences: Sequence[Sequence[str]]) -> set[tuple[str, int, int]]:
    """Return seqeval's (type, first word, last word), counted through all sentences; an empty tag is O."""
    with warnings.catch_warnings():
        # seqeval warns that a UPOS tag is no entity tag; the docstring above says what it does with one.
        warnings.simplefilter("ignore", UserWarning)
        return set(get_entities([[tag or "O" for tag in sentence] for sentence in sentences]))


def micro_f1(counts: Iterable[TagCounts]) -> TagScore:
    """Return precision, recall and F1 of the sums; F1 is None where neither side has a chunk."""
    matched = predicted = gold = 0
    for count in counts:
        matched += count.num_matched
        predicted += count.num_predicted
        gold += count.num_gold
    return TagScore(
        precision=matched / predicted if predicted else None,
        recall=matched / gold if gold else None,
        f1=2 * matched / (predicted + gold) if predicted + gold else None,
    )
