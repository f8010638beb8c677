"""A device that computes in closed form, for tests and for measuring everything around it.

Rules: like the real one, what it says of a sequence depends on its ids, positions, layer
and pooling alone, not on its batch mates; unlike it, a person can compute it by hand. A
sequence that holds ``poison_id`` fails its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from service.batching.cost import Shape
from service.domain import Pooling
from service.engine.device import Loaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as Many

    from numpy.typing import NDArray

    from service.batching.packing import PackedBatch
    from service.domain import Lane, VariantCard

_PADDING_IDX = 1
_CANARY = np.array((0, 5, 2), dtype=np.int32)


class FakeDeviceError(Exception):
    """The batch held the poison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeDevice:
    """Answers for any variants that are described to it."""

    variants: Many[VariantCard]
    poison_id: int | None = None

    def load(self) -> Iterator[Loaded]:
        """Describe the variants; nothing is loaded. Each has a canary of three tokens."""
        for card in self.variants:
            shape = Shape(architecture="fake", dtype=card.dtype, layer=card.num_layers, device="fake")
            yield Loaded(card=card, shape=shape, padding_idx=_PADDING_IDX, canary=(_CANARY,))

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        """Give token t the row ``[(id + position + layer) % (7 + c)]`` over columns c.

        A sequence's row is that of its first token; with mean pooling, the mean of its rows.
        """
        if self.poison_id is not None and (batch.input_ids == self.poison_id).any():
            raise FakeDeviceError("The batch holds the poison.")
        card = next(card for card in self.variants if card.name == lane.variant)
        layer = card.num_layers if lane.layer is None else lane.layer
        keys = batch.input_ids.astype(np.int64) + batch.position_ids + layer
        rows = (keys[:, None] % (7 + np.arange(_num_columns(card)))).astype(np.float32)
        if card.head in ("tag", "span"):
            return rows
        if lane.pooling is Pooling.MEAN:
            sums = np.add.reduceat(rows, batch.cu_seqlens[:-1], axis=0)
            return (sums / np.diff(batch.cu_seqlens)[:, None]).astype(np.float32)
        return rows[batch.cu_seqlens[:-1]]


def _num_columns(card: VariantCard) -> int:
    match card.head:
        case "classify" | "tag":
            return len(card.labels)
        case "choose":
            return 1
        case "span":
            return 2
        case _:
            return card.hidden_size
