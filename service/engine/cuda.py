"""How batches run on a GPU: one copy in, a recorded encoder where one fits, one copy out.

Rules: a batch's integers go over in one copy from pinned memory, which does not wait for the GPU;
nothing asks the GPU for a number before the logits. Encoders of equal weights share their
recordings. What cannot be recorded runs unrecorded, and the log says why.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import structlog
import torch

from service.engine.graphs import EncoderGraphs

if TYPE_CHECKING:
    from torch import Tensor

    from models.model import Model
    from service.batching.packing import PackedBatch
    from service.domain import Lane
    from service.engine.graphs import Record

# Ids and positions of the largest batch, and its offsets: more is allocated when it comes.
_FIRST_CAPACITY = 2 * 16384 + 4096


class Staging:
    """Pinned memory through which a batch goes over in one copy."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pinned = self._allocate(_FIRST_CAPACITY)

    def bring(self, batch: PackedBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids, positions and offsets on the device, int32.

        The copy has ended when the batch's logits are on the host; only then may another begin.
        """
        sizes = [len(batch.input_ids), len(batch.position_ids), len(batch.cu_seqlens)]
        total = sum(sizes)
        if total > len(self._pinned):
            self._pinned = self._allocate(2 * total)
        host = self._pinned.numpy()
        host[: sizes[0]] = batch.input_ids
        host[sizes[0] : sizes[0] + sizes[1]] = batch.position_ids
        host[sizes[0] + sizes[1] : total] = batch.cu_seqlens
        there = self._pinned[:total].to(self._device, non_blocking=True)
        input_ids, position_ids, cu_seqlens = torch.split(there, sizes)
        return input_ids, position_ids, cu_seqlens

    def _allocate(self, size: int) -> Tensor:
        return torch.empty(size, dtype=torch.int32, pin_memory=self._device.type == "cuda")


class CudaRunner:
    """Runs models on one GPU."""

    def __init__(self, device: torch.device, *, record: Record | None) -> None:
        """``record``: how to record; None where attention asks the host, and nothing can be."""
        self._device = device
        self._record = record
        self._staging = Staging(device)
        self._by_content: dict[tuple[str, int | None], EncoderGraphs] = {}
        self._by_encoder: dict[tuple[int, int | None], EncoderGraphs] = {}

    def prepare(self, model: Model, layer: int | None) -> None:
        """Record a model's encoder up to a layer, unless an equal one was."""
        key = (_content_of_encoder(model), layer)
        if self._record is not None and key not in self._by_content:
            self._record_encoder(model, key)
        if key in self._by_content:
            self._by_encoder[id(model.encoder), layer] = self._by_content[key]

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
                )
        except RuntimeError as error:
            self._record = None
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            structlog.get_logger().warning("graphs_unavailable", reason=reason)

    def run(self, model: Model, lane: Lane, batch: PackedBatch) -> Tensor:
        """Run a batch; logits on the device, float32."""
        input_ids, position_ids, cu_seqlens = self._staging.bring(batch)
        graphs = self._by_encoder.get((id(model.encoder), lane.layer))
        with torch.inference_mode():
            hidden = None if graphs is None else graphs.run(input_ids, position_ids, cu_seqlens)
        if hidden is None:
            hidden = model.encode(input_ids, position_ids, cu_seqlens, batch.max_seqlen, layer=lane.layer)
        pooling = None if lane.pooling is None else lane.pooling.value
        return model.read(hidden, cu_seqlens, pooling=pooling)


def _content_of_encoder(model: Model) -> str:
    """Return what two models with equal encoders have in common."""
    parts = sorted(
        f"{name} {digest}" for name, digest in model.tensor_digests.items() if name.startswith("encoder.")
    )
    return hashlib.sha256("\n".join((str(model.dtype), *parts)).encode()).hexdigest()
