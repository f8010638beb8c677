"""A device that takes no time: it answers every batch with rows that were made beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from service.batching.cost import Shape
from service.engine.device import Loaded
from tests.service.backend_world import card

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from service.batching.packing import PackedBatch
    from service.domain import Lane, VariantCard

# XLM-R base's width, which is what an embedding has to be written out in.
HIDDEN_SIZE: Final = 768
LABELS: Final = ("entailment", "neutral", "contradiction")
LOGITS: Final = (2.0, 0.5, -1.0)
REVISION: Final = "null"
CLASSIFY, EMBED = "classify", "embed"
_PADDING_IDX = 1
# More sequences than a batch can hold.
_MAX_ROWS = 16_384


def vector() -> NDArray[np.float32]:
    """Return the embedding that every text has: float32 ``[768]``."""
    return np.random.default_rng(0).normal(size=HIDDEN_SIZE).astype(np.float32)


class NullDevice:
    """Serves ``classify`` and ``embed``, as XLM-R base would."""

    def __init__(self, tokenizer_file: str) -> None:
        self._tokenizer_file = tokenizer_file
        rows = {CLASSIFY: np.array(LOGITS, dtype=np.float32), EMBED: vector()}
        self._rows = {name: np.broadcast_to(row, (_MAX_ROWS, len(row))) for name, row in rows.items()}

    def load(self) -> Iterator[Loaded]:
        """Describe the two; nothing is loaded."""
        for head in (CLASSIFY, EMBED):
            shape = Shape(architecture="null", dtype="float32", layer=12, device="null")
            yield Loaded(card=self._card(head), shape=shape, padding_idx=_PADDING_IDX)

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        """Return a view of the prepared rows."""
        return self._rows[lane.variant][: len(batch.cu_seqlens) - 1]

    def _card(self, head: str) -> VariantCard:
        return card(
            head,
            head,
            labels=LABELS if head == CLASSIFY else (),
            revision=REVISION,
            base="null",
            digest="null",
            num_layers=12,
            hidden_size=HIDDEN_SIZE,
            tokenizer=self._tokenizer_file,
            owned_bytes=0,
        )
