"""An encoder's forward pass recorded once a size, and replayed: launching kernels one by one is slow.

Rules: a recording has the size of a bucket of tokens; a batch is copied into its buffers, and the
tail of ``cu_seqlens`` is filled with the batch's last offset, so that what is left of the bucket
belongs to no sequence; the longest length is the model's own, for a recording cannot change it.
Only the encoder is recorded: heads read the true batch. How to record is handed in. A recording that fails
leaves the thread and the allocator as they were.

Axes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

# What to record, and in return how to replay it and where its result is afterwards.
Record = Callable[[Callable[[], "Tensor"]], tuple[Callable[[], object], "Tensor"]]
# (input_ids [T], position_ids [T], cu_seqlens [B+1], max_seqlen) -> hidden [T, H]
Encode = Callable[["Tensor", "Tensor", "Tensor", int], "Tensor"]

# Kernels are launched before they end from some thousand tokens up, and recording buys nothing.
# Two an octave where the kernels' own time counts: a batch pays for at most half of its tokens again.
_BUCKET_TOKENS: Final = (64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096)
# An empty sequence costs the attention kernel a block that finds nothing to do; shorter ones than
# this on average are rare, and such a batch runs unrecorded.
_LEAST_MEAN_TOKENS: Final = 8
# As torch's documentation of CUDA graphs does.
_NUM_WARM_UPS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """What a recording can hold at most."""

    num_tokens: int
    num_sequences: int


def buckets_of(sizes: Iterable[int]) -> tuple[Bucket, ...]:
    """Return a bucket for each number of tokens, smallest first."""
    return tuple(
        Bucket(num_tokens=tokens, num_sequences=tokens // _LEAST_MEAN_TOKENS) for tokens in sorted(sizes)
    )


BUCKETS: Final = buckets_of(_BUCKET_TOKENS)


def bucket_for(num_tokens: int, num_sequences: int, buckets: tuple[Bucket, ...] = BUCKETS) -> Bucket | None:
    """Return the smallest bucket that holds a batch; None where none does."""
    return next(
        (
            bucket
            for bucket in buckets
            if bucket.num_tokens >= num_tokens and bucket.num_sequences >= num_sequences
        ),
        None,
    )


class _Recording:
    def __init__(
        self, encode: Encode, bucket: Bucket, *, max_seqlen: int, device: torch.device, record: Record
    ) -> None:
        def zeros(size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.int32, device=device)

        self._input_ids, self._position_ids = zeros(bucket.num_tokens), zeros(bucket.num_tokens)
        self._cu_seqlens = zeros(bucket.num_sequences + 1)
        self._replay, self._hidden = record(
            lambda: encode(self._input_ids, self._position_ids, self._cu_seqlens, max_seqlen)
        )

    def run(self, input_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor) -> Tensor:
        num_tokens, num_bounds = len(input_ids), len(cu_seqlens)
        self._input_ids[:num_tokens].copy_(input_ids)
        self._position_ids[:num_tokens].copy_(position_ids)
        self._cu_seqlens[:num_bounds].copy_(cu_seqlens)
        self._cu_seqlens[num_bounds:].fill_(num_tokens)
        self._replay()
        return self._hidden[:num_tokens]


class EncoderGraphs:
    """One encoder's recordings at one exit layer, a bucket each."""

    def __init__(
        self,
        encode: Encode,
        *,
        max_seqlen: int,
        device: torch.device,
        record: Record,
        buckets: tuple[Bucket, ...] = BUCKETS,
    ) -> None:
        """Record every bucket, the largest first: the memory that it needs serves the others too.

        ``buckets``: smallest first.
        """
        self._buckets = buckets
        self._recordings = {
            bucket: _Recording(encode, bucket, max_seqlen=max_seqlen, device=device, record=record)
            for bucket in reversed(buckets)
        }

    def run(self, input_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor) -> Tensor | None:
        """Encode a batch, int32 on the device; None where it fits no recording.

        Returns ``[T, H]``, valid until the next run.
        """
        bucket = bucket_for(len(input_ids), len(cu_seqlens) - 1, self._buckets)
        if bucket is None:
            return None
        return self._recordings[bucket].run(input_ids, position_ids, cu_seqlens)


def cuda_recorder() -> Record:
    """Return what records CUDA graphs, which share one pool of memory since one runs at a time."""
    pool = torch.cuda.graph_pool_handle()
    # One for all: memory of the pool that one recording has let go serves the next on the same stream alone.
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's gap
    abandoned: list[torch.cuda.CUDAGraph] = []

    def record(work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        before = torch.cuda.current_stream()
        # Kernels are chosen and workspaces made in runs before the one that is recorded.
        side.wait_stream(before)
        with torch.cuda.stream(side):
            for _ in range(_NUM_WARM_UPS):
                work()
        before.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            # Another thread may load weights meanwhile, and its allocations are none of this recording's.
            with torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode="thread_local"):
                output = work()
        except BaseException:
            torch.cuda.set_stream(before)
            # The allocator may still ask it which memory is its own.
            abandoned.append(graph)
            _close_pool(pool)
            raise
        return graph.replay, output

    return record


def _close_pool(pool: tuple[int, int]) -> None:
    """Let allocations go to a failed recording's pool no longer.

    torch ends a capture that CUDA has broken off by raising: it then leaves the thread on the side stream,
    and the allocator in a state in which it can never again give cached memory back.
    """
    end = getattr(torch._C, "_cuda_endAllocateToPool", None)  # noqa: SLF001 - there is no public way
    if end is not None:
        with suppress(RuntimeError):  # a capture that ended by itself has closed it
            end(torch.cuda.current_device(), pool)
