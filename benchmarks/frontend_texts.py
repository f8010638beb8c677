"""What the front end is asked: pairs of XNLI, and texts of mixed lengths, as whole requests.

Rules: texts are those of a folder of data sets, or of the sample that comes with the project; their
order follows from a seed. No text comes twice before all have come once, since tokenizers remember words.
"""

from __future__ import annotations

import json
import random
from itertools import cycle
from typing import TYPE_CHECKING, Any

from benchmarks.http_client import post
from loadtest.datasets.examples import PairExample, QuestionExample
from loadtest.datasets.library import open_library
from loadtest.datasets.tasks import Task

if TYPE_CHECKING:
    from loadtest.datasets.library import Library

PAIRS, MIXED = "XNLI pairs", "mixed lengths"


class Texts:
    """Inputs of classify or embed, in a random order; each is taken once before any is taken again.

    ``mixed lengths``: in equal parts sentences (XNLI's hypotheses, alone), XNLI's pairs, and questions with
    their contexts (XQuAD, else MLQA).
    """

    def __init__(self, data: str, mix: str, seed: int) -> None:
        library, rng = open_library(data), random.Random(seed)  # noqa: S311 - a choice of texts
        pairs = _pairs(library)
        sentences = [{"text": pair["text_pair"]} for pair in pairs]
        kinds = [pairs] if mix == PAIRS else [sentences, pairs.copy(), _passages(library)]
        for kind in kinds:
            rng.shuffle(kind)
        self._kinds = [cycle(kind) for kind in kinds]
        self._turns = cycle(self._kinds)

    def take(self, count: int) -> list[dict[str, str]]:
        """Return the next inputs."""
        return [next(next(self._turns)) for _ in range(count)]


def requests_of(variant: str, inputs: list[dict[str, str]]) -> list[bytes]:
    """Return a request for each input."""
    path = f"/v1/variants/{variant}/predict"
    return [post(path, json.dumps({"inputs": [item]}, ensure_ascii=False).encode()) for item in inputs]


def _pairs(library: Library) -> list[dict[str, str]]:
    return [
        {"text": example.premise, "text_pair": example.hypothesis}
        for example in _examples(library, Task.XNLI)
        if isinstance(example, PairExample)
    ]


def _passages(library: Library) -> list[dict[str, str]]:
    task = Task.XQUAD if library.languages(Task.XQUAD) else Task.MLQA
    return [
        {"text": example.question, "text_pair": example.context}
        for example in _examples(library, task)
        if isinstance(example, QuestionExample)
    ]


def _examples(library: Library, task: Task) -> list[Any]:
    """Return as many examples of each language."""
    found = [library.read(task, language).examples for language in library.languages(task)]
    fewest = min(map(len, found))
    return [one for examples in found for one in examples[:fewest]]
