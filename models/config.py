"""The ``config.json`` of a checkpoint, checked to be XLM-R's.

Rules: keys that XLM-R does not have are passed over (published checkpoints carry many); a
value under which this encoder would compute something else is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from transformers import XLMRobertaConfig

if TYPE_CHECKING:
    from pathlib import Path

# The key that says: random weights, the answers mean nothing.
SYNTHETIC_KEY = "xlmr_synthetic"

# What the encoder computes, whatever the configuration might say.
_FIXED = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}


class ConfigError(Exception):
    """A configuration is not XLM-R's; ``str(error)`` is one line for a user's eyes."""


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` as it stands.

    Raises:
        ConfigError: it is not there, or not a JSON object.
    """
    file = folder / "config.json"
    try:
        raw = json.loads(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"the checkpoint {folder} has no config.json that can be read.") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not JSON.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{file} is not a JSON object.")
    return raw


def understand(raw: dict[str, Any], folder: Path) -> XLMRobertaConfig:
    """Turn a configuration into transformers' own class.

    Raises:
        ConfigError: it is another architecture's, or one that this encoder does not compute.
    """
    file = folder / "config.json"
    if raw.get("model_type") != "xlm-roberta":
        raise ConfigError(
            f"{file}: model_type is {raw.get('model_type')!r}; only 'xlm-roberta' is served here."
        )
    for key, value in _FIXED.items():
        if raw.get(key, value) != value:
            raise ConfigError(f"{file}: {key} is {raw[key]!r}; only {value!r} is served here.")
    try:
        config: XLMRobertaConfig = XLMRobertaConfig.from_dict(raw)
    except Exception as error:  # the library validates with several families of errors
        raise ConfigError(
            f"{file} is not a configuration of XLM-R: {' '.join(str(error).split())}"
        ) from error
    if config.hidden_size % config.num_attention_heads:
        raise ConfigError(
            f"{file}: hidden_size {config.hidden_size} is no multiple of {config.num_attention_heads} heads."
        )
    return config


def padding_idx(config: XLMRobertaConfig) -> int:
    """Return the id of ``<pad>``, after which positions start."""
    return 1 if config.pad_token_id is None else config.pad_token_id


def labels_of(config: XLMRobertaConfig) -> tuple[str, ...]:
    """Return the labels of ``id2label``, in order of the classifier's rows."""
    id2label: dict[int, str] = {int(index): str(label) for index, label in (config.id2label or {}).items()}
    return tuple(id2label[index] for index in sorted(id2label))
