"""How batches run on a GPU: one copy in, a recorded encoder where one fits, one copy out.

Rules: a batch's integers go over in one copy from pinned memory, beside whatever the GPU computes;
nothing asks the GPU for a number before the logits. Several threads may run batches: while one waits
for its logits, another packs its batch and brings it. Each has buffers of its own from packing to
logits, and what is asked of the GPU is asked by one thread at a time, so that recordings, whose buffers all
share, are filled and read in one order. Encoders of equal weights share their recordings. What cannot be
recorded runs unrecorded, and the log says why.
"""

from __future__ import annotations

import hashlib
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog
import torch

from models.encoder import sdpa_attention
from service.engine.graphs import BUCKETS, EncoderGraphs

if TYPE_CHECKING:
    from torch import Tensor

    from models.model import Model
    from service.batching.packing import PackedBatch
    from service.domain import Lane
    from service.engine.graphs import Bucket, Record

# Ids and positions of the largest batch, and its offsets: more is allocated when it comes.
_FIRST_CAPACITY: Final = 2 * 16384 + 4096


class Staging:
    """Memory on both sides through which a batch goes over in one copy; one batch at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]  # torch's gap
        self._allocate(_FIRST_CAPACITY)

    def bring(self, batch: PackedBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids, positions and offsets on the device, int32, valid until the next call.

        What the device does with an earlier batch from here must have ended: another would overwrite it.
        """
        parts = (batch.input_ids, batch.position_ids, batch.cu_seqlens)
        sizes = [len(part) for part in parts]
        total = sum(sizes)
        if total > len(self._host):
            self._allocate(2 * total)
        np.concatenate(parts, out=self._host.numpy()[:total])
        if self._copies is None:
            self._there[:total].copy_(self._host[:total])
        else:
            with torch.cuda.stream(self._copies):
                self._there[:total].copy_(self._host[:total], non_blocking=True)
            # The host goes on; the GPU computes with it once it has come.
            torch.cuda.current_stream(self._device).wait_stream(self._copies)
        input_ids, position_ids, cu_seqlens = torch.split(self._there[:total], sizes)
        return input_ids, position_ids, cu_seqlens

    def _allocate(self, size: int) -> None:
        self._host = torch.empty(size, dtype=torch.int32, pin_memory=self._device.type == "cuda")
        self._there = torch.empty(size, dtype=torch.int32, device=self._device)
        if self._copies is not None:
            # Memory that the allocator gives may be in use by what this stream still does.
            self._copies.wait_stream(torch.cuda.current_stream(self._device))


class CudaRunner:
    """Runs models on one GPU."""

    def __init__(
        self,
        device: torch.device,
        *,
        record: Record | None,
        num_threads: int = 1,
        buckets: tuple[Bucket, ...] = BUCKETS,
    ) -> None:
        """``record``: how to record; None where nothing shall be.

        ``num_threads``: how many run batches at the same time. ``buckets``: which sizes to record.
        """
        self._device = device
        self._record = record
        self._buckets = buckets
        self._asking = Lock()
        self._stagings: SimpleQueue[Staging] = SimpleQueue()
        for _ in range(num_threads):
            self._stagings.put(Staging(device))
        self._by_content: dict[tuple[str, int | None], EncoderGraphs] = {}
        self._by_encoder: dict[tuple[int, int | None], EncoderGraphs] = {}

    def prepare(self, model: Model, layer: int | None) -> None:
        """Record a model's encoder up to a layer, unless an equal one was, or attention asks the host."""
        if model.encoder.attention is sdpa_attention:
            return
        key = (_content_of_encoder(model), layer)
        if self._record is not None and key not in self._by_content:
            self._record_encoder(model, key)
        if key in self._by_content:
            self._by_encoder[id(model.encoder), layer] = self._by_content[key]

    def records(self, model: Model, layer: int | None) -> bool:
        """Whether batches of a model that stop at a layer run recorded where one fits."""
        return (id(model.encoder), layer) in self._by_encoder

    def forget(self, model: Model) -> None:
        """Let a model's recordings go, but for those that others use."""
        gone = {key for key in self._by_encoder if key[0] == id(model.encoder)}
        self._by_encoder = {key: graphs for key, graphs in self._by_encoder.items() if key not in gone}
        used = {id(graphs) for graphs in self._by_encoder.values()}
        self._by_content = {key: graphs for key, graphs in self._by_content.items() if id(graphs) in used}

    def _record_encoder(self, model: Model, key: tuple[str, int | None]) -> None:
        assert self._record is not None, "Nothing records, and something was to be recorded. This is a bug."

        def encode(input_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor, longest: int) -> Tensor:
            return model.encode(input_ids, position_ids, cu_seqlens, longest, layer=key[1])

        try:
            with torch.inference_mode():
                self._by_content[key] = EncoderGraphs(
                    encode,
                    max_seqlen=model.max_positions,
                    device=self._device,
                    record=self._record,
                    buckets=self._buckets,
                )
        except RuntimeError as error:
            self._record = None
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            structlog.get_logger().warning("graphs_unavailable", reason=reason)

    def run(self, model: Model, lane: Lane, batch: PackedBatch) -> Tensor:
        """Run a batch; logits on the host, float32."""
        staging = self._stagings.get()
        try:
            with self._asking:
                logits = self._ask(model, lane, staging.bring(batch), batch.max_seqlen)
                # Into pinned memory, behind the computation.
                there = logits.to("cpu", non_blocking=True)
                done = self._mark()
            if done is not None:
                done.synchronize()
        except BaseException:
            # What a failed batch had already asked for may still read these buffers.
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            raise
        else:
            return there
        finally:
            self._stagings.put(staging)

    def _ask(
        self, model: Model, lane: Lane, brought: tuple[Tensor, Tensor, Tensor], max_seqlen: int
    ) -> Tensor:
        pooling = None if lane.pooling is None else lane.pooling.value
        graphs = self._by_encoder.get((id(model.encoder), lane.layer))
        if graphs is not None:
            with torch.inference_mode():
                hidden = graphs.run(*brought)
            if hidden is not None:
                return model.read(hidden, brought[-1], pooling=pooling)
        return model.forward(*brought, max_seqlen, layer=lane.layer, pooling=pooling)

    def _mark(self) -> torch.cuda.Event | None:
        """Return what tells when everything that was asked so far has been done."""
        if self._device.type != "cuda":
            return None
        # A thread that waits for it sleeps, and leaves the core to those that cut texts.
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch's gap
        event.record(torch.cuda.current_stream(self._device))
        return event


def _content_of_encoder(model: Model) -> str:
    """Return what two models with equal encoders have in common."""
    parts = sorted(
        f"{name} {digest}" for name, digest in model.tensor_digests.items() if name.startswith("encoder.")
    )
    return hashlib.sha256("\n".join((str(model.dtype), *parts)).encode()).hexdigest()
