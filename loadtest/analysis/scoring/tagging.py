"""F1 of tag sequences as XTREME-R's evaluate.py takes it: seqeval's micro F1, for entities and UPOS alike.

Rules: seqeval finds the chunks; this file only counts them, sentence by sentence, so that sums over any
choice of sentences (a language, a bootstrap draw) give what ``seqeval.metrics.f1_score`` gives for them.

On UPOS tags, which carry no B- or I-, seqeval 1.x reads the first letter as the prefix and the rest as the
type. Three things follow, and they are part of the published metric:
a run of equal tags is one chunk, right only if its whole extent is; SCONJ and SYM (S: a chunk on its own)
never merge; **CCONJ and SCONJ are the same type "CONJ"**, so one for the other is no error.
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
    with warnings.catch_warnings():
        # seqeval warns that a UPOS tag is no entity tag; the docstring above says what it does with one.
        warnings.simplefilter("ignore", UserWarning)
        in_prediction = set(get_entities([tag or "O" for tag in predicted]))
        in_gold = set(get_entities([tag or "O" for tag in gold]))
    return TagCounts(
        num_matched=len(in_prediction & in_gold), num_predicted=len(in_prediction), num_gold=len(in_gold)
    )


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
