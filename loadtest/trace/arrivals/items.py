"""Which item each arrival asks for, and which worker sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

T = TypeVar("T")


def draw_items(num_items: int, n: int, rng: Generator) -> NDArray[np.int64]:
    """Return ``n`` item numbers, int64 ``[n]``: a fresh permutation of all items, then another, as needed.

    So each item is asked for as often as any other, give or take one. A longer draw
    begins with the shorter one.

    Raises:
        ValueError: there is nothing to draw from, or ``n`` is negative.
    """
    if num_items < 1 or n < 0:
        raise ValueError(
            f"Cannot draw {n} arrivals from {num_items} items; the trace needs at least one item."
        )
    num_rounds = -(-n // num_items)
    # argsort of uniforms, not rng.permutation: it depends on the generator's bits alone.
    rounds = [np.argsort(rng.random(num_items), kind="stable") for _ in range(num_rounds)]
    return np.concatenate([*rounds, np.empty(0, dtype=np.int64)])[:n].astype(np.int64)


def shard(sequence: Sequence[T], k: int, n: int) -> Sequence[T]:
    """Return worker ``k``'s part of ``n``: every element whose index leaves remainder ``k``.

    Raises:
        ValueError: ``k`` is not one of ``n`` workers.
    """
    if not 0 <= k < n:
        raise ValueError(f"There is no worker {k} of {n}; workers are numbered from 0.")
    return sequence[k::n]


def merge(shards: Sequence[Sequence[T]]) -> list[T]:
    """Return the sequence whose ``shard(.., k, len(shards))`` is ``shards[k]``.

    Raises:
        ValueError: the lengths cannot come from one sequence.
    """
    n = len(shards)
    total = sum(len(part) for part in shards)
    if [len(part) for part in shards] != [len(range(k, total, n)) for k in range(n)]:
        raise ValueError(
            "These parts are not the shards of one sequence; a worker's part is missing or doubled."
        )
    return [shards[i % n][i // n] for i in range(total)]
