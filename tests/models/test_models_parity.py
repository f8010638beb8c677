"""How far a model is from its reference, on models that are wrong in known ways."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.canary import canary
from models.checkpoint import Form, load_model
from models.parity import agree, measure_parity
from models.variant import HeadKind, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from models.encoder import Attend, Rows
    from models.model import Model
    from models.tokenizer import Tokenizer

    Reference = Callable[[HeadKind], tuple[Path, Any]]


def loaded(kind: HeadKind, folder: Path, **how: Any) -> Model:
    return load_model(Variant(name="x", head=kind, checkpoint=str(folder)), **how)


@pytest.fixture(scope="module")
def birds(bundled: Tokenizer) -> Sequence[NDArray[np.int32]]:
    return canary(bundled, max_positions=512)


def test_the_canary_is_short_and_long_and_never_changes_with_the_variant(bundled: Tokenizer) -> None:
    sequences = canary(bundled, max_positions=512)
    lengths = [len(sequence) for sequence in sequences]
    assert min(lengths) < 8
    assert max(lengths) > 80
    assert sum(lengths) < 800
    for sequence in sequences:
        assert sequence.dtype == np.int32
        assert (sequence[0], sequence[-1]) == (bundled.bos_id, bundled.eos_id)
        assert bundled.unk_id not in sequence
    assert max(map(len, canary(bundled, max_positions=16))) == 16


@pytest.mark.parametrize("kind", HeadKind)
def test_a_model_is_its_own_equal(
    kind: HeadKind, reference: Reference, birds: Sequence[NDArray[np.int32]]
) -> None:
    folder, _ = reference(kind)
    parity = measure_parity(loaded(kind, folder, form=Form.PACKED), loaded(kind, folder), birds)
    assert parity.max_error < 1e-5
    assert parity.mean_error < 1e-5
    assert parity.agreement == 1.0
    assert parity.batch_error == 0.0
    tokens = sum(map(len, birds))
    assert len(birds) == 16
    count = {HeadKind.TAG: tokens, HeadKind.SPAN: 2 * len(birds), HeadKind.CHOOSE: 120}
    assert parity.num_answers == count.get(kind, len(birds))


@pytest.mark.parametrize("kind", HeadKind)
def test_int8_shows_its_rounding(
    kind: HeadKind, reference: Reference, birds: Sequence[NDArray[np.int32]]
) -> None:
    folder, _ = reference(kind)
    parity = measure_parity(loaded(kind, folder, dtype=torch.int8), loaded(kind, folder), birds)
    assert 1e-3 < parity.max_error < 0.15
    assert 1e-3 < parity.mean_error < 0.2
    assert parity.agreement >= 0.9
    assert parity.batch_error == 0.0


def test_a_known_shift_is_measured_as_such(reference: Reference, birds: Sequence[NDArray[np.int32]]) -> None:
    model = loaded(HeadKind.CLASSIFY, reference(HeadKind.CLASSIFY)[0])
    right = measure_parity(model, model, birds)
    assert right.max_error < 1e-5
    assert right.agreement == 1.0
    head: Any = copy.deepcopy(model.head)
    wrong = replace(model, head=head)
    scale = 1.5
    head.output.weight.mul_(scale)
    head.output.bias.mul_(scale)
    parity = measure_parity(wrong, model, birds)
    # Every logit is half as large again: half of the largest, and half of the mean.
    assert parity.max_error == pytest.approx(0.5, rel=1e-3)
    assert parity.mean_error == pytest.approx(0.5, rel=1e-3)
    assert parity.agreement == 1.0
    head.output.weight.neg_()
    head.output.bias.neg_()
    assert measure_parity(wrong, model, birds).agreement == 0.0


def test_numbers_that_are_none_are_an_error_without_end(
    reference: Reference, birds: Sequence[NDArray[np.int32]]
) -> None:
    model = loaded(HeadKind.CLASSIFY, reference(HeadKind.CLASSIFY)[0])
    head: Any = copy.deepcopy(model.head)
    head.output.bias.fill_(torch.nan)
    parity = measure_parity(replace(model, head=head), model, birds)
    assert parity.max_error == parity.mean_error == parity.batch_error == float("inf")


def leaky_attention(cu_seqlens: Tensor, max_seqlen: int, rows: Rows) -> Attend:
    """Let every sequence see the whole batch."""
    del max_seqlen, rows

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen = slice(int(cu_seqlens[-1]))
        q, k, v = (states.transpose(0, 1) for states in (query, key[seen], value[seen]))
        return functional.scaled_dot_product_attention(q, k, v).transpose(0, 1)

    return attend


def test_a_leak_between_batch_mates_is_seen(reference: Reference, birds: Sequence[NDArray[np.int32]]) -> None:
    model = loaded(HeadKind.CLASSIFY, reference(HeadKind.CLASSIFY)[0])
    leaky = loaded(HeadKind.CLASSIFY, reference(HeadKind.CLASSIFY)[0])
    leaky.encoder.attention = leaky_attention
    parity = measure_parity(leaky, model, birds)
    assert parity.batch_error > 0.01
    assert parity.max_error > 0.01


def test_agreement_by_hand() -> None:
    ours = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0], [0.0, 5.0]])
    wanted = torch.tensor([[2.0, 1.0], [1.0, 0.0], [9.0, 2.0], [1.0, 1.5]])
    assert agree(HeadKind.CLASSIFY, ours, wanted, [0, 2, 4]).tolist() == [True, False, True, True]
    # Starts at rows 0 and 0, ends at rows 1 and 1; the reference: 0 and 0, 0 and 0.
    assert agree(HeadKind.SPAN, ours, wanted, [0, 2, 4]).tolist() == [True, False, True, False]
    scores = torch.tensor([[1.0], [2.0], [4.0]])
    others = torch.tensor([[1.0], [0.0], [4.0]])
    # Of the first and second, the first and third, the second and third.
    assert agree(HeadKind.CHOOSE, scores, others, [0, 1, 2, 3]).tolist() == [False, True, True]
    near, far = torch.eye(3), torch.eye(3)[[0, 2, 1]]
    assert agree(HeadKind.EMBED, near, near + 0.1, [0, 1, 2, 3]).tolist() == [True, True, True]
    assert agree(HeadKind.EMBED, near, far, [0, 1, 2, 3]).tolist() == [True, False, False]
