"""Heads on packed hidden states: classify, choose, tag, span, embed.

Rules: a head takes the rows that it reads (``rows_read``): each sequence's first token ``[B, H]``, or every
token ``[T, H]``; nothing knows of padding. Softmax, argmax and normalisation are the caller's.

Axes: T tokens, B sequences, H hidden, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import torch
from torch import Tensor, nn

from models.encoder import Rows
from models.variant import HeadKind, Pooling

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig


def first_tokens(hidden: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Return the hidden state of each sequence's ``<s>``, ``[B, H]``."""
    return hidden.index_select(0, cu_seqlens[:-1])


def mean_tokens(hidden: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Return the mean over all tokens of each sequence, special tokens included, float32 ``[B, H]``."""
    lengths = cu_seqlens.diff().to(torch.int64)
    # float32: in half precision a sum over 512 tokens loses three digits.
    # Unsafe leaves out checks of the lengths, for which a GPU would have to be waited for.
    return torch.segment_reduce(hidden.float(), "mean", lengths=lengths, axis=0, unsafe=True)


class Pooler(nn.Module):
    """Dense and tanh on ``<s>``."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first: Tensor) -> Tensor:
        """``[B, H]`` into ``[B, H]``."""
        return torch.tanh(self.dense(first))


class ClassifyHead(nn.Module):
    """RoBERTa's classification head on ``<s>``: logits ``[B, C]``."""

    def __init__(self, config: XLMRobertaConfig, num_labels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.output = nn.Linear(config.hidden_size, num_labels)

    def forward(self, first: Tensor) -> Tensor:
        """``[B, H]`` into logits, ``[B, C]``."""
        logits: Tensor = self.output(torch.tanh(self.dense(first)))
        return logits


class ChooseHead(nn.Module):
    """The pooler, then one number a choice: ``[B, 1]``, a choice being a sequence."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__()
        self.pooler = Pooler(config)
        self.output = nn.Linear(config.hidden_size, 1)

    def forward(self, first: Tensor) -> Tensor:
        """``[B, H]`` into logits, ``[B, 1]``."""
        logits: Tensor = self.output(self.pooler(first))
        return logits


class TokenHead(nn.Module):
    """A Linear on every token: tag ``[T, C]``, span ``[T, 2]`` (start, end)."""

    def __init__(self, config: XLMRobertaConfig, num_labels: int) -> None:
        super().__init__()
        self.output = nn.Linear(config.hidden_size, num_labels)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[T, H]`` into logits, ``[T, C]``."""
        logits: Tensor = self.output(hidden)
        return logits


class EmbedHead(nn.Module):
    """One vector a sequence, ``[B, H]``, pooled as each call asks."""

    def __init__(self, config: XLMRobertaConfig, *, has_pooler: bool = True) -> None:
        super().__init__()
        self.pooler = Pooler(config) if has_pooler else None

    def forward(self, hidden: Tensor, cu_seqlens: Tensor, pooling: Pooling = Pooling.MEAN) -> Tensor:
        """``[T, H]`` for the mean, else ``[B, H]``, into one vector a sequence, ``[B, H]``.

        Raises:
            ValueError: the pooler is asked for and the checkpoint has none.
        """
        match pooling:
            case Pooling.MEAN:
                return mean_tokens(hidden, cu_seqlens)
            case Pooling.CLS:
                return hidden
            case Pooling.POOLER:
                if self.pooler is None:
                    raise ValueError("This checkpoint has no pooler; ask for pooling mean or cls.")
                pooled: Tensor = self.pooler(hidden)
                return pooled
            case _:
                assert_never(pooling)


Head = ClassifyHead | ChooseHead | TokenHead | EmbedHead


def rows_read(head: Head, pooling: Pooling) -> Rows:
    """Return the rows that a head reads; ``pooling`` matters to embed alone."""
    if isinstance(head, EmbedHead):
        return Rows.ALL if pooling is Pooling.MEAN else Rows.FIRST
    return Rows.ALL if isinstance(head, TokenHead) else Rows.FIRST


def read_by(head: Head, hidden: Tensor, cu_seqlens: Tensor, pooling: Pooling) -> Tensor:
    """Return of the states of all tokens, ``[T, H]``, those that a head reads."""
    return hidden if rows_read(head, pooling) is Rows.ALL else first_tokens(hidden, cu_seqlens)


def head_for(kind: HeadKind, config: XLMRobertaConfig, num_labels: int, *, has_pooler: bool = True) -> Head:
    """Build the head of a kind, its weights still to be filled.

    ``num_labels``: of classify and tag. ``has_pooler``: whether embed may pool with the pooler.
    """
    match kind:
        case HeadKind.CLASSIFY:
            return ClassifyHead(config, num_labels)
        case HeadKind.CHOOSE:
            return ChooseHead(config)
        case HeadKind.TAG:
            return TokenHead(config, num_labels)
        case HeadKind.SPAN:
            return TokenHead(config, 2)
        case HeadKind.EMBED:
            return EmbedHead(config, has_pooler=has_pooler)
        case _:
            assert_never(kind)
