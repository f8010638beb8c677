"""What a variant's checkpoint directory holds, and whether it fits the model that is made of it.

Rules: whatever does not fit, by name or by shape, is told in one line, before anything runs;
weights stay mapped from their files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.config import SYNTHETIC_KEY, ConfigError, read_config, understand
from models.hub import HubError, checkpoint_folder, tokenizer_file
from models.model import CheckpointError
from models.names import bare_name, encoder_name, head_name, is_leftover, is_weight
from models.weights import WeightsError, digest_checkpoint, digest_tensors, read_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor, nn
    from transformers import XLMRobertaConfig

    from models.encoder import Encoder
    from models.heads import Head
    from models.variant import HeadKind, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a variant's checkpoint directory holds, read and not yet brought to a device.

    ``weights``, ``digests``: by bare stored name; ``digests`` leaves out what is not a weight.
    """

    folder: Path
    config: XLMRobertaConfig
    synthetic: bool
    tokenizer_file: Path | None
    weights: Mapping[str, Tensor]
    digests: Mapping[str, str]
    digest: str


def read_checkpoint(variant: Variant) -> Stored:
    """Read a variant's checkpoint, whose weights stay in their files, and compute its digests.

    Raises:
        CheckpointError: it is absent, damaged or of another architecture.
    """
    try:
        return _read(variant)
    except (ConfigError, HubError, WeightsError) as error:
        raise CheckpointError(str(error)) from error


def _read(variant: Variant) -> Stored:
    folder = checkpoint_folder(variant)
    raw = read_config(folder)
    config = understand(raw, folder)
    weights = {
        bare_name(name): tensor for name, tensor in read_weights(folder, allow_bin=variant.allow_bin).items()
    }
    digests = digest_tensors({name: tensor for name, tensor in weights.items() if is_weight(name)})
    return Stored(
        folder=folder,
        config=config,
        synthetic=SYNTHETIC_KEY in raw,
        tokenizer_file=tokenizer_file(variant, folder),
        weights=weights,
        digests=digests,
        digest=digest_checkpoint(digests),
    )


def places_of(kind: HeadKind, encoder: Encoder, head: Head, stored: Stored, where: str) -> dict[str, str]:
    """Return under which bare stored name each weight of a model is found.

    ``where``: how complaints begin.

    Raises:
        CheckpointError: the checkpoint's weights are not exactly those that the model has places for,
            by name and by shape.
    """
    named = {f"encoder.{name}": (encoder_name(name), shape) for name, shape in _shapes(encoder)}
    named |= {f"head.{name}": (head_name(kind, name), shape) for name, shape in _shapes(head)}
    known = {bare for bare, _ in named.values()}
    missing = [bare for bare in known if bare not in stored.weights]
    strange = [bare for bare in stored.weights if bare not in known and not is_leftover(kind, bare)]
    if missing or strange:
        faults = [f"lacks {_some(missing)}"] * bool(missing)
        faults += [f"holds {_some(strange)} besides"] * bool(strange)
        raise CheckpointError(f"{where} does not fit head {kind.value!r}: it {' and '.join(faults)}.")
    for bare, shape in named.values():
        found = tuple(stored.weights[bare].shape)
        if found != shape:
            raise CheckpointError(f"{where}: {bare} has the shape {found}, config.json asks for {shape}.")
    return {ours: bare for ours, (bare, _) in named.items()}


def _shapes(module: nn.Module) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, tensor in module.state_dict().items():
        yield name, tuple(tensor.shape)


def _some(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(sorted(names)[:shown]) + more
