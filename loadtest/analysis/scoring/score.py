"""What a score is: records that every metric fills and every report reads.

Rules: values lie in 0..1 (never percent); a value is None where nothing could be scored, so that an
absent score cannot be read as a bad one; an item without gold is counted, never guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from loadtest.datasets.tasks import Metric, Task

Gold = str | int | Sequence[str]
"""A label (xnli), an index (xcopa), tags (udpos, panx), answer texts (QA) or candidate ids (retrieval)."""

Answer = Mapping[str, Any] | NDArray[np.float32]
"""The service's output object of one input, or for an embedding its bare row float32[H]."""

Vectors = NDArray[np.float32]


class Unanswered(StrEnum):
    """What to make of an item that has gold, was asked, and got no answer."""

    WRONG = "wrong"  # as the official evaluations of QA and Mewsli-X do: an arm gains nothing by refusing
    SKIP = "skip"  # the quality of what was answered, errors apart


@dataclass(frozen=True, slots=True, kw_only=True)
class TagCounts:
    """Chunks as seqeval counts them; micro F1 is made of their sums (but for the tag X, see tagging)."""

    num_matched: int
    num_predicted: int
    num_gold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemScore:
    """How well one item was answered.

    ``value`` is the item's own score in 0..1: 0 or 1 for accuracy, (EM + F1) / 2 for QA, average precision
    for retrieval, the sentence's F1 for tagging. ``is_correct`` is the strict reading of it: the right label
    or choice, an exact match, the right candidate first, every tag right.
    """

    item: str
    value: float
    is_correct: bool
    counts: TagCounts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of one task in one language.

    ``n_scored`` items make up the value; among them are ``n_malformed`` answers of the wrong shape, as wrong,
    and, unless they are skipped, the ``n_unanswered``. ``n_without_gold`` were answered and cannot be scored.
    ``parts`` holds what the value is made of: ``exact_match`` and ``f1`` for QA; ``precision``, ``recall``
    and ``token_accuracy`` for tagging; ``accuracy_at_1`` for retrieval.
    """

    task: Task
    language: str
    metric: Metric
    value: float | None
    n_scored: int
    n_without_gold: int
    n_unanswered: int
    n_skipped: int = 0
    n_malformed: int = 0
    parts: Mapping[str, float] = field(default_factory=dict)
    items: tuple[ItemScore, ...] = ()

    @property
    def n_unscored(self) -> int:
        """Items that take no part in the value."""
        return self.n_without_gold + self.n_skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What a retrieval task searches: row i of ``embeddings`` float32[N, H] is item ``ids[i]``.

    ``languages``: one an id, empty where all are of the queries' own language. Tatoeba searches only among
    the sentences of one language, LAReQA and Mewsli-X among those of all.
    """

    ids: tuple[str, ...]
    embeddings: Vectors
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = self.embeddings.shape[0] if self.embeddings.ndim == 2 else -1  # noqa: PLR2004 - rows and columns
        if rows != len(self.ids):
            raise ScoringError(
                f"the candidates have {len(self.ids)} ids but embeddings of shape {self.embeddings.shape}; "
                "give one row for each id"
            )
        if self.languages and len(self.languages) != len(self.ids):
            raise ScoringError(
                f"the candidates have {len(self.ids)} ids but {len(self.languages)} languages; "
                "give one for each id, or none"
            )

    def in_languages_of(self, ids: Collection[str]) -> Candidates:
        """Return those in the languages of the candidates ``ids``; all where no languages are known."""
        if not self.languages:
            return self
        wanted = {code for item, code in zip(self.ids, self.languages, strict=True) if item in ids}
        rows = [row for row, code in enumerate(self.languages) if code in wanted]
        return Candidates(ids=tuple(self.ids[row] for row in rows), embeddings=self.embeddings[rows])


class ScoringError(ValueError):
    """What was handed in cannot be scored at all, for example candidates without embeddings."""
