"""A checkpoint in Hugging Face's layout into a model that can be run.

Rules: what is loaded is checked by name and shape before anything runs, and whatever does
not fit is told in one line; labels come by name from ``id2label`` (their order differs
between published checkpoints); in its stored dtype on the CPU a model stays mapped from its
file. In other forms it is made to run faster, and its weights are held in a store that models
can share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.config import SYNTHETIC_KEY, ConfigError, labels_of, padding_idx, read_config, understand
from models.encoder import Encoder
from models.fused import Form, fuse
from models.heads import Head, head_for
from models.hub import HubError, checkpoint_folder, tokenizer_file
from models.linear import has_onednn
from models.model import CheckpointError, Model
from models.names import bare_name, encoder_name, head_name, is_leftover, is_weight
from models.store import Source, WeightStore
from models.variant import HeadKind, Pooling
from models.weights import WeightsError, digest_checkpoint, digest_tensors, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor
    from transformers import XLMRobertaConfig

    from models.variant import Variant

__all__ = ["CheckpointError", "Model", "load_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What a checkpoint's directory holds.

    ``weights``, ``digests``: by bare stored name; ``digests`` leaves out what is not a weight.
    """

    folder: Path
    config: XLMRobertaConfig
    synthetic: bool
    tokenizer_file: Path | None
    weights: Mapping[str, Tensor]
    digests: Mapping[str, str]
    digest: str


def load_model(
    variant: Variant,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    form: Form | None = None,
    store: WeightStore | None = None,
) -> Model:
    """Load a variant's encoder and head.

    ``dtype``: None for the catalogue's, else float32. ``form``: None for as stored, and for int8 its
    own. ``store``: where equal weights of several models are held once; None for one of its own.

    Raises:
        CheckpointError: the checkpoint is absent, damaged, of another architecture or for another
            head, or the variant asks for what it does not have.
    """
    try:
        stored = _read(variant)
    except (ConfigError, HubError, WeightsError) as error:
        raise CheckpointError(str(error)) from error
    where = f"variant {variant.name!r}: the checkpoint {stored.folder}"
    _check_digest(variant, stored, where)
    labels = _labels(variant, stored, where)
    with torch.device("meta"):  # shapes only; the weights come from the file
        encoder = Encoder(stored.config)
        has_pooler = "pooler.dense.weight" in stored.weights
        head = head_for(variant.head, stored.config, len(labels), has_pooler=has_pooler)
    places = _places(variant.head, encoder, head)
    _check_weights(variant.head, stored.weights, places, where)
    kept = dtype or getattr(torch, variant.dtype or "float32")
    held_as = form or (Form.INT8 if kept is torch.int8 else Form.STORED)
    _check_form(held_as, kept, torch.device(device), variant)
    source = Source(
        stored={ours: stored.weights[place.stored] for ours, place in places.items()},
        digests={ours: stored.digests[place.stored] for ours, place in places.items()},
        device=torch.device(device),
        # Whatever is not a layer's linear map stays in float32 in int8.
        dtype=torch.float32 if held_as is Form.INT8 else kept,
        store=store or WeightStore(),
        used={},
    )
    _fill(encoder, head, stored.config, source, held_as)
    model = Model(
        encoder=encoder,
        head=head,
        kind=variant.head,
        labels=labels,
        digest=stored.digest,
        # The hub's cache names a snapshot's directory after its commit.
        revision=stored.digest[:12] if variant.is_local else stored.folder.name,
        synthetic=stored.synthetic,
        device=source.device,
        dtype=kept,
        num_layers=stored.config.num_hidden_layers,
        hidden_size=stored.config.hidden_size,
        vocab_size=stored.config.vocab_size,
        padding_idx=padding_idx(stored.config),
        max_positions=stored.config.max_position_embeddings - padding_idx(stored.config) - 1,
        tokenizer_file=stored.tokenizer_file,
        tensors=_tensors(encoder, head),
        tensor_digests=source.digests,
        held_bytes=source.used,
    )
    _check_wishes(variant, model, where)
    return model


def _read(variant: Variant) -> _Stored:
    folder = checkpoint_folder(variant)
    raw = read_config(folder)
    config = understand(raw, folder)
    weights = {
        bare_name(name): tensor for name, tensor in read_weights(folder, allow_bin=variant.allow_bin).items()
    }
    digests = digest_tensors({name: tensor for name, tensor in weights.items() if is_weight(name)})
    return _Stored(
        folder=folder,
        config=config,
        synthetic=SYNTHETIC_KEY in raw,
        tokenizer_file=tokenizer_file(variant, folder),
        weights=weights,
        digests=digests,
        digest=digest_checkpoint(digests),
    )


def _check_digest(variant: Variant, stored: _Stored, where: str) -> None:
    if variant.sha256 is not None and variant.sha256 != stored.digest:
        raise CheckpointError(
            f"{where} has the digest {stored.digest}, the catalogue says {variant.sha256}; "
            "it is another checkpoint, or it has changed."
        )


def _labels(variant: Variant, stored: _Stored, where: str) -> tuple[str, ...]:
    """Return the labels in order of the classifier's rows, the catalogue's before the checkpoint's."""
    if variant.head not in (HeadKind.CLASSIFY, HeadKind.TAG):
        if variant.labels:
            raise CheckpointError(f"{where}: head {variant.head.value!r} has no labels; leave them out.")
        return ()
    labels = variant.labels or labels_of(stored.config)
    rows = stored.weights.get(head_name(variant.head, "output.weight"))
    if rows is not None and len(rows) != len(labels):
        raise CheckpointError(
            f"{where} tells {len(rows)} classes apart, but there are {len(labels)} labels "
            f"({', '.join(labels)}); give them all in the catalogue."
        )
    return labels


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where one weight of the model comes from, and the shape that it must have."""

    stored: str
    shape: torch.Size


def _places(kind: HeadKind, encoder: Encoder, head: Head) -> dict[str, _Place]:
    places = {
        f"encoder.{name}": _Place(stored=encoder_name(name), shape=tensor.shape)
        for name, tensor in encoder.state_dict().items()
    }
    return places | {
        f"head.{name}": _Place(stored=head_name(kind, name), shape=tensor.shape)
        for name, tensor in head.state_dict().items()
    }


def _check_weights(
    kind: HeadKind, weights: Mapping[str, Tensor], places: Mapping[str, _Place], where: str
) -> None:
    """Refuse a checkpoint whose weights are not exactly those that the model has places for."""
    known = {place.stored for place in places.values()}
    missing = [name for name in known if name not in weights]
    strange = [name for name in weights if name not in known and not is_leftover(kind, name)]
    if missing or strange:
        faults = [f"lacks {_some(missing)}"] * bool(missing) + [f"holds {_some(strange)} besides"] * bool(
            strange
        )
        raise CheckpointError(f"{where} does not fit head {kind.value!r}: it {' and '.join(faults)}.")
    for place in places.values():
        shape = weights[place.stored].shape
        if shape != place.shape:
            raise CheckpointError(
                f"{where}: {place.stored} has the shape {tuple(shape)}, "
                f"config.json asks for {tuple(place.shape)}."
            )


def _some(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(sorted(names)[:shown]) + more


def _check_form(form: Form, dtype: torch.dtype, device: torch.device, variant: Variant) -> None:
    """Refuse what this device cannot compute, and forms that are not of this dtype."""
    assert (form is Form.INT8) == (dtype is torch.int8), f"Form {form} is not for {dtype}. This is a bug."
    if form is not Form.INT8:
        return
    if device.type != "cpu":
        raise CheckpointError(
            f"variant {variant.name!r}: int8 runs on the CPU alone; serve it in bfloat16 on {device.type}."
        )
    if not has_onednn():
        raise CheckpointError(
            f"variant {variant.name!r}: int8 needs oneDNN, which this build of torch has not; "
            "serve it in float32."
        )


def _fill(encoder: Encoder, head: Head, config: XLMRobertaConfig, source: Source, form: Form) -> None:
    if form is Form.STORED:
        for prefix, module in (("encoder.", encoder), ("head.", head)):
            tensors = {name: source.plain(prefix + name) for name in module.state_dict()}
            module.load_state_dict(tensors, assign=True)
    else:
        fuse(encoder, head, config, source, form)
    for module in (encoder, head):
        module.requires_grad_(requires_grad=False)
        module.eval()


def _tensors(encoder: Encoder, head: Head) -> dict[str, Tensor]:
    return {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()} | {
        f"head.{name}": tensor for name, tensor in head.state_dict().items()
    }


def _check_wishes(variant: Variant, model: Model, where: str) -> None:
    """Refuse at the start what would otherwise fail at every request."""
    if variant.layer is not None and variant.layer > model.num_layers:
        raise CheckpointError(
            f"{where} has {model.num_layers} layers; the catalogue asks for layer {variant.layer}."
        )
    if variant.pooling is Pooling.POOLER and not model.has_pooler:
        raise CheckpointError(f"{where} has no pooler; ask for pooling mean or cls.")
    if variant.max_tokens is not None and variant.max_tokens > model.max_positions:
        raise CheckpointError(
            f"{where} has positions for {model.max_positions} tokens; "
            f"the catalogue asks for {variant.max_tokens}."
        )
