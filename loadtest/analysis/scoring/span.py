"""Exact match and F1 of an answer text against its gold texts, as SQuAD v1.1 and MLQA define them.

Rules: the best gold text counts, for each of the two measures on its own; F1 is over bags of tokens;
two texts that share no token score 0, also when both are empty after normalising, as in the official scripts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.analysis.scoring.normaliser import Tokenise


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanScore:
    """Exact match (0 or 1) and F1 of one answer."""

    exact_match: float
    f1: float

    @property
    def mean(self) -> float:
        """XTREME-R's one figure for QA."""
        return (self.exact_match + self.f1) / 2


def score_span(prediction: str, gold: Sequence[str], tokens: Tokenise) -> SpanScore:
    """Score ``prediction`` against the best of at least one ``gold`` text."""
    predicted = tokens(prediction)
    golds = [tokens(text) for text in gold]
    return SpanScore(
        exact_match=float(any(predicted == tokens_of_gold for tokens_of_gold in golds)),
        f1=max(token_f1(predicted, tokens_of_gold) for tokens_of_gold in golds),
    )


def token_f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """Return the F1 of two bags of tokens; 0 where they share none."""
    shared = sum((Counter(predicted) & Counter(gold)).values())
    if shared == 0:
        return 0.0
    return 2 * shared / (len(predicted) + len(gold))
