"""Vectors that a run was given: float32 files beside its samples, one pair a retrieval task.

``embeddings/<task>.queries.npy`` holds one row an answered query; a sample's ``answer``
is its row. ``<task>.candidates.npy`` has one row an id of ``<task>.candidates.json``,
which also says of which weights and items it was made, so that runs of one arm can share it.
A run names the folder of its candidates in ``run.json`` (``"index"``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.trace.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FOLDER_NAME = "embeddings"


class EmbeddingsError(Exception):
    """A file of vectors is missing or damaged; the sentence says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What the queries of a task are searched in.

    ``ids``: of the items, n of them. ``vectors``: float32 ``[n, H]``, in their order.
    ``origin``: what the vectors depend on (variant, revision, parameters, items).
    """

    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    origin: Mapping[str, Any]


def write_queries(run_dir: Path, task: str, vectors: NDArray[np.float32]) -> Path:
    """Write the query vectors of a task, float32 ``[n, H]``, and return the file's path."""
    path = run_dir / FOLDER_NAME / f"{task}.queries.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(vectors, dtype=np.float32))
    return path


def read_queries(run_dir: Path, task: str) -> NDArray[np.float32]:
    """Return the query vectors of a task, float32 ``[n, H]``; a sample's ``answer`` is its row.

    Raises:
        EmbeddingsError: the file is missing or damaged.
    """
    return _load(run_dir / FOLDER_NAME / f"{task}.queries.npy")


def write_candidates(folder: Path, task: str, candidates: Candidates) -> None:
    """Write the candidates of a task into ``folder``; the list of ids comes last and makes it complete."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(_vectors_path(folder, task), np.ascontiguousarray(candidates.vectors, dtype=np.float32))
    body = {"ids": list(candidates.ids), "origin": dict(candidates.origin)}
    write_whole(_listing_path(folder, task), json.dumps(body, ensure_ascii=False, separators=(",", ":")))


def read_origin(folder: Path, task: str) -> Mapping[str, Any] | None:
    """Return what the candidates in ``folder`` were made of; None where there are none."""
    listing = _listing_path(folder, task)
    return dict(_listing(listing)["origin"]) if listing.is_file() else None


def read_candidates(run_dir: Path, task: str) -> Candidates:
    """Return the candidates that a run searched for a task.

    Raises:
        EmbeddingsError: the run or its index lacks them, or a file is damaged.
    """
    folder = _index_folder(run_dir)
    listing = _listing(_listing_path(folder, task))
    vectors = _load(_vectors_path(folder, task))
    ids: Sequence[str] = listing["ids"]
    if len(ids) != len(vectors):
        path = _listing_path(folder, task)
        raise EmbeddingsError(f"{path} names {len(ids)} candidates for {len(vectors)} vectors; run it again.")
    return Candidates(ids=tuple(ids), vectors=vectors, origin=listing["origin"])


def _index_folder(run_dir: Path) -> Path:
    record = run_dir / "run.json"
    try:
        named = json.loads(record.read_text(encoding="utf-8")).get("index")
    except (OSError, ValueError) as error:
        raise EmbeddingsError(f"{record} cannot be read ({error}). Is {run_dir} a finished run?") from error
    if named is None:
        raise EmbeddingsError(f"{record} names no index: that run embedded no candidates.")
    return (run_dir / Path(named)).resolve()


def _vectors_path(folder: Path, task: str) -> Path:
    return folder / f"{task}.candidates.npy"


def _listing_path(folder: Path, task: str) -> Path:
    return folder / f"{task}.candidates.json"


def _listing(path: Path) -> dict[str, Any]:
    try:
        listing: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EmbeddingsError(f"{path} cannot be read ({error}). Run the index phase again.") from error
    return listing


def _load(path: Path) -> NDArray[np.float32]:
    try:
        vectors: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise EmbeddingsError(f"{path} cannot be read ({error}). Run the measurement again.") from error
    return vectors
