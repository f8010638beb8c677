"""XLM-R over packed tokens: sequences stand one after another, with nothing between them.

Rules: there is no padding and no mask; everything but attention works on all T tokens at
once, attention works within each sequence. Position ids come from the caller, who counts
from ``padding_idx + 1`` in every sequence. Inference only.

Axes: T tokens, B sequences, H hidden, D a head's width.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig

# Queries, keys and values, each [T, heads, D], into the same shape.
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
# ``cu_seqlens`` int [B+1] and the longest length; asked once a batch, before the first layer.
Attention = Callable[[Tensor, int], Attend]
# From how many rows to how many the layers shall work on, at least as many.
RoundRows = Callable[[int], int]


def sdpa_attention(cu_seqlens: Tensor, max_seqlen: int) -> Attend:
    """Attend by torch's scaled dot product, one call for all sequences of one length.

    Needs no kernel of its own, so it runs on every device and in every dtype.
    """
    del max_seqlen  # other implementations need it
    groups = _equal_lengths(cu_seqlens)
    num_tokens = int(cu_seqlens[-1])

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if len(groups) == 1 and num_tokens == len(query):
            return _attend_alike(query, key, value, groups[0][1])
        output = torch.empty(query.shape, dtype=query.dtype, device=query.device)
        output[num_tokens:] = 0.0  # rows that round a batch up attend to nothing
        for rows, num_sequences in groups:
            output[rows] = _attend_alike(query[rows], key[rows], value[rows], num_sequences)
        return output

    return attend


def _equal_lengths(cu_seqlens: Tensor) -> list[tuple[slice | Tensor, int]]:
    """Group sequences by length: the rows of each group, and how many sequences they are.

    Rows are a slice where the group stands together, so that reading them copies nothing.
    """
    bounds: list[int] = cu_seqlens.tolist()
    starts: dict[int, list[int]] = {}
    for start, end in pairwise(bounds):
        starts.setdefault(end - start, []).append(start)
    groups: list[tuple[slice | Tensor, int]] = []
    for length, firsts in starts.items():
        if firsts[-1] - firsts[0] == length * (len(firsts) - 1):
            groups.append((slice(firsts[0], firsts[-1] + length), len(firsts)))
        else:
            offsets = torch.tensor(firsts)[:, None] + torch.arange(length)
            groups.append((offsets.flatten().to(cu_seqlens.device), len(firsts)))
    return groups


def _attend_alike(query: Tensor, key: Tensor, value: Tensor, num_sequences: int) -> Tensor:
    """Attend within sequences of one length, ``[n*L, heads, D]``."""
    q, k, v = (_batched(states, num_sequences) for states in (query, key, value))
    mixed = functional.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).reshape(query.shape)


def _batched(states: Tensor, num_sequences: int) -> Tensor:
    """View ``[n*L, heads, D]`` as ``[n, heads, L, D]``."""
    return states.view(num_sequences, -1, *states.shape[1:]).transpose(1, 2)


class _Embeddings(nn.Module):
    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.words = nn.Embedding(config.vocab_size, hidden)
        self.positions = nn.Embedding(config.max_position_embeddings, hidden)
        self.types = nn.Embedding(config.type_vocab_size, hidden)
        self.norm = nn.LayerNorm(hidden, eps=config.layer_norm_eps)

    def forward(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        # The tables may be in another dtype than everything else: as they are in their file.
        dtype = self.norm.weight.dtype
        words, positions = self.words(input_ids).to(dtype), self.positions(position_ids).to(dtype)
        # XLM-R has one token type; its vector is added to every token.
        summed = words + self.types.weight[0].to(dtype) + positions
        normed: Tensor = self.norm(summed)
        return normed


class _Layer(nn.Module):
    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        self.num_heads = config.num_attention_heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.mix_norm = nn.LayerNorm(hidden, eps=config.layer_norm_eps)
        self.widen = nn.Linear(hidden, inner)
        self.narrow = nn.Linear(inner, hidden)
        self.norm = nn.LayerNorm(hidden, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, attend: Attend) -> Tensor:
        shape = (len(hidden), self.num_heads, -1)
        query, key, value = (part(hidden).view(shape) for part in (self.query, self.key, self.value))
        hidden = self.mix_norm(self.mix(attend(query, key, value).flatten(1)) + hidden)
        # The exact GELU with erf; XLM-R was trained with it and tanh's drifts.
        inner = functional.gelu(self.widen(hidden))
        normed: Tensor = self.norm(self.narrow(inner) + hidden)
        return normed


class Encoder(nn.Module):
    """XLM-R of any size, without a head."""

    def __init__(self, config: XLMRobertaConfig, *, attention: Attention = sdpa_attention) -> None:
        super().__init__()
        self.attention = attention
        self.round_rows: RoundRows | None = None
        self.embeddings = _Embeddings(config)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        exit_layer: int | None = None,
    ) -> Tensor:
        """Encode packed sequences.

        ``input_ids``, ``position_ids``: int32 or int64 ``[T]``. ``cu_seqlens``: int ``[B+1]``, where
        each sequence starts, and T. ``exit_layer``: how many layers to run; 0 gives the
        embeddings, None runs all. Returns ``[T, H]`` in the model's dtype.
        """
        attend = self.attention(cu_seqlens, max_seqlen)
        hidden: Tensor = self.embeddings(input_ids, position_ids)
        num_tokens = len(hidden)
        if self.round_rows is not None:
            hidden = functional.pad(hidden, (0, 0, 0, self.round_rows(num_tokens) - num_tokens))
        for layer in islice(self.layers, exit_layer):
            hidden = layer(hidden, attend)
        return hidden[:num_tokens]
