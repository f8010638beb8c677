"""The texts that every system gets: XNLI's pairs, and a mix with Tatoeba's sentences and XQuAD's questions.

Rules: the same seed gives the same texts in the same order, languages in turn; within a mix each run of
three has one text of each task, so that any stretch of it is as hard as any other. A text longer than
``MAX_TOKENS`` is left out, since servers cut them differently, and so is a pair that has other tokens when
it is written as one text with separators, which is how it reaches a server that knows no pairs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers_grid import Mix
from loadtest.datasets.examples import DataError, PairExample, QueryExample, QuestionExample
from loadtest.datasets.tasks import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.datasets.examples import Example
    from loadtest.datasets.library import Library
    from models.tokenizer import Tokenizer

# XTREME-R's cap for questions on a context.
MAX_TOKENS = 384
PER_LANGUAGE = 40
# Between the texts of a pair, as XLM-R's tokenizer puts it.
SEPARATOR = "</s></s>"
_TASKS = {Mix.XNLI: (Task.XNLI,), Mix.MIXED: (Task.TATOEBA, Task.XNLI, Task.XQUAD)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One request's text, or pair, and its tokens, special ones included."""

    text: str
    text_pair: str | None
    num_tokens: int


def build(mix: Mix, library: Library, tokenizer: Tokenizer, seed: int) -> tuple[Item, ...]:
    """Return the items of a mix, of each task as many as of the one with the fewest.

    Raises:
        DataError: a task is in none of its languages there.
    """
    rng = np.random.default_rng([seed, *mix.encode()])
    columns = [_of_task(task, library, tokenizer, rng) for task in _TASKS[mix]]
    items: list[Item] = []
    for row in zip(*columns, strict=False):
        items += [row[index] for index in rng.permutation(len(row))]
    return tuple(items)


def digest_of(items: Sequence[Item]) -> str:
    """Return a hash that tells whether two runs had the same texts."""
    return hashlib.sha256(json.dumps([asdict(item) for item in items]).encode()).hexdigest()[:16]


def _of_task(task: Task, library: Library, tokenizer: Tokenizer, rng: np.random.Generator) -> list[Item]:
    languages = library.languages(task)
    if not languages:
        raise DataError(library.folder, f"no {TASKS[task].title} in any language; give a folder that has it")
    columns = []
    for language in languages:
        examples = library.read(task, language).examples
        drawn = rng.permutation(len(examples))[:PER_LANGUAGE]
        columns.append(list(_fitting((examples[index] for index in drawn), tokenizer)))
    most = max(map(len, columns))
    return [column[place] for place in range(most) for column in columns if place < len(column)]


def _fitting(examples: Iterator[Example], tokenizer: Tokenizer) -> Iterator[Item]:
    pair: str | None
    for example in examples:
        match example:
            case PairExample(premise=first, hypothesis=second):
                text, pair = first, second
            case QuestionExample(question=first, context=second):
                text, pair = first, second
            case QueryExample(text=first):
                text, pair = first, None
            case _:
                raise AssertionError(f"{example} is of no task here. This is a bug.")
        num_tokens = _count(tokenizer, text, pair)
        if num_tokens is not None and num_tokens <= MAX_TOKENS:
            yield Item(text=text, text_pair=pair, num_tokens=num_tokens)


def _count(tokenizer: Tokenizer, text: str, pair: str | None) -> int | None:
    """Return the tokens of a text or pair; None where joining changes them."""
    if pair is None:
        return len(tokenizer.encode([text])[0]) + 2
    first, second, joined = (
        pieces.ids.tolist() for pieces in tokenizer.encode([text, pair, f"{text}{SEPARATOR}{pair}"])
    )
    apart = [*first, tokenizer.eos_id, tokenizer.eos_id, *second]
    return len(apart) + 2 if apart == joined else None
