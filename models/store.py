"""Weights that are held once, however many models use them.

Rules: what is held is found by what it is made of (the digests of the stored tensors) and
what was made of it (dtype, layout, device), never by a variant's name; so a second variant on
the same encoder costs its head alone. What no model uses any more is let go when ``keep`` is told
so. One caller at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from models.linear import Int8Weight, Levels, pack, quantize_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

Held = TypeVar("Held", Tensor, Int8Weight)


class WeightStore:
    """Everything that is held, by what it is."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor | Int8Weight] = {}

    def hold(self, key: str, kind: type[Held], make: Callable[[], Held]) -> Held:
        """Return what is held under a key, made at the first call."""
        if key not in self._held:
            self._held[key] = make()
        held = self._held[key]
        assert isinstance(held, kind), "A key stands for two kinds of weight. This is a bug."
        return held

    def keep(self, keys: Collection[str]) -> None:
        """Let go of everything but these keys; models that still use the rest keep it alive."""
        self._held = {key: held for key, held in self._held.items() if key in keys}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One checkpoint's weights by the model's names, in any form, through a store.

    ``stored``, ``digests``: by name. ``dtype``: of activations, and of weights that are not int8.
    ``used``: bytes of all that was taken so far, by key; two sources that took the same thing have
    the same key for it.
    """

    stored: Mapping[str, Tensor]
    digests: Mapping[str, str]
    device: torch.device
    dtype: torch.dtype
    store: WeightStore
    used: dict[str, int]

    def plain(self, *names: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return a tensor; of several, one with their rows in order. ``dtype``: another than the source's."""
        kept = dtype or self.dtype
        key = self._key(names, str(kept))
        tensor = self.store.hold(key, Tensor, lambda: self._make(names, kept))
        self.used[key] = tensor.nbytes
        return tensor

    def as_stored(self, name: str) -> Tensor:
        """Return a tensor in its stored dtype; on the CPU it stays mapped from its file."""
        return self.plain(name, dtype=self.stored[name].dtype)

    def packed(self, *names: str) -> Tensor:
        """Return weights ``[N, K]`` below each other, in oneDNN's layout."""
        key = self._key(names, f"{self.dtype} packed")
        tensor = self.store.hold(key, Tensor, lambda: pack(self._make(names, self.dtype)))
        self.used[key] = _packed_bytes(tensor)
        return tensor

    def int8(self, *names: str, levels: Levels) -> Int8Weight:
        """Return weights ``[N, K]`` below each other, in int8."""
        key = self._key(names, f"int8 {levels.token} {levels.weight}")
        weight = self.store.hold(
            key,
            Int8Weight,
            lambda: quantize_weight(self._make(names, torch.float32), levels),
        )
        self.used[key] = _packed_bytes(weight.packed) + weight.scales.nbytes
        return weight

    def _make(self, names: tuple[str, ...], dtype: torch.dtype) -> Tensor:
        parts = [self.stored[name].to(self.device, dtype) for name in names]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _key(self, names: tuple[str, ...], form: str) -> str:
        return " ".join((*(self.digests[name] for name in names), form, str(self.device)))


def _packed_bytes(tensor: Tensor) -> int:
    size: int = torch.ops.mkldnn._nbytes(tensor)  # noqa: SLF001 - a packed tensor has no nbytes of its own
    return size
