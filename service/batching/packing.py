"""Sequences laid end to end: the only form in which the engine sees tokens.

Rules: no padding, ever; positions start again at ``padding_idx + 1`` in every sequence,
since XLM-R keeps position ``padding_idx`` for pads and learnt none before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence as Many

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBatch:
    """B sequences in T tokens.

    ``input_ids``, ``position_ids``: int32 ``[T]``. ``cu_seqlens``: int32 ``[B+1]``;
    sequence i is ``cu_seqlens[i]:cu_seqlens[i+1]``. ``max_seqlen``: the longest, in tokens.
    """

    input_ids: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    max_seqlen: int


def pack(sequences: Many[NDArray[np.int32]], *, padding_idx: int) -> PackedBatch:
    """Lay sequences (int32 ``[L]`` each, none of them empty) end to end."""
    lengths = np.array([len(ids) for ids in sequences], dtype=np.int32)
    assert lengths.size, "A batch without sequences was packed. This is a bug."
    assert lengths.min() > 0, "A sequence without tokens was packed. This is a bug."
    cu_seqlens = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=cu_seqlens[1:])
    return PackedBatch(
        input_ids=np.concatenate(sequences, dtype=np.int32),
        position_ids=_positions(cu_seqlens, lengths, first=padding_idx + 1),
        cu_seqlens=cu_seqlens,
        max_seqlen=int(lengths.max()),
    )


def unpack(
    array: NDArray[np.float32], cu_seqlens: NDArray[np.int32], *, per_token: bool
) -> tuple[NDArray[np.float32], ...]:
    """Cut what a head said of a batch into one view a sequence.

    ``array``: ``[T, C]`` with ``per_token`` (tag, span), each view ``[L, C]``; else ``[B, C]``
    (classify, choose, embed), each view ``[C]``.
    """
    num_rows = int(cu_seqlens[-1]) if per_token else len(cu_seqlens) - 1
    assert len(array) == num_rows, f"{len(array)} rows for {num_rows} places. This is a bug."
    if not per_token:
        return tuple(array)
    return tuple(array[start:end] for start, end in pairwise(cu_seqlens))


def _positions(cu_seqlens: NDArray[np.int32], lengths: NDArray[np.int32], *, first: int) -> NDArray[np.int32]:
    """Count from ``first`` in each sequence: int32 ``[T]``."""
    begins = np.repeat(cu_seqlens[:-1] - np.int32(first), lengths)
    return np.arange(cu_seqlens[-1], dtype=np.int32) - begins
