"""A checkpoint in Hugging Face's layout into a model that can be run.

Rules: what is loaded is checked by name and shape before anything runs, and whatever does
not fit is told in one line; labels come by name from ``id2label`` (their order differs
between published checkpoints); in its stored dtype on the CPU a model stays mapped from its
file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import XLMRobertaConfig

from models.encoder import Encoder
from models.heads import EmbedHead, Head, head_for
from models.hub import HubError, checkpoint_folder
from models.names import bare_name, encoder_name, head_name, is_leftover, is_weight
from models.variant import HeadKind, Pooling
from models.weights import WeightsError, digest_checkpoint, digest_tensors, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from models.tokenizer import Tokenizer
    from models.variant import Variant

# The key of config.json that says: random weights, the answers mean nothing.
SYNTHETIC_KEY = "xlmr_synthetic"


class CheckpointError(Exception):
    """A checkpoint cannot be served as asked; ``str(error)`` is one line for a user's eyes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An encoder and a head with their weights, on a device, ready to run.

    ``labels``: in order of the logits; empty for choose, span and embed. ``digest``: of the
    stored weights, whatever the head and dtype. ``revision``: the hub's commit, or the start of the
    digest. ``max_positions``: the longest sequence in tokens, special tokens included.
    ``tensors``: every weight by name; ``tensor_digests``: of each as it was stored, under the
    same name; equal digests and dtypes mean equal weights. ``tokenizer_file``: None where the
    checkpoint has none of its own.
    """

    encoder: Encoder
    head: Head
    kind: HeadKind
    labels: tuple[str, ...]
    digest: str
    revision: str
    synthetic: bool
    device: torch.device
    dtype: torch.dtype
    num_layers: int
    hidden_size: int
    vocab_size: int
    padding_idx: int
    max_positions: int
    tokenizer_file: Path | None
    tensors: Mapping[str, Tensor]
    tensor_digests: Mapping[str, str]

    @property
    def has_pooler(self) -> bool:
        """Whether pooling "pooler" can be asked for."""
        return isinstance(self.head, EmbedHead) and self.head.pooler is not None

    @torch.inference_mode()
    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        layer: int | None = None,
        pooling: Pooling | str | None = None,
    ) -> Tensor:
        """Run packed sequences through encoder and head.

        ``input_ids``, ``position_ids``: int ``[T]``; positions count from ``padding_idx + 1`` in each
        sequence. ``cu_seqlens``: int ``[B+1]``. All on the model's device. ``layer``: the layer
        whose output the head reads, None for the last. ``pooling``: of embed, mean by default.

        Returns float32: classify ``[B, C]``, choose ``[B, 1]``, tag ``[T, C]``, span ``[T, 2]``, embed
        ``[B, H]``, not normalised.

        Raises:
            ValueError: there is no such layer, or the pooler is asked for and absent.
        """
        if layer is not None and not 0 <= layer <= self.num_layers:
            raise ValueError(f"There is no layer {layer}; this checkpoint has {self.num_layers}.")
        hidden = self.encoder(input_ids, position_ids, cu_seqlens, max_seqlen, layer)
        if isinstance(self.head, EmbedHead):
            output: Tensor = self.head(hidden, cu_seqlens, Pooling(pooling or Pooling.MEAN))
        else:
            output = self.head(hidden, cu_seqlens)
        return output.float()

    def check_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Refuse a tokenizer whose ids this checkpoint does not know.

        Raises:
            CheckpointError: the vocabulary is too large, or ``<pad>`` is another id.
        """
        if tokenizer.vocab_size > self.vocab_size:
            raise CheckpointError(
                f"the tokenizer {tokenizer.source} has {tokenizer.vocab_size} ids, the checkpoint's vocabulary "
                f"only {self.vocab_size}: they do not belong together."
            )
        if tokenizer.pad_id != self.padding_idx:
            raise CheckpointError(
                f"the tokenizer {tokenizer.source} has <pad> as id {tokenizer.pad_id}, the checkpoint as "
                f"{self.padding_idx}: they do not belong together."
            )


def load_model(
    variant: Variant, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Model:
    """Load a variant's encoder and head.

    ``dtype``: None for the catalogue's, else float32.

    Raises:
        CheckpointError: the checkpoint is absent, damaged, of another architecture or for another
            head, or the variant asks for what it does not have.
    """
    try:
        folder = checkpoint_folder(variant)
        stored = read_weights(folder, allow_bin=variant.allow_bin)
    except (HubError, WeightsError) as error:
        raise CheckpointError(str(error)) from error
    where = f"variant {variant.name!r}: the checkpoint {folder}"
    raw = read_config(folder)
    config = _understand(raw, folder)
    weights = {bare_name(name): tensor for name, tensor in stored.items()}
    digests = digest_tensors({name: tensor for name, tensor in weights.items() if is_weight(name)})
    digest = digest_checkpoint(digests)
    if variant.sha256 is not None and variant.sha256 != digest:
        raise CheckpointError(
            f"{where} has the digest {digest}, the catalogue says {variant.sha256}; "
            "it is another checkpoint, or it has changed."
        )
    labels = _labels(variant, config, weights, where)
    kind = variant.head
    with torch.device("meta"):  # shapes only; the weights come from the file
        encoder = Encoder(config)
        head = head_for(kind, config, len(labels), has_pooler="pooler.dense.weight" in weights)
    target = torch.device(device)
    kept = dtype or getattr(torch, variant.dtype or "float32")
    places = {f"encoder.{name}": encoder_name(name) for name in encoder.state_dict()}
    places |= {f"head.{name}": head_name(kind, name) for name in head.state_dict()}
    _check_weights(kind, weights, _shapes(encoder, head), places, where)
    tensors = {ours: weights[bare].to(target, kept) for ours, bare in places.items()}
    _assign(encoder, "encoder.", tensors)
    _assign(head, "head.", tensors)
    model = Model(
        encoder=encoder,
        head=head,
        kind=kind,
        labels=labels,
        digest=digest,
        revision=_revision(variant, folder, digest),
        synthetic=SYNTHETIC_KEY in raw,
        device=target,
        dtype=kept,
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        padding_idx=_padding_idx(config),
        max_positions=config.max_position_embeddings - _padding_idx(config) - 1,
        tokenizer_file=folder / "tokenizer.json" if (folder / "tokenizer.json").is_file() else None,
        tensors=tensors,
        tensor_digests={ours: digests[bare] for ours, bare in places.items()},
    )
    _check_wishes(variant, model, where)
    return model


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` as it stands.

    Raises:
        CheckpointError: it is not there, or not a JSON object.
    """
    try:
        raw = json.loads((folder / "config.json").read_bytes())
    except OSError as error:
        raise CheckpointError(f"the checkpoint {folder} has no config.json that can be read.") from error
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'} is not JSON.") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{folder / 'config.json'} is not a JSON object.")
    return raw


def _understand(raw: dict[str, Any], folder: Path) -> XLMRobertaConfig:
    """Check that a configuration is XLM-R's; keys that it does not know are passed over."""
    file = folder / "config.json"
    if raw.get("model_type") != "xlm-roberta":
        raise CheckpointError(
            f"{file}: model_type is {raw.get('model_type')!r}; only 'xlm-roberta' is served here."
        )
    try:
        config: XLMRobertaConfig = XLMRobertaConfig.from_dict(raw)
    except Exception as error:  # the library validates with several families of errors
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{file} is not a configuration of XLM-R: {reason}") from error
    wanted = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
    for key, value in wanted.items():
        if getattr(config, key, value) != value:
            raise CheckpointError(f"{file}: {key} is {getattr(config, key)!r}; XLM-R has {value!r}.")
    return config


def _padding_idx(config: XLMRobertaConfig) -> int:
    return 1 if config.pad_token_id is None else config.pad_token_id


def _labels(
    variant: Variant, config: XLMRobertaConfig, weights: Mapping[str, Tensor], where: str
) -> tuple[str, ...]:
    """Return the labels in order of the classifier's rows, the catalogue's before the checkpoint's."""
    if variant.head not in (HeadKind.CLASSIFY, HeadKind.TAG):
        return ()
    id2label = config.id2label or {}
    labels = variant.labels or tuple(str(id2label[index]) for index in sorted(id2label))
    rows = weights.get(head_name(variant.head, "output.weight"))
    if rows is not None and len(rows) != len(labels):
        raise CheckpointError(
            f"{where} tells {len(rows)} classes apart, but there are {len(labels)} labels "
            f"({', '.join(labels)}); give them all in the catalogue."
        )
    return labels


def _shapes(encoder: Encoder, head: Head) -> dict[str, tuple[int, ...]]:
    shapes = {f"encoder.{name}": tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    return shapes | {f"head.{name}": tuple(tensor.shape) for name, tensor in head.state_dict().items()}


def _check_weights(
    kind: HeadKind,
    weights: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    places: Mapping[str, str],
    where: str,
) -> None:
    """Refuse a checkpoint whose weights are not exactly those that the model has places for."""
    missing = [bare for bare in places.values() if bare not in weights]
    known = set(places.values())
    strange = [bare for bare in weights if bare not in known and not is_leftover(kind, bare)]
    if missing or strange:
        faults = [f"lacks {_some(missing)}"] * bool(missing) + [f"holds {_some(strange)} besides"] * bool(
            strange
        )
        raise CheckpointError(f"{where} does not fit head {kind.value!r}: it {' and '.join(faults)}.")
    for ours, bare in places.items():
        if tuple(weights[bare].shape) != shapes[ours]:
            raise CheckpointError(
                f"{where}: {bare} has the shape {tuple(weights[bare].shape)}, config.json asks for {shapes[ours]}."
            )


def _some(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(sorted(names)[:shown]) + more


def _assign(module: torch.nn.Module, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    module.load_state_dict(own, assign=True)
    module.requires_grad_(requires_grad=False)
    module.eval()


def _revision(variant: Variant, folder: Path, digest: str) -> str:
    # The hub's cache names a snapshot's directory after its commit.
    return digest[:12] if variant.is_local else folder.name


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
            f"{where} has positions for {model.max_positions} tokens; the catalogue asks for {variant.max_tokens}."
        )
