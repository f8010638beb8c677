"""The device that torch runs on: a GPU, or the CPU.

Rules: torch is touched on the engine's thread alone, since its number of threads and its
CUDA streams belong to the thread that uses them. Arrays go in and come out as numpy, so
that nothing above knows torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.checkpoint import CheckpointError, Model, load_model
from models.tokenizer import Tokenizer, TokenizerError, bundled_file
from service.batching.cost import Shape
from service.domain import Pooling, VariantCard
from service.engine.device import Loaded
from service.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from models.variant import Variant
    from service.batching.packing import PackedBatch
    from service.domain import Lane

# XTREME's own length; a catalogue may ask for less or, where positions allow, for more.
_MAX_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """Where and how to run. ``name``: auto, cpu or cuda. ``dtype``: None for the catalogue's own."""

    name: str = "auto"
    dtype: str | None = None
    num_threads: int | None = None


class TorchDevice:
    """Every variant's model on one device."""

    def __init__(self, variants: tuple[Variant, ...], options: DeviceOptions) -> None:
        self._variants = variants
        self._options = options
        self._models: dict[str, Model] = {}

    def load(self) -> Iterator[Loaded]:
        """Load the variants one after the other, in the catalogue's order.

        Raises:
            StartupError: there is no such device, or a checkpoint cannot be served as the
                catalogue says.
        """
        device = _choose(self._options.name)
        if self._options.num_threads is not None:
            torch.set_num_threads(self._options.num_threads)
        dtype = None if self._options.dtype is None else getattr(torch, self._options.dtype)
        for variant in self._variants:
            try:
                model = load_model(variant, device=device, dtype=dtype)
                tokenizer_file = _tokenizer_file(variant, model)
                model.check_tokenizer(Tokenizer.from_file(tokenizer_file))
            except (CheckpointError, TokenizerError) as error:
                raise StartupError(_one_line(error)) from error
            except torch.OutOfMemoryError as error:
                raise StartupError(
                    f"variant {variant.name!r} does not fit in the memory of {device}; "
                    "serve fewer variants, or in dtype bfloat16."
                ) from error
            self._models[variant.name] = model
            yield Loaded(
                card=_card(variant, model, tokenizer_file),
                shape=_shape(model),
                padding_idx=model.padding_idx,
            )

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        """Run a batch of one lane; the shape of what comes back depends on the head."""
        model = self._models[lane.variant]
        try:
            output = model.forward(
                torch.from_numpy(batch.input_ids).to(model.device),
                torch.from_numpy(batch.position_ids).to(model.device),
                torch.from_numpy(batch.cu_seqlens).to(model.device),
                batch.max_seqlen,
                layer=lane.layer,
                pooling=None if lane.pooling is None else lane.pooling.value,
            )
            logits: NDArray[np.float32] = output.cpu().numpy()
        except torch.OutOfMemoryError:
            # What the failed batch held must be free before its sequences run alone.
            torch.cuda.empty_cache()
            raise
        return logits


def _choose(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise StartupError(
            "--device cuda was asked for, but torch finds no CUDA device here; use --device cpu."
        )
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _tokenizer_file(variant: Variant, model: Model) -> Path:
    if model.tokenizer_file is None:
        raise CheckpointError(
            f"variant {variant.name!r}: its checkpoint has no tokenizer.json; name one in the catalogue "
            f"(tokenizer = ...), XLM-R's own or {bundled_file().name} of this package."
        )
    return model.tokenizer_file


def _shape(model: Model) -> Shape:
    return Shape(
        architecture=f"xlm-roberta-{model.num_layers}x{model.hidden_size}",
        dtype=_dtype_name(model),
        layer=model.num_layers,
        device=str(model.device),
    )


def _dtype_name(model: Model) -> str:
    return str(model.dtype).removeprefix("torch.")


def _card(variant: Variant, model: Model, tokenizer_file: Path) -> VariantCard:
    lineage = variant.lineage
    return VariantCard(
        name=variant.name,
        head=model.kind.value,
        labels=model.labels,
        revision=model.revision,
        lineage=lineage.system,
        lineage_tasks=lineage.tasks,
        lineage_languages=lineage.languages,
        base=variant.base,
        dtype=_dtype_name(model),
        synthetic=model.synthetic,
        digest=model.digest,
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        max_positions=model.max_positions,
        tokenizer=str(tokenizer_file),
        default_max_tokens=variant.max_tokens or min(_MAX_TOKENS, model.max_positions),
        default_pooling=Pooling(variant.pooling or Pooling.MEAN),
        default_layer=variant.layer,
        default_normalize=bool(variant.normalize),
        owned_bytes=sum(tensor.nbytes for tensor in model.tensors.values()),
        shared_bytes=0,
        has_pooler=model.has_pooler,
    )
