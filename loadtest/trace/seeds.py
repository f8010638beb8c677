"""One root seed, one independent random stream for each thing that is drawn.

Changing the arrival law must not change which items are asked for, nor the order
of arms, nor an interval's resamples; so each has a stream of its own, spawned from
the root. A stream is named by its key, ``[root, k]``, which a trace's header
records; appending a new stream to the end leaves the older ones as they were.

Source: numpy, "Parallel random number generation" (``SeedSequence`` spawn keys).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

STREAM_NAMES = ("arrivals", "items", "order", "bootstrap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The generators of one root seed; each belongs to one purpose.

    ``arrivals`` draws instants, ``items`` which item comes next, ``order`` the order
    of arms and blocks, ``bootstrap`` the resamples of intervals.
    """

    root_seed: int
    arrivals: Generator
    items: Generator
    order: Generator
    bootstrap: Generator


def streams(root_seed: int) -> Streams:
    """Return fresh generators, one a purpose, from a non-negative root seed.

    Raises:
        ValueError: ``root_seed`` is negative.
    """
    arrivals, items, order, bootstrap = (_stream(root_seed, k) for k in range(len(STREAM_NAMES)))
    return Streams(root_seed=root_seed, arrivals=arrivals, items=items, order=order, bootstrap=bootstrap)


def stream_keys(root_seed: int) -> dict[str, int | list[int]]:
    """Return the keys under which a header records the streams of a root seed."""
    keys: dict[str, int | list[int]] = {name: [root_seed, k] for k, name in enumerate(STREAM_NAMES)}
    return {"root": root_seed, **keys}


def _stream(root_seed: int, k: int) -> Generator:
    if root_seed < 0:
        raise ValueError(f"The seed is {root_seed}; give a whole number from 0 upwards.")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(root_seed, spawn_key=(k,))))
