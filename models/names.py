"""The names that Hugging Face checkpoints give to weights, as tables.

Rules: the prefix ``roberta.`` is optional (a bare encoder is saved without it); what is
listed as a leftover is passed over in silence; every other name that has no place in the
model is told to the user by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.variant import HeadKind

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "roberta."

_EMBEDDINGS = {
    "embeddings.words": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.types": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
}
_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mix": "attention.output.dense",
    "mix_norm": "attention.output.LayerNorm",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
}
_HEADS = {
    HeadKind.CLASSIFY: {"dense": "classifier.dense", "output": "classifier.out_proj"},
    HeadKind.CHOOSE: {"pooler.dense": "pooler.dense", "output": "classifier"},
    HeadKind.TAG: {"output": "classifier"},
    HeadKind.SPAN: {"output": "qa_outputs"},
    HeadKind.EMBED: {"pooler.dense": "pooler.dense"},
}

# Buffers that older versions saved (int64), the language model's head, and the pooler that
# most tasks do not use.
_LEFTOVERS = ("embeddings.position_ids", "embeddings.token_type_ids", "lm_head.", "pooler.")
# An encoder under any task's head can embed; XTREME's own Tatoeba baseline is a QA model.
_LEFTOVERS_OF_EMBED = ("classifier.", "qa_outputs.")
# Neither says anything about what a checkpoint answers.
_NOT_WEIGHTS = ("embeddings.position_ids", "embeddings.token_type_ids", "lm_head.")


def bare_name(stored: str) -> str:
    """Return a stored name without the optional prefix."""
    return stored.removeprefix(_PREFIX)


def encoder_name(ours: str) -> str:
    """Return the bare stored name of a weight of ``Encoder``."""
    module, _, parameter = ours.rpartition(".")
    if not module.startswith("layers."):
        return f"{_EMBEDDINGS[module]}.{parameter}"
    _, index, part = module.split(".")
    return f"encoder.layer.{index}.{_LAYER[part]}.{parameter}"


def head_name(kind: HeadKind, ours: str) -> str:
    """Return the bare stored name of a weight of a head."""
    module, _, parameter = ours.rpartition(".")
    return f"{_HEADS[kind][module]}.{parameter}"


def is_leftover(kind: HeadKind, bare: str) -> bool:
    """Whether a weight without a place in the model may be passed over."""
    return bare.startswith(_LEFTOVERS) or (kind is HeadKind.EMBED and bare.startswith(_LEFTOVERS_OF_EMBED))


def is_weight(bare: str) -> bool:
    """Whether a stored tensor belongs into the checkpoint's digest."""
    return not bare.startswith(_NOT_WEIGHTS)


def kind_of(shapes: Mapping[str, tuple[int, ...]]) -> HeadKind:
    """Tell from the bare names and shapes of a checkpoint which head it was trained with."""
    classifier = shapes.get("classifier.weight")
    if "classifier.out_proj.weight" in shapes:
        return HeadKind.CLASSIFY
    if "qa_outputs.weight" in shapes:
        return HeadKind.SPAN
    if classifier is None:
        return HeadKind.EMBED
    # Several choices get one number each; a tagger has two classes at least.
    return HeadKind.CHOOSE if classifier[0] == 1 else HeadKind.TAG
