"""One variant from its checkpoint onto a device, checked before anybody relies on it.

Rules: a variant is served in the form that its device runs fastest; its numbers are compared
with the same checkpoint in float32 as stored, and too far from that it is refused; equal
weights are held once for all variants.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import structlog
import torch

from models.attention_varlen import choose_attention
from models.canary import canary
from models.checkpoint import CheckpointError, Form, build_model, read_checkpoint
from models.fused import best_form
from models.linear import EIGHT_BITS, has_onednn, levels_here, multiplies_natively
from models.parity import measure_parity
from models.store import WeightStore
from models.tokenizer import TokenizerError, Tokenizers, bundled_file
from service.batching.cost import Shape
from service.domain import Pooling, VariantCard, VariantParity
from service.engine.device import Loaded
from service.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from models.model import Model
    from models.stored import Stored
    from models.variant import Variant

# XTREME's own length; a catalogue may ask for less or, where positions allow, for more.
_MAX_TOKENS = 512
# Of the canary's sequences, those that are asked while requests are served: short ones, about sixty tokens
# together, which two CPU cores answer in some fifty milliseconds at base size.
_NUM_ASKED_AGAIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far from float32 a variant may be: relative error of a logit, share of equal answers."""

    max_error: float
    min_agreement: float


class VariantLoader:
    """Loads variants onto one device, in one dtype or each in its own."""

    def __init__(
        self,
        device: torch.device,
        *,
        dtype: torch.dtype | None,
        bounds: Bounds,
        tokenizers: Tokenizers | None = None,
    ) -> None:
        """``dtype``: of all variants; None for the catalogue's. ``tokenizers``: where others look them up."""
        self._device = device
        self._dtype = dtype
        self._bounds = bounds
        self._store = WeightStore()
        self._tokenizers = Tokenizers() if tokenizers is None else tokenizers
        self._shares_tokenizers = tokenizers is not None
        self._warned: set[str] = set()

    def load(self, variant: Variant) -> tuple[Model, Loaded]:
        """Load a variant and describe it.

        Raises:
            StartupError: it cannot be served as the catalogue says.
        """
        found = self.load_unless(variant, digest=None, generation=0)
        assert found is not None, "Weights without a digest were found equal. This is a bug."
        return found

    def load_unless(
        self, variant: Variant, *, digest: str | None, generation: int
    ) -> tuple[Model, Loaded] | None:
        """Load a variant and describe it, or return None where its weights have a digest.

        Raises:
            StartupError: it cannot be served as the catalogue says.
        """
        try:
            stored = read_checkpoint(variant)
            return None if stored.digest == digest else self._load(variant, stored, generation)
        except (CheckpointError, TokenizerError) as error:
            raise StartupError(" ".join(str(error).split())) from error
        except torch.OutOfMemoryError as error:
            raise StartupError(
                f"variant {variant.name!r} does not fit in the memory of {self._device}; "
                "serve fewer variants, or in dtype bfloat16."
            ) from error

    def forget_tokenizers(self) -> None:
        """Let go of what only loading needs; more variants may be loaded all the same."""
        if not self._shares_tokenizers:
            self._tokenizers.keep(())

    def keep(self, models: Iterable[Model]) -> None:
        """Let go of weights that none of these models uses."""
        self._store.keep({key for model in models for key in model.held_bytes})

    def _load(self, variant: Variant, stored: Stored, generation: int) -> tuple[Model, Loaded]:
        dtype = self._dtype or getattr(torch, variant.dtype or "float32")
        form = best_form(self._device, dtype)
        self._warn_of_slow_kernels(dtype, form)
        model = build_model(variant, stored, device=self._device, dtype=dtype, form=form, store=self._store)
        self._choose_attention(model, stored)
        tokenizer_file = _tokenizer_file(variant, model)
        tokenizer_digest, tokenizer = self._tokenizers.read(tokenizer_file)
        model.check_tokenizer(tokenizer)
        sequences = canary(tokenizer, max_positions=model.max_positions)
        parity = self._check_parity(variant, stored, model, sequences)
        loaded = Loaded(
            card=replace(
                _card(variant, model, tokenizer_file, parity),
                tokenizer_digest=tokenizer_digest,
                generation=generation,
            ),
            shape=_shape(model),
            padding_idx=model.padding_idx,
            held_bytes=dict(model.held_bytes),
            canary=sequences[:_NUM_ASKED_AGAIN],
        )
        return model, loaded

    def _warn_of_slow_kernels(self, dtype: torch.dtype, form: Form) -> None:
        """Say once of each dtype what this CPU does worse than others."""
        name = str(dtype).removeprefix("torch.")
        if self._device.type != "cpu" or name in self._warned:
            return
        log = structlog.get_logger()
        self._warned.add(name)
        if not multiplies_natively(dtype):
            advice = "this CPU has no instructions for it: float32 or int8 is likely faster"
            log.warning("dtype_is_emulated", dtype=name, advice=advice)
        elif form is Form.JOINED:
            advice = "oneDNN does not multiply it here: torch's own kernels do, which are slower"
            log.warning("weights_not_packed", dtype=name, advice=advice)
        elif form is Form.INT8 and has_onednn() and levels_here() != EIGHT_BITS:
            advice = (
                "this CPU has no VNNI: numbers are rounded to fewer levels, so that products do not saturate"
            )
            log.warning("int8_has_fewer_levels", levels=asdict(levels_here()), advice=advice)

    def _choose_attention(self, model: Model, stored: Stored) -> None:
        if self._device.type == "cpu":
            return
        config = stored.config
        choice = choose_attention(
            self._device, model.dtype, head_size=config.hidden_size // config.num_attention_heads
        )
        model.encoder.attention = choice.attention
        if choice.why_not_varlen is not None and choice.why_not_varlen not in self._warned:
            self._warned.add(choice.why_not_varlen)
            structlog.get_logger().warning("varlen_attention_unavailable", reason=choice.why_not_varlen)

    def _check_parity(
        self, variant: Variant, stored: Stored, model: Model, sequences: tuple[NDArray[np.int32], ...]
    ) -> VariantParity:
        reference = build_model(variant, stored, device=self._device, dtype=torch.float32, form=Form.STORED)
        measured = measure_parity(model, reference, sequences)
        parity = VariantParity(
            max_error=measured.max_error,
            mean_error=measured.mean_error,
            agreement=measured.agreement,
            num_answers=measured.num_answers,
            batch_error=measured.batch_error,
        )
        structlog.get_logger().info(
            "parity_measured",
            variant=variant.name,
            dtype=_dtype_name(model),
            max_error=round(parity.max_error, 6),
            mean_error=round(parity.mean_error, 6),
            agreement=round(parity.agreement, 4),
            batch_error=round(parity.batch_error, 6),
        )
        bounds = self._bounds
        if parity.max_error > bounds.max_error or parity.agreement < bounds.min_agreement:
            raise StartupError(
                f"variant {variant.name!r} in {_dtype_name(model)} is too far from float32: its logits "
                f"differ by {parity.max_error:.3g} of the largest (--max-parity-error {bounds.max_error:g}), "
                f"and {parity.agreement:.0%} of {parity.num_answers} answers agree "
                f"(--min-parity-agreement {bounds.min_agreement:g}). Serve it in a wider dtype."
            )
        return parity


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


def _card(variant: Variant, model: Model, tokenizer_file: Path, parity: VariantParity) -> VariantCard:
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
        # Until all are loaded, nobody else uses them.
        owned_bytes=sum(model.held_bytes.values()),
        shared_bytes=0,
        has_pooler=model.has_pooler,
        parity=parity,
    )
