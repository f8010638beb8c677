"""What the readers return: one frozen record a shape of task, and the error that they share.

A record holds the data set's own texts and the right answer where the file has one
(XTREME's preparation strips some). How a record becomes a request is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class DataError(Exception):
    """A data file cannot be used as it is; the message names file and line and says what to do."""

    def __init__(self, path: Path, problem: str, *, line: int | None = None) -> None:
        super().__init__(f"{path}:{line}: {problem}" if line is not None else f"{path}: {problem}")
        self.path = path
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class PairExample:
    """A premise and a hypothesis; ``label`` is one of the three names, None where stripped."""

    premise: str
    hypothesis: str
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceExample:
    """A premise with its possible causes or effects; ``question`` is ``cause`` or ``effect``."""

    premise: str
    question: str
    choices: tuple[str, ...]
    label: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsExample:
    """A sentence as words, with one tag a word, None where stripped."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionExample:
    """A question on a context; ``answers`` are the accepted texts, empty where stripped.

    ``unit``: the data set's id, which its translations share; empty where the file has none.
    """

    question: str
    context: str
    answers: tuple[str, ...]
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryExample:
    """A text to find candidates for: those that carry one of ``keys``; no keys where stripped.

    ``unit``: the data set's id, which its translations share; empty where the file has none.
    """

    text: str
    keys: tuple[str, ...]
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateExample:
    """A text that queries may find. ``name`` is unique in its task and language."""

    name: str
    text: str
    context: str | None
    keys: tuple[str, ...]


Example = PairExample | ChoiceExample | WordsExample | QuestionExample | QueryExample


def has_gold(example: Example) -> bool:
    """Return whether the file held the right answer of this example."""
    match example:
        case PairExample(label=label):
            return label is not None
        case ChoiceExample(label=index):
            return index is not None
        case WordsExample(tags=tags):
            return tags is not None
        case QuestionExample(answers=answers):
            return bool(answers)
        case QueryExample(keys=keys):
            return bool(keys)
