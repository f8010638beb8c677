"""Packed answers against transformers' own classes on the same checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from models.checkpoint import load_model
from models.variant import HeadKind, Pooling, Variant
from service.batching.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from models.model import Model

    Reference = Callable[[HeadKind], tuple[Path, Any]]
    Run = Callable[..., Tensor]
    Expected = Callable[[HeadKind, Any, Sequence[Sequence[int]]], Tensor]


def loaded(kind: HeadKind, folder: Path, **wishes: Any) -> Model:
    return load_model(Variant(name="x", head=kind, checkpoint=str(folder), **wishes))


@pytest.mark.parametrize("kind", HeadKind)
def test_every_head_equals_transformers_on_forty_packed_sequences(
    kind: HeadKind, reference: Reference, sequences: list[list[int]], run: Run, expected: Expected
) -> None:
    folder, theirs = reference(kind)
    assert {len(sequence) for sequence in sequences} >= {1, 2, 511, 512}
    wanted = expected(kind, theirs, sequences)
    ours = run(loaded(kind, folder), sequences)
    assert ours.shape == wanted.shape
    assert ours.dtype == torch.float32
    assert (ours - wanted).abs().max() <= 1e-4
    # Answers that do not differ between inputs could agree by chance.
    assert wanted.std(dim=0).min() > 1e-2


@pytest.mark.parametrize("kind", HeadKind)
def test_a_batch_of_forty_gives_what_each_gives_alone(
    kind: HeadKind, reference: Reference, sequences: list[list[int]], run: Run
) -> None:
    model = loaded(kind, reference(kind)[0])
    together = run(model, sequences)
    alone = torch.cat([run(model, [sequence]) for sequence in sequences])
    assert (together - alone).abs().max() <= 1e-5 * alone.abs().max()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batch_mates_do_not_matter_in_half_precision_either(
    dtype: str, reference: Reference, sequences: list[list[int]], run: Run
) -> None:
    model = loaded(HeadKind.CLASSIFY, reference(HeadKind.CLASSIFY)[0], dtype=dtype)
    together = run(model, sequences)
    alone = torch.cat([run(model, [sequence]) for sequence in sequences])
    # One rounding step of bfloat16; a leak between sequences would be far above it.
    assert (together - alone).abs().max() <= 2**-8 * alone.abs().max()


@pytest.mark.parametrize("kind", HeadKind)
def test_transformers_auto_classes_load_a_synthetic_checkpoint_whole(
    kind: HeadKind,
    synthetic: Callable[[HeadKind], Path],
    sequences: list[list[int]],
    run: Run,
    expected: Expected,
    reference_class: Callable[[HeadKind], Any],
) -> None:
    folder = synthetic(kind)
    theirs, report = reference_class(kind).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    difference = run(loaded(kind, folder), sequences) - expected(kind, theirs.eval(), sequences)
    assert difference.abs().max() <= 1e-4


@pytest.mark.parametrize("layer", range(5))
def test_early_exit_gives_the_hidden_states_of_that_layer(
    layer: int, reference: Reference, sequences: list[list[int]], run: Run
) -> None:
    folder, theirs = reference(HeadKind.EMBED)
    model = loaded(HeadKind.EMBED, folder)
    for sequence in sequences[:6]:
        with torch.inference_mode():
            hidden = theirs(torch.tensor([sequence]), output_hidden_states=True).hidden_states[layer]
            pooled = theirs.pooler(hidden)
        for pooling, wanted in (
            (Pooling.MEAN, hidden.mean(dim=1)),
            ("cls", hidden[:, 0]),
            ("pooler", pooled),
        ):
            ours = run(model, [sequence], layer=layer, pooling=pooling)
            assert (ours - wanted).abs().max() <= 1e-4


def test_early_exit_does_not_run_the_layers_above(
    reference: Reference, sequences: list[list[int]], run: Run
) -> None:
    model = loaded(HeadKind.EMBED, reference(HeadKind.EMBED)[0])
    ran: list[int] = []
    for index, layer in enumerate(model.encoder.layers):
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
    run(model, sequences[:3], layer=2)
    assert ran == [0, 1]


@pytest.mark.parametrize("pooling", Pooling)
def test_each_pooling_of_the_last_layer_equals_transformers(
    pooling: Pooling, reference: Reference, sequences: list[list[int]], run: Run
) -> None:
    folder, theirs = reference(HeadKind.EMBED)
    wanted = []
    for sequence in sequences:
        with torch.inference_mode():
            output = theirs(torch.tensor([sequence]))
        hidden = output.last_hidden_state
        vector = {"mean": hidden.mean(dim=1), "cls": hidden[:, 0], "pooler": output.pooler_output}
        wanted.append(vector[pooling.value])
    ours = run(loaded(HeadKind.EMBED, folder), sequences, pooling=pooling)
    assert (ours - torch.cat(wanted)).abs().max() <= 1e-4


def from_zero(sequences: Sequence[Sequence[int]]) -> list[int]:
    return [index for sequence in sequences for index in range(len(sequence))]


def running_on(sequences: Sequence[Sequence[int]]) -> list[int]:
    return [2 + index for index in range(sum(map(len, sequences)))]


@pytest.mark.parametrize("wrong", [from_zero, running_on])
def test_wrong_positions_are_not_within_tolerance(
    wrong: Callable[[Sequence[Sequence[int]]], list[int]],
    reference: Reference,
    sequences: list[list[int]],
    run: Run,
    expected: Expected,
) -> None:
    folder, theirs = reference(HeadKind.CLASSIFY)
    short = [sequence[:10] for sequence in sequences]
    model = loaded(HeadKind.CLASSIFY, folder)
    wanted = expected(HeadKind.CLASSIFY, theirs, short)
    assert (run(model, short) - wanted).abs().max() <= 1e-4
    assert (run(model, short, positions=wrong) - wanted).abs().max() > 1e-2


def test_the_packing_of_the_service_gives_positions_as_transformers_counts_them(
    reference: Reference, sequences: list[list[int]], expected: Expected
) -> None:
    folder, theirs = reference(HeadKind.TAG)
    model = loaded(HeadKind.TAG, folder)
    batch = pack(
        [np.array(sequence, dtype=np.int32) for sequence in sequences], padding_idx=model.padding_idx
    )
    ours = model.forward(
        torch.from_numpy(batch.input_ids),
        torch.from_numpy(batch.position_ids),
        torch.from_numpy(batch.cu_seqlens),
        batch.max_seqlen,
    )
    assert (ours - expected(HeadKind.TAG, theirs, sequences)).abs().max() <= 1e-4


def test_half_precision_stays_near_and_comes_back_in_float32(
    reference: Reference, sequences: list[list[int]], run: Run, expected: Expected
) -> None:
    folder, theirs = reference(HeadKind.CLASSIFY)
    model = loaded(HeadKind.CLASSIFY, folder, dtype="bfloat16")
    assert {tensor.dtype for tensor in model.tensors.values()} == {torch.bfloat16}
    ours = run(model, sequences)
    assert ours.dtype == torch.float32
    wanted = expected(HeadKind.CLASSIFY, theirs, sequences)
    # bfloat16 has eight bits of mantissa, and four layers add up their rounding.
    assert (ours - wanted).abs().max() < 0.05 * wanted.abs().max()
