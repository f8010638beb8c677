"""Attention within packed sequences, against its formula in double precision."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from models.encoder import Rows, sdpa_attention

LENGTHS = {
    "one": [7],
    "all different": [3, 1, 5, 2],
    "equal, side by side": [4, 4, 4],
    "equal, apart": [5, 3, 5, 2, 3],
    "equal, side by side and apart": [2, 2, 6, 2],
    "single tokens": [1, 1, 1],
}


def formula(query: Tensor, key: Tensor, value: Tensor, bounds: list[int]) -> Tensor:
    mixed = []
    for start, end in pairwise(bounds):
        q, k, v = (states[start:end].double().transpose(0, 1) for states in (query, key, value))
        weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(dim=-1)
        mixed.append((weights @ v).transpose(0, 1))
    return torch.cat(mixed)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("integers", [torch.int32, torch.int64])
def test_each_sequence_sees_itself_alone(lengths: list[int], integers: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(sum(lengths), 3, 8, generator=generator) for _ in range(3))
    cu_seqlens = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=integers)
    output = sdpa_attention(cu_seqlens, max(lengths))(query, key, value)
    assert output.shape == query.shape
    wanted = formula(query, key, value, cu_seqlens.tolist())
    assert (output - wanted).abs().max() < 1e-5
    assert not output.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_more", [0, 5])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_first_tokens_ask_as_they_do_among_all(lengths: list[int], num_more: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    # More rows than there are tokens, and than there are sequences: batches are rounded up.
    num_tokens, num_sequences = sum(lengths), len(lengths)
    states = [torch.randn(num_tokens + num_more, 3, 8, generator=generator).to(dtype) for _ in range(3)]
    bounds = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    query, key, value = states
    asking = torch.cat([query[bounds[:-1]], query[:num_more]])
    output = sdpa_attention(torch.tensor(bounds), max(lengths), Rows.FIRST)(asking, key, value)
    assert output.dtype is dtype
    assert output.shape == asking.shape
    query, key, value = (state[:num_tokens] for state in states)
    wanted = formula(query, key, value, bounds)[bounds[:-1]]
    # One rounding of the result.
    assert (output[:num_sequences] - wanted).abs().max() < (1e-6 if dtype is torch.float32 else 2**-8 * 2)
    assert not output[num_sequences:].any()


def test_scores_beyond_the_exponents_range_are_no_trouble() -> None:
    query, key, value = (torch.full((4, 2, 8), size) for size in (300.0, 300.0, 2.0))
    output = sdpa_attention(torch.tensor([0, 4]), 4, Rows.FIRST)(query[:1], key, value)
    assert torch.equal(output, torch.full((1, 2, 8), 2.0))
