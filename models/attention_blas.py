"""Attention over packed tokens by numpy's BLAS, on CPUs whose instructions torch's own kernel leaves unused.

torch's scaled dot product multiplies by MKL, which takes its AVX2 path on CPUs that are not Intel's: 40
GFLOP/s a core at 46 tokens and 79 at 225 of an EPYC 9005, where a layer's products reach 220. OpenBLAS, which
comes with numpy, takes AVX-512 there. In a layer, the plain formula by it takes 0.6 to 0.7 times as long.

Rules: a sequence is multiplied by itself, head by head, so that its bits depend neither on its batch mates
nor on the number of threads; scores, softmax and sums are in float32 whatever the model's dtype.

Axes: T tokens, D a head's width, L a sequence's length, n sequences of one length.
"""

from __future__ import annotations

import platform
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from threading import Barrier, Lock
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it has no types
from torch.nn import functional

from models.encoder import Rows, sdpa_attention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray
    from torch import Tensor

    from models.encoder import Attend

_CPUINFO: Final = Path("/proc/cpuinfo")
# Below, torch's kernel is as fast; beyond, scores of a head outgrow the caches, and its blocks do not.
_SHORTEST: Final = 14
_LONGEST: Final = 1024
# Scores and weights of a piece, 400 KB, fit into a core's second-level cache. Half and twice are as fast.
_PIECE_SCORES: Final = 50_000
# Less work than this, 0.4 ms, is not worth waking a thread.
_SHARED_SCORES: Final = 200_000
_MOST_HELPERS: Final = 7


def blas_pays(*, cpuinfo: Path = _CPUINFO) -> bool:
    """Whether numpy multiplies faster than torch's attention: on x86-64 not of Intel, where it has OpenBLAS.

    On Intel's CPUs MKL uses all instructions, and elsewhere torch has no MKL; neither was measured.
    """
    if platform.machine() not in {"x86_64", "AMD64"}:
        return False
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    vendors = {line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")}
    return bool(vendors) and "GenuineIntel" not in vendors and bool(_openblas().lib_controllers)


def _openblas() -> ThreadpoolController:
    return ThreadpoolController().select(internal_api="openblas")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Some heads of one sequence, or all heads of ``num_sequences`` of one length that stand together."""

    start: int
    length: int
    num_sequences: int
    first_head: int
    num_heads: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.num_sequences * self.length)

    @property
    def heads(self) -> slice:
        return slice(self.first_head, self.first_head + self.num_heads)

    @property
    def by_blas(self) -> bool:
        return _SHORTEST <= self.length <= _LONGEST

    @property
    def num_scores(self) -> int:
        return self.num_sequences * self.num_heads * self.length**2


@dataclass(frozen=True, slots=True, kw_only=True)
class _States:
    """Float32 ``[T, heads, D]`` each; queries are scaled."""

    query: Tensor
    key: Tensor
    value: Tensor
    mixed: Tensor


class BlasAttention:
    """Attends by numpy's BLAS, on as many threads as torch has in the calling thread."""

    def __init__(self, *, num_heads: int) -> None:
        self._num_heads = num_heads
        self._helpers = _Helpers()
        # Threads of its own would compete with the replicas, and with torch's.
        _openblas().limit(limits=1)

    def __call__(self, cu_seqlens: Tensor, max_seqlen: int, rows: Rows = Rows.ALL) -> Attend:
        """Return what attends within these sequences; first tokens alone are left to torch."""
        if rows is not Rows.ALL:
            return sdpa_attention(cu_seqlens, max_seqlen, rows)
        num_rows = int(cu_seqlens[-1])
        pieces = tuple(_cut(cu_seqlens.tolist(), self._num_heads))

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            states = _States(
                query=query.float() * query.shape[-1] ** -0.5,
                key=key.float(),
                value=value.float(),
                mixed=torch.empty(query.shape, dtype=torch.float32),
            )
            states.mixed[num_rows:] = 0.0  # rows that round a batch up attend to nothing
            self._run(pieces, states)
            return states.mixed.to(query.dtype)

        return attend

    def _run(self, pieces: tuple[_Piece, ...], states: _States) -> None:
        waiting = deque(pieces)
        num_helpers = min(torch.get_num_threads(), len(pieces), _MOST_HELPERS + 1) - 1
        if num_helpers < 1 or sum(piece.num_scores for piece in pieces) < _SHARED_SCORES:
            _take(waiting, states)
            return
        pool = self._helpers.pool(num_helpers)
        ends: list[Future[None]] = [pool.submit(_take, waiting, states) for _ in range(num_helpers)]
        _take(waiting, states)
        for end in ends:
            end.result()


class _Helpers:
    """Threads beside the calling one, started when first needed; each has one of torch's threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._count = 0

    def pool(self, count: int) -> ThreadPoolExecutor:
        """Return a pool of at least so many."""
        with self._lock:
            if self._pool is None or self._count < count:
                # Who still uses the smaller one may go on; its threads end once nobody does.
                self._pool, self._count = _start(count), count
            return self._pool


def _start(count: int) -> ThreadPoolExecutor:
    num_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="xlmr-attend", initializer=_use_one_thread)
    met = Barrier(count)
    for end in [pool.submit(met.wait) for _ in range(count)]:
        end.result()
    # What a thread sets is also what new threads begin with, and what MKL takes everywhere.
    torch.set_num_threads(num_threads)
    return pool


def _use_one_thread() -> None:
    # A thread's first question takes over what another thread set last; later ones do not.
    torch.get_num_threads()
    torch.set_num_threads(1)


def _cut(bounds: list[int], num_heads: int) -> Iterator[_Piece]:
    """Cut sequences into pieces whose scores stay in a core's cache, runs of one length together."""
    sequences = ((start, end - start) for start, end in pairwise(bounds) if end > start)
    for length, run in groupby(sequences, key=lambda sequence: sequence[1]):
        starts = [start for start, _ in run]
        by_blas = _SHORTEST <= length <= _LONGEST
        num_fitting = max(1, _PIECE_SCORES // length**2) if by_blas else num_heads * len(starts)
        if num_fitting >= num_heads:
            together = num_fitting // num_heads
            for first in range(0, len(starts), together):
                count = min(together, len(starts) - first)
                yield _Piece(
                    start=starts[first], length=length, num_sequences=count, first_head=0, num_heads=num_heads
                )
            continue
        for start in starts:
            for head in range(0, num_heads, num_fitting):
                count = min(num_fitting, num_heads - head)
                yield _Piece(start=start, length=length, num_sequences=1, first_head=head, num_heads=count)


@torch.inference_mode()
def _take(waiting: deque[_Piece], states: _States) -> None:
    """Attend within pieces until none waits; several threads may take from the same ones."""
    scratch = torch.empty(2, max((piece.num_scores for piece in tuple(waiting) if piece.by_blas), default=0))
    while True:
        try:
            piece = waiting.popleft()
        except IndexError:
            return
        if piece.by_blas:
            _attend_by_blas(piece, states, scratch)
        else:
            _attend_by_torch(piece, states)


def _attend_by_blas(piece: _Piece, states: _States, scratch: Tensor) -> None:
    query, key, value, mixed = (
        _batched(part, piece) for part in (states.query, states.key, states.value, states.mixed)
    )
    shape = (*query.shape[:-1], piece.length)
    scores, weights = (part[: piece.num_scores].view(shape) for part in scratch)
    np.matmul(query, key.swapaxes(-1, -2), out=scores.numpy())
    torch.softmax(scores, dim=-1, out=weights)
    np.matmul(weights.numpy(), value, out=mixed)


def _batched(part: Tensor, piece: _Piece) -> NDArray[np.float32]:
    """View a piece of ``[T, heads, D]`` as ``[n, heads, L, D]``."""
    rows: NDArray[np.float32] = part[piece.rows, piece.heads].numpy()
    return rows.reshape(piece.num_sequences, piece.length, *rows.shape[1:]).swapaxes(1, 2)


def _attend_by_torch(piece: _Piece, states: _States) -> None:
    query, key, value, mixed = (
        part[piece.rows].view(piece.num_sequences, piece.length, *part.shape[1:]).transpose(1, 2)
        for part in (states.query, states.key, states.value, states.mixed)
    )
    mixed.copy_(functional.scaled_dot_product_attention(query, key, value, scale=1.0))
