"""The parity that a variant tells over HTTP, beside what transformers' own classes make of it.

transformers' model in float32 is what a variant is compared with, and the same model, its linear maps rounded
here by the formula, stands in for the service's numbers.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from models.canary import canary
from models.linear import has_onednn, levels_here
from models.tokenizer import Tokenizer
from tests.service.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.service.serving import Served

CLASSES: dict[str, Any] = {
    "classify": AutoModelForSequenceClassification,
    "choose": AutoModelForMultipleChoice,
    "tag": AutoModelForTokenClassification,
    "span": AutoModelForQuestionAnswering,
    "embed": AutoModel,
}


class RoundedLinear(nn.Module):
    """A linear map on numbers that are rounded: a weight's by output, a token's by its largest."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._levels = levels_here()
        self._weight = rounded(linear.weight.data, self._levels.weight)
        self._bias = linear.bias.data

    def forward(self, states: Tensor) -> Tensor:
        return functional.linear(rounded(states, self._levels.token), self._weight, self._bias)


def rounded(rows: Tensor, levels: int) -> Tensor:
    steps = rows.abs().amax(dim=-1, keepdim=True) / levels
    return (rows / steps).round() * steps


def round_layers(model: Any) -> None:
    for layer in model.base_model.encoder.layer.modules():
        for name, child in list(layer.named_children()):
            if isinstance(child, nn.Linear):
                setattr(layer, name, RoundedLinear(child))


@torch.inference_mode()
def logits_of(head: str, model: Any, sequences: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return what a model says of each sequence alone, ``[rows, C]``."""
    given = [torch.tensor([ids]) for ids in sequences]
    match head:
        case "choose":
            return [model(input_ids=ids[None]).logits for ids in given]
        case "span":
            answers = [model(input_ids=ids) for ids in given]
            return [torch.stack([one.start_logits[0], one.end_logits[0]], dim=1) for one in answers]
        case "embed":
            return [model(input_ids=ids).last_hidden_state.mean(dim=1) for ids in given]
        case _:
            return [model(input_ids=ids).logits.flatten(end_dim=-2) for ids in given]


def same_answers(head: str, ours: list[Tensor], wanted: list[Tensor]) -> list[bool]:
    if head == "span":
        return [
            bool(one[:, side].argmax() == other[:, side].argmax())
            for one, other in zip(ours, wanted, strict=True)
            for side in (0, 1)
        ]
    mine, theirs = torch.cat(ours), torch.cat(wanted)
    if head == "choose":
        pairs = combinations(range(len(mine)), 2)
        return [bool((mine[a] > mine[b]) == (theirs[a] > theirs[b])) for a, b in pairs]
    if head == "embed":
        nearest = functional.cosine_similarity(mine[:, None], theirs[None], dim=-1).argmax(dim=1)
        return [int(place) == index for index, place in enumerate(nearest)]
    return (mine.argmax(dim=1) == theirs.argmax(dim=1)).tolist()


# The formula is one, but what lies near the middle of two steps falls either way: that was up to a fifth of
# an error over sixteen numbers.
TOLERANCE = 0.4


@pytest.fixture(scope="module")
def in_int8(mini_catalogue: Path) -> Iterator[Served]:
    if not has_onednn():
        pytest.skip("this build of torch has no oneDNN, which int8 needs")
    with served(mini_catalogue, dtype="int8", min_parity_agreement=0.0) as running:
        yield running


@pytest.mark.parametrize("head", CLASSES)
def test_parity_is_what_transformers_makes_of_the_same_rounding(
    in_int8: Served, mini_catalogue: Path, head: str
) -> None:
    told = in_int8.client.get(f"/v1/variants/{head}").json()["parity"]
    model = CLASSES[head].from_pretrained(mini_catalogue.parent / head).eval()
    birds = [ids.tolist() for ids in canary(Tokenizer.bundled(), max_positions=512)]
    wanted = logits_of(head, model, birds)
    round_layers(model)
    ours = logits_of(head, model, birds)
    errors, scale = (torch.cat(ours) - torch.cat(wanted)).abs(), torch.cat(wanted).abs()
    assert told["max_relative_error"] == pytest.approx(float(errors.max() / scale.max()), rel=TOLERANCE)
    assert told["mean_relative_error"] == pytest.approx(float(errors.mean() / scale.mean()), rel=TOLERANCE)
    same = same_answers(head, ours, wanted)
    assert told["num_answers"] == len(same)
    assert abs(told["agreement"] * len(same) - sum(same)) <= max(3, 0.03 * len(same))
