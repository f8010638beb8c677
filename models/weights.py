"""The tensors of a checkpoint directory, and what identifies them.

Rules: safetensors first; ``.bin`` files only when asked for, and then as weights only, so
that nothing in them is executed. Tensors stay mapped from their file: until something is
converted or moved, a checkpoint costs address space and page cache, not memory of its own.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_SAFETENSORS = "model.safetensors"
_BIN = "pytorch_model.bin"


class WeightsError(Exception):
    """The weights of a checkpoint cannot be read; ``str(error)`` is one line for a user's eyes."""


def read_weights(folder: Path, *, allow_bin: bool) -> dict[str, Tensor]:
    """Map every tensor of a checkpoint, under its stored name, on the CPU.

    Raises:
        WeightsError: there is no weights file, only one that was not asked for, or a damaged one.
    """
    files = _weight_files(folder, allow_bin=allow_bin)
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors.update(_read_bin(file) if file.suffix == ".bin" else _read_safetensors(file))
        except (SafetensorError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise WeightsError(f"{file} cannot be read as weights: {reason}.") from error
    return tensors


def _weight_files(folder: Path, *, allow_bin: bool) -> list[Path]:
    for whole in (_SAFETENSORS, _BIN):
        if whole == _BIN and not allow_bin:
            continue
        if (folder / whole).is_file():
            return [folder / whole]
        if (folder / f"{whole}.index.json").is_file():
            return _shards(folder / f"{whole}.index.json")
    if (folder / _BIN).is_file() or (folder / f"{_BIN}.index.json").is_file():
        raise WeightsError(
            f"{folder} has no {_SAFETENSORS}, only {_BIN}: convert it, or ask for it with allow_bin "
            "(it is then read as weights only, and nothing in it is executed)."
        )
    raise WeightsError(f"{folder} has no weights: neither {_SAFETENSORS} nor its index file is there.")


def _shards(index: Path) -> list[Path]:
    """Return the files that an index names, each once."""
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{index} is not an index of weight files.") from error
    files = [index.parent / name for name in names]
    for file in files:
        if not file.is_file():
            raise WeightsError(f"{index} names {file.name}, which is not there; fetch the checkpoint again.")
    return files


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    with safe_open(file, framework="pt", device="cpu") as stored:
        return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping


def _read_bin(file: Path) -> dict[str, Tensor]:
    stored = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(stored, dict):
        raise pickle.UnpicklingError("it holds no table of tensors")
    return {str(name): tensor for name, tensor in stored.items() if isinstance(tensor, torch.Tensor)}


def digest_tensors(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the SHA-256 of each tensor's dtype, shape and bytes, in hex.

    Two tensors with one digest can stand for each other.
    """
    with ThreadPoolExecutor(thread_name_prefix="digest") as pool:  # hashing lets go of the lock
        return dict(zip(tensors, pool.map(_digest, tensors.values()), strict=True))


def digest_checkpoint(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 over the names and digests of a checkpoint's tensors, in hex.

    Depends on neither the file format nor the order or number of the files.
    """
    lines = (f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _digest(tensor: Tensor) -> str:
    state = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)} ".encode())
    raw: NDArray[np.uint8] = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    state.update(raw.data)
    return state.hexdigest()
