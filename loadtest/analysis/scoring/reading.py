"""What the scorers take from an answer or from gold: a label, tags, a text, a vector.

Rules: an answer of any shape may come in; what is not there, or is no such thing, is None or empty, never an
exception. Gold comes from a trace that the project wrote, so gold of the wrong kind is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.scoring.score import ScoringError

if TYPE_CHECKING:
    from loadtest.analysis.scoring.score import Answer, Gold, Vectors


def is_given(gold: Gold) -> bool:
    """Tell gold from what stripped files leave in its place: an empty label, no answers, or blank ones."""
    if isinstance(gold, str):
        return bool(gold)
    if isinstance(gold, int):
        return True
    return any(gold)


def label_or_choice_of(answer: Answer, labels: Mapping[str, str]) -> str | int | None:
    """Return the label, in the words of the task, or the choice; None where there is neither."""
    fields = _fields(answer)
    label, choice = fields.get("label"), fields.get("choice")
    if isinstance(label, str):
        return labels.get(label, label)
    return choice if isinstance(choice, int) and not isinstance(choice, bool) else None


def texts_of(gold: Gold) -> Sequence[str]:
    """Read gold that the task makes a list; a bare string stands for a list of one."""
    if isinstance(gold, str):
        return [gold]
    if isinstance(gold, int):
        raise ScoringError(f"the gold of this task is a list, but an item has {gold!r}; build the trace anew")
    return gold


def tags_of(answer: Answer, labels: Mapping[str, str]) -> list[str]:
    """Return one tag a word, in the words of the task; empty where there are none."""
    given = _fields(answer).get("tags")
    if not isinstance(given, Sequence) or isinstance(given, str):
        return []
    tags = [entry.get("tag") if isinstance(entry, Mapping) else entry for entry in given]
    return [labels.get(tag, tag) if isinstance(tag, str) else "" for tag in tags]


def best_text_of(answer: Answer) -> str | None:
    """Return the text of the best span; None where there is none."""
    given = _fields(answer).get("answers")
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        return None
    text = given[0].get("text") if isinstance(given[0], Mapping) else None
    return text if isinstance(text, str) else None


def vector_of(answer: Answer, width: int) -> Vectors | None:
    """Return the embedding float32[width]; None where it is another shape or holds what is no number."""
    given = answer if isinstance(answer, np.ndarray) else _fields(answer).get("embedding")
    if given is None or isinstance(given, str):
        return None
    try:
        vector = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError):
        return None
    return vector if vector.shape == (width,) and bool(np.isfinite(vector).all()) else None


def _fields(answer: Answer) -> Mapping[str, object]:
    return answer if isinstance(answer, Mapping) else {}
