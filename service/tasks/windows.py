"""A long row of pieces as windows that overlap.

Rules: windows are half-open ranges in order; together they hold every piece; each starts
after the one before it and ends after it; neighbours share at most ``stride`` pieces. A row
that fits is one window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence as Many

    from numpy.typing import NDArray

Window = tuple[int, int]


def sliding(num_pieces: int, *, room: int, stride: int) -> tuple[Window, ...]:
    """Cut a row wherever a window is full; neighbours share exactly ``stride`` pieces.

    The windows of a fast tokenizer with ``return_overflowing_tokens``.
    Source: huggingface/tokenizers, tokenizers/src/tokenizer/encoding.rs, ``truncate``.
    """
    assert 0 <= stride < room, f"A stride of {stride} in a room of {room} tokens. This is a bug."
    windows = [(0, min(room, num_pieces))]
    while windows[-1][1] < num_pieces:
        start = windows[-1][0] + room - stride
        windows.append((start, min(start + room, num_pieces)))
    return tuple(windows)


def at_words(
    first_pieces: NDArray[np.int32], num_pieces: int, *, room: int, stride: int
) -> tuple[Window, ...]:
    """Cut a row between words, and inside one only where it alone is longer than a window.

    ``first_pieces``: where each word starts, ascending, int32 ``[W]``. Neighbours share as
    many whole words as ``stride`` allows and the next word leaves room for. With a stride of
    0 these are the blocks of XTREME-R's tagging data: filled with whole words up to the cap.
    """
    assert 0 <= stride < room, f"A stride of {stride} in a room of {room} tokens. This is a bug."
    windows: list[Window] = []
    start = end = 0
    while start + room < num_pieces:
        end = _last_within(first_pieces, end + 1, start + room, otherwise=start + room)
        windows.append((start, end))
        low = max(end - stride, start + 1)
        after_next = _first_within(first_pieces, end + 1, num_pieces, otherwise=num_pieces)
        if after_next - room <= end:
            low = max(low, after_next - room)
        start = _first_within(first_pieces, low, end, otherwise=low)
    return (*windows, (start, num_pieces))


def best_context(windows: Many[Window], pieces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return for each piece the window in which it is farthest from a cut: int32 ``[len(pieces)]``.

    ``pieces``: indices in the row, ascending. The earlier window wins a tie. The ends of the row
    are no cuts, which needs no rule: near one, the window that reaches it is the best anyway.
    Source: the maximum context of google-research/bert, run_squad.py.
    """
    if len(windows) == 1:
        return np.zeros(len(pieces), dtype=np.int32)
    chosen = np.zeros(len(pieces), dtype=np.int32)
    distance = np.full(len(pieces), -1, dtype=np.int32)
    for index, (start, end) in enumerate(windows):
        here = slice(*np.searchsorted(pieces, (start, end)))
        nearest = np.minimum(pieces[here] - start, end - 1 - pieces[here])
        better = nearest > distance[here]
        chosen[here][better] = index
        distance[here][better] = nearest[better]
    return chosen


def _last_within(values: NDArray[np.int32], low: int, high: int, *, otherwise: int) -> int:
    """Return the last of ascending values in ``[low, high]``."""
    index = int(np.searchsorted(values, high, side="right")) - 1
    return int(values[index]) if index >= 0 and values[index] >= low else otherwise


def _first_within(values: NDArray[np.int32], low: int, high: int, *, otherwise: int) -> int:
    """Return the first of ascending values in ``[low, high]``."""
    index = int(np.searchsorted(values, low, side="left"))
    return int(values[index]) if index < len(values) and values[index] <= high else otherwise
