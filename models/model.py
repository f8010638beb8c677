"""A loaded model: encoder and head on a device, run on packed sequences.

Rules: inference only; nothing here knows where the weights came from. Softmax, argmax and
normalisation belong to the caller.

Axes: T tokens, B sequences, H hidden, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.encoder import Rows
from models.heads import EmbedHead, read_by, rows_read
from models.variant import Pooling

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from models.encoder import Encoder
    from models.heads import Head
    from models.tokenizer import Tokenizer
    from models.variant import HeadKind


class CheckpointError(Exception):
    """A checkpoint cannot be served as asked; ``str(error)`` is one line for a user's eyes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An encoder and a head with their weights, ready to run.

    ``labels``: in order of the logits; empty for choose, span and embed. ``digest``: of the
    stored weights, whatever the head and dtype. ``revision``: the hub's commit, or the start of the
    digest. ``max_positions``: the longest sequence in tokens, special tokens included.
    ``tensors``: every weight by name, but those of linear maps where they are held in another form;
    ``tensor_digests``: of every weight as it was stored; equal digests mean equal weights.
    ``held_bytes``: the memory of all weights by what is in it: an entry that two models share a key
    of is held once. ``dtype``: int8 means the layers' linear maps; all else is then float32.
    ``tokenizer_file``: the catalogue's, else the checkpoint's own; None where there is neither.
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
    held_bytes: Mapping[str, int]

    @property
    def has_pooler(self) -> bool:
        """Whether pooling "pooler" can be asked for."""
        return isinstance(self.head, EmbedHead) and self.head.pooler is not None

    @torch.inference_mode()
    def forward(  # noqa: PLR0913 - the packed batch, and how to read it by keyword
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
        whose output the head reads, 0 for the embeddings, None for the last. ``pooling``: of embed,
        mean by default.

        Returns float32: classify ``[B, C]``, choose ``[B, 1]``, tag ``[T, C]``, span ``[T, 2]``, embed
        ``[B, H]``, not normalised.

        Raises:
            ValueError: there is no such layer or pooling, or the pooler is asked for and absent.
        """
        how = _pooling(pooling)
        batch = (input_ids, position_ids, cu_seqlens, max_seqlen)
        return self._answer(self._encode(batch, layer, rows_read(self.head, how)), cu_seqlens, how)

    @torch.inference_mode()
    def encode(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        layer: int | None = None,
    ) -> Tensor:
        """Run packed sequences through the encoder alone: ``[T, H]``; arguments as of ``forward``.

        Whatever head reads it, all rows are computed: one recording of this serves every head.

        Raises:
            ValueError: there is no such layer.
        """
        return self._encode((input_ids, position_ids, cu_seqlens, max_seqlen), layer, Rows.ALL)

    @torch.inference_mode()
    def read(self, hidden: Tensor, cu_seqlens: Tensor, *, pooling: Pooling | str | None = None) -> Tensor:
        """Read hidden states ``[T, H]`` with the head; returns, and raises, as ``forward``."""
        how = _pooling(pooling)
        return self._answer(read_by(self.head, hidden, cu_seqlens, how), cu_seqlens, how)

    def _encode(self, batch: tuple[Tensor, Tensor, Tensor, int], layer: int | None, rows: Rows) -> Tensor:
        if layer is not None and not 0 <= layer <= self.num_layers:
            raise ValueError(f"There is no layer {layer}; this checkpoint has {self.num_layers}.")
        hidden: Tensor = self.encoder(*batch, layer, rows)
        return hidden

    def _answer(self, states: Tensor, cu_seqlens: Tensor, pooling: Pooling) -> Tensor:
        """Apply the head to the rows that it reads, ``[T, H]`` or ``[B, H]``."""
        is_embed = isinstance(self.head, EmbedHead)
        output: Tensor = self.head(states, cu_seqlens, pooling) if is_embed else self.head(states)
        return output.float()

    def check_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Refuse a tokenizer whose ids this model does not know.

        Raises:
            CheckpointError: the vocabulary is too large, or ``<pad>`` is another id.
        """
        if tokenizer.vocab_size > self.vocab_size:
            raise CheckpointError(
                f"the tokenizer {tokenizer.source} has {tokenizer.vocab_size} ids, the checkpoint knows only "
                f"{self.vocab_size}: they do not belong together."
            )
        if tokenizer.pad_id != self.padding_idx:
            raise CheckpointError(
                f"the tokenizer {tokenizer.source} has <pad> as id {tokenizer.pad_id}, the checkpoint as "
                f"{self.padding_idx}: they do not belong together."
            )


def _pooling(asked: Pooling | str | None) -> Pooling:
    return Pooling.MEAN if asked is None else Pooling(asked)
