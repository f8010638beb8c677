"""What the engine needs of a device: load, describe, run one packed batch.

Rules: every method is called on the engine's one thread; a device knows neither queues nor
requests. Whatever it raises in ``forward`` is this batch's trouble, and the device stays
usable; whatever it raises in ``load`` ends the service.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from models.variant import Variant
    from service.batching.cost import Shape
    from service.batching.packing import PackedBatch
    from service.domain import Lane, VariantCard


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One variant that is ready to run.

    ``shape``: what its batches cost, at its last layer. ``padding_idx``: positions start one
    after it. ``held_bytes``: the memory of its weights by what is in it; variants with an entry of
    one key share it. ``canary``: sequences that it can be asked at any time to see whether its answers
    are still the same, int32 ``[L]`` each.
    """

    card: VariantCard
    shape: Shape
    padding_idx: int
    held_bytes: Mapping[str, int] = field(default_factory=dict)
    canary: tuple[NDArray[np.int32], ...] = ()

    def shape_at(self, layer: int | None) -> Shape:
        """Return what its batches cost where the encoder stops after ``layer``; None for the last."""
        return self.shape if layer is None else replace(self.shape, layer=layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """How many of the engine's threads run batches on a device.

    ``side_by_side``: whether they are replicas, each with its part of the cores; else they take turns: one
    brings its batch while another's runs.
    """

    num_threads: int
    side_by_side: bool


class Device(Protocol):
    """A place where variants are loaded and run."""

    def load(self) -> Iterator[Loaded]:
        """Load the variants one after the other.

        Raises:
            StartupError: a checkpoint cannot be served as the catalogue says.
        """
        ...

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        """Run a batch of one lane.

        Returns classify ``[B, C]``, choose ``[B, 1]``, tag ``[T, C]``, span ``[T, 2]``, embed ``[B, H]``.
        """
        ...


@runtime_checkable
class Crewed(Device, Protocol):
    """A device on which several threads run batches, over the same weights."""

    def crew(self) -> Crew:
        """Tell how many; known once the first variant is loaded."""
        ...

    def forward_beside(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        """Run a batch as ``forward`` does, but as one replica among others."""
        ...


@runtime_checkable
class Swapping(Protocol):
    """A device that can load weights beside those that it runs, and let old ones go."""

    def prepare(self, variant: Variant, *, generation: int, digest: str | None) -> Loaded | None:
        """Load a variant while others run; the one method that is not called on the engine's thread.

        ``digest``: of weights that need not be loaded again; None is returned where it has these.

        Raises:
            StartupError: it cannot be served as the catalogue says; nothing has changed.
        """
        ...

    def install(self, loaded: Loaded) -> None:
        """Make what was prepared ready to run."""
        ...

    def drop(self, served_as: str) -> None:
        """Let weights go that no batch asks for any more."""
        ...
