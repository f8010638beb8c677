"""The likeliest spans of a context, from start and end logits over windows.

Rules: a span is a start and an end piece of the context, the end not before the start and at
most ``max_answer_tokens`` pieces long, both inside one window. Its logit is the sum of its
start and end logits, in the window where that sum is largest. Its score is its share of
all spans of the context: the softmax over them, each counted once however many windows hold
it. So scores are probabilities, and depend on neither ``top_k`` nor the overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as Many

    from numpy.typing import NDArray

    from service.tasks.windows import Window

# Logit, first piece, last piece: as numbers, since thousands of them are sorted.
_Candidate = tuple[float, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceSpan:
    """Pieces ``first`` to ``last`` of the context, both included, and the span's probability."""

    first: int
    last: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Block:
    """Spans that start in pieces ``start``.. and that no further window holds.

    ``logits``: float64 ``[rows, max_answer_tokens]``: row r, column d is the span from
    ``start + r`` to ``start + r + d``; minus infinity where there is none.
    """

    start: int
    logits: NDArray[np.float64]


def likeliest(
    windows: Many[Window], logits: Many[NDArray[np.float32]], *, max_answer_tokens: int, count: int
) -> list[PieceSpan]:
    """Return the ``count`` likeliest spans of all windows, best first, the earlier of equals first.

    ``logits``: of each window's pieces, float32 ``[end - start, 2]``.
    """
    best: list[_Candidate] = []
    log_total = -np.inf
    for block in _blocks(windows, logits, max_answer_tokens):
        log_total = np.logaddexp(log_total, _log_sum(block.logits))
        best = _merge(best, block, count)
    return [
        PieceSpan(first=first, last=last, score=float(np.exp(logit - log_total)))
        for logit, first, last in best
    ]


def _blocks(
    windows: Many[Window], logits: Many[NDArray[np.float32]], max_answer_tokens: int
) -> Iterator[_Block]:
    """Yield every span of the context once, window by window; no more than two windows are held."""
    width = min(max_answer_tokens, max(map(len, logits)))
    next_starts = [*(start for start, _ in windows[1:]), windows[-1][1]]
    open_rows = np.empty((0, width))
    for (start, _), next_start, rows in zip(windows, next_starts, logits, strict=True):
        sums = _sums(rows.astype(np.float64), width)
        sums[: len(open_rows)] = np.maximum(sums[: len(open_rows)], open_rows)
        num_closed = next_start - start
        yield _Block(start=start, logits=sums[:num_closed])
        open_rows = sums[num_closed:]


def _sums(rows: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return start plus end logits of one window's spans: ``[L, 2]`` to ``[L, width]``."""
    ends = np.concatenate((rows[:, 1], np.full(width - 1, -np.inf)))
    sums: NDArray[np.float64] = rows[:, :1] + sliding_window_view(ends, width)
    return sums


def _log_sum(logits: NDArray[np.float64]) -> float:
    top = logits.max()
    return float(top + np.log(np.exp(logits - top).sum()))


def _merge(best: list[_Candidate], block: _Block, count: int) -> list[_Candidate]:
    """Return the ``count`` best of those so far and a block's, best first."""
    flat = block.logits.ravel()
    kept = min(count, flat.size)
    least = np.partition(flat, -kept)[-kept]
    chosen = np.flatnonzero((flat >= least) & (flat > -np.inf))
    firsts, offsets = np.divmod(chosen, block.logits.shape[1])
    firsts += block.start
    fresh = zip(flat[chosen].tolist(), firsts.tolist(), (firsts + offsets).tolist(), strict=True)
    return sorted((*best, *fresh), key=lambda span: (-span[0], span[1], span[2]))[:count]
