"""Nearest candidates of query embeddings, and what their order is worth. Plain numpy, exact, in blocks.

Rules: Tatoeba compares by cosine (L2 distance of normalised vectors), LAReQA and Mewsli-X by the inner
product of what the server sent, as XTREME-R's scripts do; of equal similarities the earlier candidate
comes first; a similarity that is not a number comes last. Average precision at k divides by min(relevant, k);
with one relevant candidate it is the reciprocal rank.
Sources: google-research/xtreme third_party/{utils_retrieve,utils_lareqa,utils_mewslix}.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtest.analysis.scoring.score import Vectors

Progress = Callable[[int, int], None]
"""Told (candidates done, candidates in all) after each block."""

# 1,024 queries against 16,384 candidates make a similarity block of 64 MiB, whatever the benchmark's size.
_BLOCK_QUERIES = 1024
_BLOCK_CANDIDATES = 16_384


def normalise_rows(vectors: Vectors) -> Vectors:
    """Scale each row of float32[N, H] to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def nearest(
    queries: Vectors, candidates: Vectors, k: int, *, progress: Progress | None = None
) -> NDArray[np.int64]:
    """Return the rows of the k candidates with the largest inner product, best first.

    Shapes: queries float32[Q, H], candidates float32[N, H] -> int64[Q, min(k, N)].
    """
    k = min(k, candidates.shape[0])
    best = np.empty((queries.shape[0], k), dtype=np.int64)
    done, total = 0, queries.shape[0] * candidates.shape[0]
    for start in range(0, queries.shape[0], _BLOCK_QUERIES):
        block = queries[start : start + _BLOCK_QUERIES]
        rows = np.empty((block.shape[0], 0), dtype=np.int64)
        similarities = np.empty((block.shape[0], 0), dtype=np.float32)
        for first in range(0, candidates.shape[0], _BLOCK_CANDIDATES):
            part = candidates[first : first + _BLOCK_CANDIDATES]
            found = np.nan_to_num(block @ part.T, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
            numbers = np.broadcast_to(np.arange(first, first + part.shape[0]), found.shape)
            rows, similarities = _keep_best(
                np.concatenate([rows, numbers], axis=1), np.concatenate([similarities, found], axis=1), k
            )
            done += found.size
            if progress is not None:
                progress(done, total)
        best[start : start + block.shape[0]] = rows
    return best


def _keep_best(rows: NDArray[np.int64], similarities: Vectors, k: int) -> tuple[NDArray[np.int64], Vectors]:
    """Keep the k largest of each row, best first; equals stay in the order of their rows."""
    k = min(k, rows.shape[1])
    threshold = np.partition(similarities, rows.shape[1] - k, axis=1)[:, rows.shape[1] - k, None]
    kept_rows = np.empty((rows.shape[0], k), dtype=np.int64)
    kept = np.empty((rows.shape[0], k), dtype=np.float32)
    reach = similarities >= threshold
    for i in range(rows.shape[0]):
        places = np.flatnonzero(reach[i])
        order = places[np.argsort(-similarities[i, places], kind="stable")][:k]
        kept_rows[i], kept[i] = rows[i, order], similarities[i, order]
    return kept_rows, kept


def average_precision(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return the average precision of the first k of ``ranked`` (distinct ids); ``relevant`` is not empty."""
    wanted = frozenset(relevant)
    hits, total = 0, 0.0
    for rank, candidate in enumerate(ranked[:k], start=1):
        if candidate in wanted:
            hits += 1
            total += hits / rank
    return total / min(len(wanted), k)
