"""Which items of a task and language a bounded trace takes, and which candidates.

Each task and language draws from a random stream of its own, so that adding a language
leaves the items of the others as they were. What answers a chosen query is always kept.
"""

from __future__ import annotations

import hashlib
import heapq
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loadtest.datasets.examples import CandidateExample
    from loadtest.datasets.mewslix import Entity
    from loadtest.datasets.tasks import Task

DEFAULT_MAX_CANDIDATES = 2000
"""A task and language: Tatoeba (1,000) and LAReQA (1,276 at most) are whole, Mewsli-X's million is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """The random stream of one task in one language."""

    seed: int
    task: Task
    language: str

    def order(self, num: int, purpose: str) -> list[int]:
        """Return ``0..num-1`` in a random order that belongs to this stream and purpose."""
        key = (zlib.crc32(f"{self.task}/{self.language}".encode()), zlib.crc32(purpose.encode()))
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))
        # argsort of uniforms, not rng.choice: it depends on the generator's bits alone.
        return [int(i) for i in np.argsort(rng.random(num), kind="stable")]


def sample(num: int, limit: int | None, lot: Lot) -> list[int]:
    """Return which of ``num`` examples to take, ``limit`` at most, in their order."""
    if limit is None or limit >= num:
        return list(range(num))
    return sorted(lot.order(num, "items")[:limit])


def choose_candidates(
    candidates: Sequence[CandidateExample],
    wanted: frozenset[str],
    limit: int | None,
    lot: Lot,
) -> list[CandidateExample]:
    """Return at most ``limit`` candidates in their order, and all that answer a chosen query."""
    if limit is None or limit >= len(candidates):
        return list(candidates)
    needed = {i for i, candidate in enumerate(candidates) if not wanted.isdisjoint(candidate.keys)}
    others = [i for i in lot.order(len(candidates), "candidates") if i not in needed]
    chosen = needed.union(others[: max(0, limit - len(needed))])
    return [candidates[i] for i in sorted(chosen)]


def choose_entities(
    entities: Iterable[Entity],
    wanted: frozenset[str],
    languages: Sequence[str],
    limit: int | None,
    *,
    seed: int,
) -> Iterable[Entity]:
    """Return at most ``limit`` entities a language and all that answer a query, holding only those in memory.

    An entity has one description, in one of fifty languages: a right one is kept in
    whatever language it stands.
    """
    if limit is None:
        return (
            entity for entity in entities if entity.language in languages or entity.candidate.name in wanted
        )
    needed: list[tuple[int, Entity]] = []
    heaps: dict[str, list[tuple[int, int, Entity]]] = {language: [] for language in languages}
    for position, entity in enumerate(entities):
        if entity.candidate.name in wanted:
            needed.append((position, entity))
        elif entity.language in heaps and limit > 0:
            heap = heaps[entity.language]
            entry = (-_rank(entity.candidate.name, seed), position, entity)
            if len(heap) < limit:
                heapq.heappush(heap, entry)
            elif entry[0] > heap[0][0]:
                heapq.heapreplace(heap, entry)
    return [entity for _, entity in sorted(_within_limit(needed, heaps, limit), key=lambda e: e[0])]


def _within_limit(
    needed: list[tuple[int, Entity]],
    heaps: Mapping[str, list[tuple[int, int, Entity]]],
    limit: int,
) -> list[tuple[int, Entity]]:
    """Fill up what is needed with the best ranked of each language."""
    chosen = list(needed)
    for language, heap in heaps.items():
        num_needed = sum(entity.language == language for _, entity in needed)
        best = heapq.nlargest(max(0, limit - num_needed), heap, key=lambda entry: entry[:2])
        chosen += [(position, entity) for _, position, entity in best]
    return chosen


def _rank(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "big")
