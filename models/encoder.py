"""XLM-R over packed tokens: sequences stand one after another, with nothing between them.

Rules: there is no padding and no mask; everything but attention works on all T tokens at
once, attention works within each sequence. The last layer works on the rows that are asked for, and
nobody sees the others. Position ids come from the caller, who counts from ``padding_idx + 1`` in every
sequence. Inference only.

Axes: T tokens, B sequences, R rows that ask, H hidden, D a head's width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig


class Rows(StrEnum):
    """Of which tokens an output is asked for."""

    ALL = "all"
    FIRST = "first"  # of each sequence's ``<s>``


# Queries [R, heads, D], keys and values [T, heads, D], into [R, heads, D].
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
# ``cu_seqlens`` int [B+1], the longest length, and whose queries come; asked once a batch for each of them.
Attention = Callable[[Tensor, int, Rows], Attend]
# From how many rows to how many the layers shall work on, at least as many.
RoundRows = Callable[[int], int]


def sdpa_attention(cu_seqlens: Tensor, max_seqlen: int, rows: Rows = Rows.ALL) -> Attend:
    """Attend by torch's scaled dot product, one call for all sequences of one length.

    Needs no kernel of its own, so it runs on every device and in every dtype.
    """
    del max_seqlen  # other implementations need it
    groups = _equal_lengths(cu_seqlens)
    all_ask = rows is Rows.ALL
    num_rows = int(cu_seqlens[-1]) if all_ask else len(cu_seqlens) - 1
    alike = _attend_alike if all_ask else _attend_from_first

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if len(groups) == 1 and num_rows == len(query):
            return alike(query, key[groups[0].tokens], value[groups[0].tokens], groups[0].num_sequences)
        output = torch.empty(query.shape, dtype=query.dtype, device=query.device)
        output[num_rows:] = 0.0  # rows that round a batch up attend to nothing
        for group in groups:
            asking = group.tokens if all_ask else group.sequences
            output[asking] = alike(query[asking], key[group.tokens], value[group.tokens], group.num_sequences)
        return output

    return attend


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Sequences of one length: which they are, and where their tokens are.

    Both are slices where the group stands together, so that reading its rows copies nothing.
    """

    sequences: slice | Tensor
    tokens: slice | Tensor
    num_sequences: int


def _equal_lengths(cu_seqlens: Tensor) -> list[_Group]:
    """Group sequences by length."""
    bounds: list[int] = cu_seqlens.tolist()
    by_length: dict[int, list[int]] = {}
    for sequence, (start, end) in enumerate(pairwise(bounds)):
        by_length.setdefault(end - start, []).append(sequence)
    return [_group(sequences, bounds, length, cu_seqlens.device) for length, sequences in by_length.items()]


def _group(sequences: list[int], bounds: list[int], length: int, device: torch.device) -> _Group:
    first, last, count = sequences[0], sequences[-1], len(sequences)
    if last - first == count - 1:
        tokens = slice(bounds[first], bounds[last + 1])
        return _Group(sequences=slice(first, last + 1), tokens=tokens, num_sequences=count)
    chosen = torch.tensor(sequences)
    offsets = torch.tensor(bounds)[chosen][:, None] + torch.arange(length)
    return _Group(sequences=chosen.to(device), tokens=offsets.flatten().to(device), num_sequences=count)


def _attend_alike(query: Tensor, key: Tensor, value: Tensor, num_sequences: int) -> Tensor:
    """Attend within n sequences of one length, ``[n*L, heads, D]``."""
    q, k, v = (_batched(states, num_sequences) for states in (query, key, value))
    mixed = functional.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).reshape(query.shape)


def _attend_from_first(query: Tensor, key: Tensor, value: Tensor, num_sequences: int) -> Tensor:
    """Attend from one token to its sequence, in n sequences of one length: ``[n, heads, D]``.

    The formula, term by term and in float32: with one query, the kernel behind torch's scaled dot product is
    a product with a vector, whose bits on a CPU depended on the number of threads. It is little work anyway.
    """
    k, v = (states.view(num_sequences, -1, *states.shape[1:]) for states in (key, value))
    scaled = query.float() * query.shape[-1] ** -0.5
    weights = (k * scaled[:, None]).sum(dim=-1).softmax(dim=1)
    mixed: Tensor = (v * weights[..., None]).sum(dim=1)
    return mixed.to(query.dtype)


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

    def forward(self, hidden: Tensor, attend: Attend, rows: Tensor | None = None) -> Tensor:
        """``[T, H]`` into ``[T, H]``, or into ``[R, H]`` where only ``rows``, int ``[R]``, are asked for."""
        asking = hidden if rows is None else hidden.index_select(0, rows)
        query, key, value = (
            part(states).view(len(states), self.num_heads, -1)
            for part, states in ((self.query, asking), (self.key, hidden), (self.value, hidden))
        )
        attended = self.mix_norm(self.mix(attend(query, key, value).flatten(1)) + asking)
        # The exact GELU with erf; XLM-R was trained with it and tanh's drifts.
        inner = functional.gelu(self.widen(attended))
        normed: Tensor = self.norm(self.narrow(inner) + attended)
        return normed


class Encoder(nn.Module):
    """XLM-R of any size, without a head."""

    def __init__(self, config: XLMRobertaConfig, *, attention: Attention = sdpa_attention) -> None:
        super().__init__()
        self.attention = attention
        self.round_rows: RoundRows | None = None
        self.round_first_rows: RoundRows | None = None
        self.embeddings = _Embeddings(config)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    def forward(  # noqa: PLR0913, PLR0917 - the packed batch, and what to compute of it
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        exit_layer: int | None = None,
        rows: Rows = Rows.ALL,
    ) -> Tensor:
        """Encode packed sequences.

        ``input_ids``, ``position_ids``: int32 or int64 ``[T]``. ``cu_seqlens``: int ``[B+1]``, where
        each sequence starts, and T. ``exit_layer``: how many layers to run; 0 gives the
        embeddings, None runs all. ``rows``: of which tokens the last of them is read; the rest of that
        layer is not computed. Returns ``[T, H]``, or ``[B, H]`` of first tokens, in the model's dtype.
        """
        hidden: Tensor = self.embeddings(input_ids, position_ids)
        num_tokens = len(hidden)
        if self.round_rows is not None:
            hidden = functional.pad(hidden, (0, 0, 0, self.round_rows(num_tokens) - num_tokens))
        whole = list(islice(self.layers, exit_layer))
        last = whole.pop() if whole and rows is Rows.FIRST else None
        if whole:
            attend = self.attention(cu_seqlens, max_seqlen, Rows.ALL)
            for layer in whole:
                hidden = layer(hidden, attend)
        if rows is Rows.ALL:
            return hidden[:num_tokens]
        return self._first_rows(hidden, cu_seqlens, max_seqlen, last)

    def _first_rows(
        self, hidden: Tensor, cu_seqlens: Tensor, max_seqlen: int, last: nn.Module | None
    ) -> Tensor:
        """Return the first tokens' rows behind the last layer, ``[B, H]``; None where there is no layer."""
        firsts = cu_seqlens[:-1]
        if last is None:
            return hidden.index_select(0, firsts)
        num_rows = len(firsts)
        if self.round_first_rows is not None:
            # The batch's first row again, which attends to nothing then.
            firsts = functional.pad(firsts, (0, self.round_first_rows(num_rows) - num_rows))
        output: Tensor = last(hidden, self.attention(cu_seqlens, max_seqlen, Rows.FIRST), firsts)
        return output[:num_rows]
