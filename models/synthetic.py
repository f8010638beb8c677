"""Checkpoints of true architecture with seeded random weights, in Hugging Face's layout.

They make everything run where no hub can be reached. Rules: the same arguments give the
same bytes; each says in its config.json that its answers mean nothing; transformers' own Auto
classes load it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import XLMRobertaConfig

from models.config import SYNTHETIC_KEY
from models.encoder import Encoder
from models.heads import Head, head_for, read_by
from models.names import encoder_name, head_name
from models.tokenizer import Tokenizer, bundled_file
from models.variant import HeadKind, Pooling

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

NOTICE = "Random weights of true architecture, made for measuring speed: the answers mean nothing."

_CLASSES = {
    HeadKind.CLASSIFY: "XLMRobertaForSequenceClassification",
    HeadKind.CHOOSE: "XLMRobertaForMultipleChoice",
    HeadKind.TAG: "XLMRobertaForTokenClassification",
    HeadKind.SPAN: "XLMRobertaForQuestionAnswering",
    HeadKind.EMBED: "XLMRobertaModel",
}
# Standard deviation of logits between inputs: with 1, softmax is neither flat nor one-hot.
_LOGIT_SCALE = 1.0
# XLM-R's: 512 usable positions after padding_idx + 1 = 2 that are not.
_MAX_POSITIONS = 514


class SyntheticError(Exception):
    """Such a checkpoint cannot be made; ``str(error)`` is one line for a user's eyes."""


class Size(StrEnum):
    """How large an encoder is; base and large are XLM-R's own."""

    MINI = "mini"
    BASE = "base"
    LARGE = "large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a size means: layers, hidden width, heads and inner width."""

    num_layers: int
    hidden_size: int
    num_heads: int
    intermediate_size: int


def shape_of(size: Size) -> Shape:
    """Return the shape of a size."""
    match size:
        case Size.MINI:
            return Shape(num_layers=4, hidden_size=256, num_heads=4, intermediate_size=1024)
        case Size.BASE:
            return Shape(num_layers=12, hidden_size=768, num_heads=12, intermediate_size=3072)
        case Size.LARGE:
            return Shape(num_layers=24, hidden_size=1024, num_heads=16, intermediate_size=4096)


def write_checkpoint(  # noqa: PLR0913 - all but the first by keyword
    folder: Path,
    *,
    head: HeadKind,
    labels: Sequence[str] = (),
    size: Size | Shape = Size.MINI,
    seed: int = 0,
    tokenizer_file: Path | None = None,
) -> Path:
    """Write a checkpoint into a directory, which is made, and return it.

    ``labels``: of classify and tag, two at least; other heads take none. ``tokenizer_file``: a
    tokenizer.json, whose vocabulary the checkpoint gets; None for the bundled one.

    Raises:
        SyntheticError: labels are missing, stand twice, or are given where there are none; or the
            directory holds a checkpoint that is not synthetic.
        TokenizerError: the tokenizer cannot be used.
    """
    check_labels(head, labels)
    _check_folder(folder)
    source = tokenizer_file or bundled_file()
    tokenizer = Tokenizer.from_file(source)
    config = _config(head, labels, shape_of(size) if isinstance(size, Size) else size, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_weights(head, config, seed), folder / "model.safetensors", metadata={"format": "pt"})
    marker = {"notice": NOTICE, "seed": seed}
    _write_json(folder / "config.json", {**config.to_dict(), SYNTHETIC_KEY: marker})
    # The weights are written for their owner alone; a server may be another user.
    shutil.copymode(folder / "config.json", folder / "model.safetensors")
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": _MAX_POSITIONS - tokenizer.pad_id - 1,
            **{f"{role}_token": token for role, token in _SPECIAL_TOKENS},
        },
    )
    shutil.copyfile(source, folder / "tokenizer.json")
    return folder


_SPECIAL_TOKENS = (
    ("bos", "<s>"),
    ("cls", "<s>"),
    ("eos", "</s>"),
    ("sep", "</s>"),
    ("pad", "<pad>"),
    ("unk", "<unk>"),
    ("mask", "<mask>"),
)


def check_labels(head: HeadKind, labels: Sequence[str]) -> None:
    """Refuse labels that a head cannot have.

    Raises:
        SyntheticError: they are missing, stand twice, or are given where there are none.
    """
    if head not in (HeadKind.CLASSIFY, HeadKind.TAG):
        if labels:
            raise SyntheticError(f"head {head.value!r} has no labels; leave them out.")
        return
    if len(labels) < 2:  # noqa: PLR2004 - one class leaves nothing to tell apart
        raise SyntheticError(f"head {head.value!r} needs two labels at least; give them as A,B,...")
    if len(set(labels)) != len(labels) or not all(labels):
        raise SyntheticError(f"a label is empty or stands twice in {','.join(labels)}.")


def _check_folder(folder: Path) -> None:
    """Refuse to write over a checkpoint that somebody trained."""
    file = folder / "config.json"
    if file.exists() and SYNTHETIC_KEY not in file.read_text(encoding="utf-8", errors="replace"):
        raise SyntheticError(f"{folder} holds a checkpoint that is not synthetic; give another directory.")


def _config(head: HeadKind, labels: Sequence[str], shape: Shape, tokenizer: Tokenizer) -> XLMRobertaConfig:
    named: dict[str, Any] = {}
    if labels:
        named["id2label"] = dict(enumerate(labels))
        named["label2id"] = {label: index for index, label in enumerate(labels)}
    return XLMRobertaConfig(
        architectures=[_CLASSES[head]],
        vocab_size=tokenizer.vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=_MAX_POSITIONS,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=tokenizer.bos_id,
        pad_token_id=tokenizer.pad_id,
        eos_token_id=tokenizer.eos_id,
        dtype="float32",
        **named,
    )


def _weights(kind: HeadKind, config: XLMRobertaConfig, seed: int) -> dict[str, Tensor]:
    """Draw every weight under its stored name, each from a stream of its own."""
    with torch.device("meta"):  # shapes only
        encoder = Encoder(config)
        head = head_for(kind, config, config.num_labels or 0)
    prefix = "" if kind is HeadKind.EMBED else "roberta."
    names = {name: prefix + encoder_name(name) for name in encoder.state_dict()}
    weights = {
        names[name]: _draw(names[name], tensor.shape, seed) for name, tensor in encoder.state_dict().items()
    }
    encoder.load_state_dict({name: weights[stored] for name, stored in names.items()}, assign=True)
    top = {
        name: _draw(head_name(kind, name), tensor.shape, seed) for name, tensor in head.state_dict().items()
    }
    head.load_state_dict(top, assign=True)
    if "output.weight" in top:
        _centre(encoder, head, top, seed)
    for name, tensor in top.items():
        stored = head_name(kind, name)
        weights[prefix + stored if stored.startswith("pooler.") else stored] = tensor
    return weights


def _draw(stored: str, shape: torch.Size, seed: int) -> Tensor:
    """Draw one weight.

    A Linear gets a standard deviation of 1/sqrt(inputs), which keeps variance from layer to layer, so
    that answers differ between texts; the small one that training starts from would not.
    """
    if stored.endswith("LayerNorm.weight"):
        return torch.ones(shape)
    if stored.endswith(".bias"):
        return torch.zeros(shape)
    stream = int.from_bytes(hashlib.sha256(stored.encode()).digest()[:8])
    values = np.random.default_rng([seed, stream]).standard_normal(shape, dtype=np.float32)
    if "embeddings" not in stored:
        values *= np.float32(shape[-1] ** -0.5)
    return torch.from_numpy(values)


@torch.inference_mode()
def _centre(encoder: Encoder, head: Head, top: dict[str, Tensor], seed: int) -> None:
    """Scale and shift the last Linear so that logits are near zero on average and differ between inputs.

    A random encoder says much the same of every text; without this one label would win always.
    Works on random sequences; factors are rounded, so that another machine's last digits do not show.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, 48, size=24)
    ids = torch.from_numpy(rng.integers(0, encoder.embeddings.words.num_embeddings, size=lengths.sum()))
    positions = torch.from_numpy(np.concatenate([np.arange(length) + 2 for length in lengths]))
    cu_seqlens = torch.from_numpy(np.concatenate([[0], lengths.cumsum()]))
    ids[cu_seqlens[:-1]] = 0
    hidden = encoder(ids, positions, cu_seqlens, int(lengths.max()))
    logits = head(read_by(head, hidden, cu_seqlens, Pooling.MEAN))
    scale = round(_LOGIT_SCALE / float(logits.std(dim=0).mean()), 2)
    top["output.weight"].mul_(scale)
    top["output.bias"].copy_((-scale * logits.mean(dim=0)).mul(100).round().div(100))


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(
        json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
