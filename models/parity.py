"""How far a model's numbers are from the reference, and whether its answers are the same.

Rules: the reference is the same checkpoint in float32 as stored, run by torch's own kernels, each
sequence alone; the model runs all sequences as one batch, as it will in service, and also
each alone, so that a leak between batch mates shows too. Errors are relative to the largest, and to
the mean, magnitude of the reference's logits.

Axes: T tokens, B sequences, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, assert_never

import torch
from torch import Tensor
from torch.nn import functional

from models.variant import HeadKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from models.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """A model beside its reference.

    ``max_error``, ``mean_error``: of logits, relative. ``agreement``: the share of answers that are the
    same, 0..1, out of ``num_answers`` (see ``agree``). ``batch_error``: the largest relative difference
    between what the model says of a sequence in company and alone.
    """

    max_error: float
    mean_error: float
    agreement: float
    num_answers: int
    batch_error: float


def measure_parity(model: Model, reference: Model, sequences: Sequence[NDArray[np.int32]]) -> Parity:
    """Compare a model with its reference on sequences, special tokens included, int32 ``[L]`` each."""
    bounds = [0]
    for sequence in sequences:
        bounds.append(bounds[-1] + len(sequence))
    together = _run(model, sequences)
    alone = torch.cat([_run(model, [sequence]) for sequence in sequences])
    wanted = torch.cat([_run(reference, [sequence]) for sequence in sequences])
    errors, scale = (together - wanted).abs(), wanted.abs()
    # NaN is an error without end, and must not look like none.
    largest = float(errors.max().nan_to_num(nan=torch.inf) / scale.max())
    same = agree(model.kind, together, wanted, bounds)
    return Parity(
        max_error=largest,
        mean_error=float(errors.mean().nan_to_num(nan=torch.inf) / scale.mean()),
        agreement=float(same.float().mean()),
        num_answers=len(same),
        batch_error=float((together - alone).abs().max().nan_to_num(nan=torch.inf) / scale.max()),
    )


def agree(kind: HeadKind, ours: Tensor, wanted: Tensor, bounds: Sequence[int]) -> Tensor:
    """Tell for each answer that a client would read from two packed outputs whether both give the same.

    An answer is a label, a tag, the start or the end of a span, which of any two choices is the
    better one, or for embed whether a vector finds its own text among the other's vectors.
    ``ours``, ``wanted``: as the head gives them. ``bounds``: where each sequence starts, and T. Returns
    bool, one an answer.
    """
    match kind:
        case HeadKind.CLASSIFY | HeadKind.TAG:
            return ours.argmax(dim=1) == wanted.argmax(dim=1)
        case HeadKind.CHOOSE:
            first, second = torch.triu_indices(len(ours), len(ours), offset=1)
            return (ours[first] > ours[second]).eq(wanted[first] > wanted[second]).flatten()
        case HeadKind.SPAN:
            spans = list(pairwise(bounds))
            return torch.cat([ours[i:j].argmax(dim=0) == wanted[i:j].argmax(dim=0) for i, j in spans])
        case HeadKind.EMBED:
            cosines = functional.normalize(ours, dim=1) @ functional.normalize(wanted, dim=1).T
            return cosines.argmax(dim=1) == torch.arange(len(ours))
        case _:
            assert_never(kind)


def _run(model: Model, sequences: Sequence[NDArray[np.int32]]) -> Tensor:
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    first = model.padding_idx + 1
    output = model.forward(
        torch.cat([torch.from_numpy(sequence) for sequence in sequences]).to(model.device),
        torch.cat([torch.arange(first, first + len(sequence)) for sequence in sequences]).to(model.device),
        functional.pad(lengths.cumsum(0), (1, 0)).to(model.device, torch.int32),
        int(lengths.max()),
    )
    return output.cpu()
