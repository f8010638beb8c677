"""Answers that are right or wrong on purpose, in the shapes of the five head kinds."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from loadtest.datasets.tasks import Task
from loadtest.trace.embeddings import write_queries

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from loadtest.trace.items import GoldAnswer, Item

WIDTH = 8
RETRIEVAL = (Task.TATOEBA, Task.MEWSLIX, Task.LAREQA)


def gold_of(item: Item, k: int) -> GoldAnswer:
    """Return the right answer of the k-th item of a cell."""
    task = Task(item.task)
    if task is Task.XNLI:
        return ("contradiction", "entailment", "neutral")[k % 3]
    if task is Task.XCOPA:
        return k % 2
    if task is Task.UDPOS:
        return ["NOUN", "VERB", "PUNCT"]
    if task is Task.PANX:
        return ["B-LOC", "I-LOC", "O"]
    if task in RETRIEVAL:
        return [f"{task}/{item.language}/candidate-{k % WIDTH}"]
    return ["the river"]


def make_answers(
    asked: list[Item],
    gold: dict[str, GoldAnswer],
    answered: NDArray[np.bool_],
    right: NDArray[np.bool_],
    run_dir: Path,
) -> list[str | None]:
    """Return the answers of requests as samples hold them, and write the vectors of retrieval tasks."""
    rows: dict[str, list[NDArray[np.float32]]] = {task: [] for task in RETRIEVAL}
    answers: list[str | None] = []
    for item, keep, is_right in zip(asked, answered, right, strict=True):
        answers.append(_answer(item, gold[item.id], is_right=bool(is_right), rows=rows) if keep else None)
    for task, vectors in rows.items():
        if vectors:
            write_queries(run_dir, task, np.stack(vectors))
    return answers


def direction(candidate: str) -> NDArray[np.float32]:
    """Return a vector of length 1 that is a candidate's own."""
    seed = int.from_bytes(hashlib.sha256(candidate.encode()).digest()[:4])
    vector = np.random.default_rng(seed).standard_normal(WIDTH)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _answer(
    item: Item, gold: GoldAnswer, *, is_right: bool, rows: dict[str, list[NDArray[np.float32]]]
) -> str:
    task = Task(item.task)
    if task in RETRIEVAL:
        assert isinstance(gold, list)
        rows[task].append(direction(gold[0]) * (4 if is_right else -4))
        return str(len(rows[task]) - 1)
    if task is Task.XNLI:
        label = gold if is_right else "neutral" if gold != "neutral" else "entailment"
        return json.dumps({"label": label, "scores": {label: 0.9}})
    if task is Task.XCOPA:
        assert isinstance(gold, int)
        return json.dumps({"choice": gold if is_right else 1 - gold, "scores": [0.5, 0.5]})
    if task in (Task.UDPOS, Task.PANX):
        assert isinstance(gold, list)
        tags = gold if is_right else ["O", *gold[1:]] if task is Task.PANX else ["X", *gold[1:]]
        return json.dumps({"tags": [{"tag": tag, "score": 0.9} for tag in tags]})
    text = "the river" if is_right else "a hill"
    return json.dumps({"answers": [{"text": text, "start": 0, "end": 9, "score": 0.9}]})
