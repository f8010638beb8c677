"""A checkpoint in Hugging Face's layout into a model that can be run.

Rules: what is loaded is checked by name and shape before anything runs, and whatever does
not fit is told in one line; labels come by name from ``id2label`` (their order differs
between published checkpoints); in its stored dtype on the CPU a model stays mapped from its
file. In other forms it is made to run faster, and its weights are held in a store that models
can share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from models.config import labels_of, padding_idx
from models.encoder import Encoder
from models.fused import Form, fuse
from models.heads import Head, head_for
from models.linear import has_onednn
from models.model import CheckpointError, Model
from models.names import head_name
from models.store import Source, WeightStore
from models.stored import Stored, places_of, read_checkpoint
from models.variant import HeadKind, Pooling

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import XLMRobertaConfig

    from models.variant import Variant

__all__ = ["CheckpointError", "Form", "Model", "build_model", "load_model", "read_checkpoint"]


def load_model(
    variant: Variant,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    form: Form | None = None,
    store: WeightStore | None = None,
) -> Model:
    """Load a variant's encoder and head.

    ``dtype``, ``form``, ``store``: as ``build_model`` takes them.

    Raises:
        CheckpointError: as ``read_checkpoint`` and ``build_model``.
    """
    return build_model(variant, read_checkpoint(variant), device=device, dtype=dtype, form=form, store=store)


def build_model(  # noqa: PLR0913 - all but the first two by keyword
    variant: Variant,
    stored: Stored,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    form: Form | None = None,
    store: WeightStore | None = None,
) -> Model:
    """Make a model of what was read.

    ``dtype``: None for the catalogue's, else float32. ``form``: None for as stored, and for int8 its
    own. ``store``: where equal weights of several models are held once; None for one of its own.

    Raises:
        CheckpointError: the checkpoint is another head's, or the variant asks for what it does
            not have, or the device cannot compute the dtype.
    """
    where = f"variant {variant.name!r}: the checkpoint {stored.folder}"
    kept = dtype or getattr(torch, variant.dtype or "float32")
    held_as = form or (Form.INT8 if kept is torch.int8 else Form.STORED)
    _check_form(held_as, kept, torch.device(device), variant)
    _check_digest(variant, stored, where)
    labels = _labels(variant, stored, where)
    with torch.device("meta"):  # shapes only; the weights come from the file
        encoder = Encoder(stored.config)
        has_pooler = "pooler.dense.weight" in stored.weights
        head = head_for(variant.head, stored.config, len(labels), has_pooler=has_pooler)
    places = places_of(variant.head, encoder, head, stored, where)
    source = Source(
        stored={ours: stored.weights[bare] for ours, bare in places.items()},
        digests={ours: stored.digests[bare] for ours, bare in places.items()},
        device=torch.device(device),
        # Whatever is not a layer's linear map stays in float32 in int8.
        dtype=torch.float32 if held_as is Form.INT8 else kept,
        store=store or WeightStore(),
        used={},
    )
    _fill(encoder, head, stored.config, source, held_as)
    model = _describe(variant, stored, source, encoder=encoder, head=head, labels=labels, dtype=kept)
    _check_wishes(variant, model, where)
    return model


def _describe(  # noqa: PLR0913 - all that makes a model
    variant: Variant,
    stored: Stored,
    source: Source,
    *,
    encoder: Encoder,
    head: Head,
    labels: tuple[str, ...],
    dtype: torch.dtype,
) -> Model:
    first_position = padding_idx(stored.config) + 1
    return Model(
        encoder=encoder,
        head=head,
        kind=variant.head,
        labels=labels,
        digest=stored.digest,
        # The hub's cache names a snapshot's directory after its commit.
        revision=stored.digest[:12] if variant.is_local else stored.folder.name,
        synthetic=stored.synthetic,
        device=source.device,
        dtype=dtype,
        num_layers=stored.config.num_hidden_layers,
        hidden_size=stored.config.hidden_size,
        vocab_size=stored.config.vocab_size,
        padding_idx=padding_idx(stored.config),
        max_positions=stored.config.max_position_embeddings - first_position,
        tokenizer_file=stored.tokenizer_file,
        tensors=_tensors(encoder, head),
        tensor_digests=source.digests,
        held_bytes=source.used,
    )


def _check_digest(variant: Variant, stored: Stored, where: str) -> None:
    if variant.sha256 is not None and variant.sha256 != stored.digest:
        raise CheckpointError(
            f"{where} has the digest {stored.digest}, the catalogue says {variant.sha256}; "
            "it is another checkpoint, or it has changed."
        )


def _labels(variant: Variant, stored: Stored, where: str) -> tuple[str, ...]:
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
