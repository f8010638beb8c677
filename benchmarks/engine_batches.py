"""Which batches the engine is measured on, and how much of their work is useful.

Rules: lengths are drawn from a seed, so that every run measures the same batches; a batch is filled
until the next sequence would exceed its budget; no work but that of real tokens counts as useful.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.encoder import Rows

if TYPE_CHECKING:
    from torch import Tensor

    from models.model import Model

# Spread of the logarithm of lengths within a task: XQuAD's 95th percentile is 1.6 times its mean.
SIGMA = 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task of XTREME-R as XLM-R's tokenizer sees it: mean and largest tokens a sequence."""

    mean: float
    cap: int


# Means over languages of the test sets' lengths, special tokens included, capped as the benchmark caps.
TASKS = {
    "tatoeba": Task(mean=11, cap=512),
    "panx": Task(mean=18, cap=128),
    "lareqa": Task(mean=18, cap=96),
    "xcopa": Task(mean=27, cap=128),
    "udpos": Task(mean=32, cap=128),
    "xnli": Task(mean=46, cap=128),
    "tydiqa": Task(mean=157, cap=384),
    "mlqa": Task(mean=192, cap=384),
    "xquad": Task(mean=225, cap=384),
}
MIXES = {
    "short": ("tatoeba",),
    "xnli": ("xnli",),
    "qa": ("xquad",),
    "mixed": tuple(TASKS),
}


def draw_lengths(mix: str, budget: int, seed: int) -> tuple[int, ...]:
    """Return the lengths of one batch, at least one sequence, shortest first as the engine packs them."""
    rng = np.random.default_rng([seed, budget, *mix.encode()])
    lengths: list[int] = []
    while True:
        task = TASKS[MIXES[mix][rng.integers(len(MIXES[mix]))]]
        drawn = rng.lognormal(log(task.mean) - SIGMA**2 / 2, SIGMA)
        length = int(np.clip(round(drawn), 3, task.cap))
        if sum(lengths) + length > budget:
            return tuple(sorted(lengths)) or (min(length, budget),)
        lengths.append(length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A packed batch as a model takes it."""

    lengths: tuple[int, ...]
    input_ids: Tensor
    position_ids: Tensor
    cu_seqlens: Tensor

    @classmethod
    def of(cls, lengths: tuple[int, ...], *, vocab_size: int, device: str = "cpu") -> Batch:
        """Fill sequences of these lengths with ids of no meaning."""
        ids = np.random.default_rng(0).integers(4, vocab_size, sum(lengths))
        positions = np.concatenate([np.arange(length) + 2 for length in lengths])
        bounds = np.cumsum([0, *lengths])
        tensors = (
            torch.tensor(values, dtype=torch.int32, device=device) for values in (ids, positions, bounds)
        )
        input_ids, position_ids, cu_seqlens = tensors
        return cls(lengths=lengths, input_ids=input_ids, position_ids=position_ids, cu_seqlens=cu_seqlens)

    @property
    def num_tokens(self) -> int:
        """T."""
        return sum(self.lengths)

    def run(self, model: Model) -> Tensor:
        """Run it through encoder and head, as it is served: the last layer only where the head reads it."""
        return model.forward(self.input_ids, self.position_ids, self.cu_seqlens, max(self.lengths))

    def run_whole(self, model: Model) -> Tensor:
        """Run it through every layer for every token, and through the head."""
        hidden = model.encode(self.input_ids, self.position_ids, self.cu_seqlens, max(self.lengths))
        return model.read(hidden, self.cu_seqlens)


def useful_flops(
    lengths: tuple[int, ...], *, num_layers: int, hidden: int, inner: int, rows: Rows = Rows.ALL
) -> float:
    """Count the multiplications and additions of the encoder's matrix products that answers need.

    A layer has four maps [H, H] and two [H, I], two operations an entry and token; and in attention, two
    products [L, D, L] a head, together [L, H, L] each. ``rows``: where only first tokens are read, the last
    layer needs keys and values of all tokens, and everything else of those alone. What is multiplied
    beyond that (padding, rows that round a batch up, queries that nobody asks) does not count.
    """
    num_tokens, num_asking = sum(lengths), len(lengths)
    linear = 2 * num_tokens * (4 * hidden * hidden + 2 * hidden * inner)
    attention = 2 * 2 * hidden * sum(length * length for length in lengths)
    if rows is Rows.ALL:
        return float(num_layers * (linear + attention))
    keys = 2 * num_tokens * 2 * hidden * hidden
    asked = 2 * num_asking * (2 * hidden * hidden + 2 * hidden * inner) + 2 * 2 * hidden * num_tokens
    return float((num_layers - 1) * (linear + attention) + keys + asked)
