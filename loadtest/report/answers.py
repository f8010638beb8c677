"""The answers of a run, read back from its files: JSON objects, or rows of a file of vectors.

Rules: an answer that cannot be read is an answer that says nothing, never a crash; vectors are read once a
task. Retrieval tasks are recognised by the benchmark's table.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from loadtest.analysis.scoring import Candidates
from loadtest.datasets.tasks import TASKS, Task
from loadtest.trace.embeddings import EmbeddingsError, read_candidates, read_queries
from loadtest.trace.requests import language_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from loadtest.analysis.scoring import Answer


def retrieves(task: str) -> bool:
    """Whether a task's answers are vectors that are searched among candidates."""
    return task in set(Task) and TASKS[Task(task)].retrieves


def read_answers(run_dir: Path, frame: pl.DataFrame) -> dict[int, Answer]:
    """Return the answers of the answered rows of ``frame`` by ``row``."""
    answered = frame.filter(pl.col("answered") & pl.col("answer").is_not_null())
    answers: dict[int, Answer] = {}
    for (task,), rows in answered.group_by(["task"], maintain_order=True):
        pairs = rows.select("row", "answer").iter_rows()
        if retrieves(str(task)):
            vectors = _vectors(run_dir, str(task))
            answers.update({row: _row(vectors, text) for row, text in pairs})
        else:
            answers.update({row: _object(text) for row, text in pairs})
    return answers


def read_searched(run_dir: Path, tasks: Iterable[str]) -> dict[str, Candidates]:
    """Return what a run searched for each retrieval task; one whose files are missing is left out."""
    searched = {}
    for task in filter(retrieves, tasks):
        try:
            found = read_candidates(run_dir, task)
        except EmbeddingsError:
            continue
        if found.ids:
            languages = tuple(map(language_of, found.ids))
            searched[task] = Candidates(ids=found.ids, embeddings=found.vectors, languages=languages)
    return searched


def _vectors(run_dir: Path, task: str) -> NDArray[np.float32] | None:
    try:
        return read_queries(run_dir, task)
    except EmbeddingsError:
        return None


def _row(vectors: NDArray[np.float32] | None, text: str) -> Answer:
    place = int(text) if text.isdecimal() else None
    if vectors is None or place is None or place >= len(vectors):
        return {}
    vector: NDArray[np.float32] = vectors[place]
    return vector


def _object(text: str) -> Answer:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
