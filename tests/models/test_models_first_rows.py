"""The last layer computed only where it is read: like transformers, like all rows, alike in any company."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.checkpoint import Form, load_model
from models.encoder import Rows
from models.fused import best_form
from models.heads import EmbedHead, first_tokens, rows_read
from models.linear import WITHOUT_VNNI, has_onednn, levels_here, round_few_rows
from models.variant import HeadKind, Pooling, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from models.model import Model

    Reference = Callable[[HeadKind], tuple[Path, Any]]
    Run = Callable[..., Tensor]

pytestmark = pytest.mark.skipif(not has_onednn(), reason="this build of torch has no oneDNN")

CPU = torch.device("cpu")
# Head, and how embed pools, of all that read first tokens alone.
READERS = (
    (HeadKind.CLASSIFY, None),
    (HeadKind.CHOOSE, None),
    (HeadKind.EMBED, Pooling.CLS),
    (HeadKind.EMBED, Pooling.POOLER),
)
FORMS = (
    ("float32", Form.STORED),
    ("float32", Form.JOINED),
    ("float32", Form.PACKED),
    ("bfloat16", Form.STORED),
    ("bfloat16", Form.PACKED),
    ("int8", Form.INT8),
)
SERVED = ("float32", "bfloat16", "int8")
# From transformers in float32: largest error over the largest value. As for whole layers.
FROM_TRANSFORMERS = {"float32": 2e-5, "bfloat16": 0.05, "int8": 0.15}
# From all rows in the same form: float32 adds attention in another order, bfloat16 also keeps its weights
# in float32, and int8 may round a number that lay on the edge to the next step.
FROM_ALL_ROWS = {"float32": 5e-6, "bfloat16": 0.03, "int8": 0.03}


def loaded(kind: HeadKind, folder: Path, dtype: str, form: Form | None = None) -> Model:
    variant = Variant(name="x", head=kind, checkpoint=str(folder), dtype=dtype)
    return load_model(variant, form=form or best_form(CPU, getattr(torch, dtype)))


def packed(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor, int]:
    lengths = [len(sequence) for sequence in sequences]
    tokens = [token for sequence in sequences for token in sequence]
    positions = [2 + index for length in lengths for index in range(length)]
    ids, places, bounds = (
        torch.tensor(values, dtype=torch.int32) for values in (tokens, positions, [0, *accumulate(lengths)])
    )
    return ids, places, bounds, max(lengths)


def same(dtype: str, ours: Tensor, wanted: Tensor) -> bool:
    """Whether two outputs have the same bits; where torch emulates bfloat16, whether nearly so."""
    if best_form(CPU, getattr(torch, dtype)) is Form.JOINED:
        return bool((ours - wanted).abs().max() <= 2**-7 * wanted.abs().max())
    return torch.equal(ours, wanted)


@torch.inference_mode()
def theirs_alone(
    kind: HeadKind, pooling: Pooling | None, layer: int, reference: Any, sequences: Sequence[Sequence[int]]
) -> Tensor:
    """Return what transformers' own head says of the hidden states behind a layer, each sequence alone."""
    answers = []
    for sequence in sequences:
        ids = torch.tensor([sequence])
        body = reference if kind is HeadKind.EMBED else reference.roberta
        hidden = body(ids, output_hidden_states=True).hidden_states[layer]
        match kind, pooling:
            case HeadKind.CLASSIFY, _:
                answers.append(reference.classifier(hidden))
            case HeadKind.CHOOSE, _:
                answers.append(reference.classifier(body.pooler(hidden)))
            case _, Pooling.POOLER:
                answers.append(body.pooler(hidden))
            case _:
                answers.append(hidden[:, 0])
    return torch.cat(answers)


@pytest.mark.parametrize("layer", [0, 1, 2, 4])
@pytest.mark.parametrize(("dtype", "form"), FORMS)
@pytest.mark.parametrize(("kind", "pooling"), READERS)
def test_what_is_read_behind_any_layer_equals_transformers(
    kind: HeadKind,
    pooling: Pooling | None,
    dtype: str,
    form: Form,
    layer: int,
    reference: Reference,
    sequences: list[list[int]],
    run: Run,
) -> None:
    folder, theirs = reference(kind)
    chosen = [*sequences[1:7], *sequences[9:13]]
    assert {1, 2, 3, 17, 250} <= {len(sequence) for sequence in chosen}
    wanted = theirs_alone(kind, pooling, layer, theirs, chosen)
    ours = run(loaded(kind, folder, dtype, form), chosen, layer=layer, pooling=pooling)
    assert ours.shape == wanted.shape
    bound = FROM_TRANSFORMERS[dtype] * (1.7 if dtype == "int8" and levels_here() is WITHOUT_VNNI else 1)
    assert (ours - wanted).abs().max() <= bound * wanted.abs().max()


@pytest.mark.parametrize("layer", [0, 1, 3, None])
@pytest.mark.parametrize(("dtype", "form"), FORMS)
@pytest.mark.parametrize(("kind", "pooling"), READERS)
def test_rows_that_nobody_reads_change_nothing_but_rounding(
    kind: HeadKind,
    pooling: Pooling | None,
    dtype: str,
    form: Form,
    layer: int | None,
    reference: Reference,
    sequences: list[list[int]],
) -> None:
    model = loaded(kind, reference(kind)[0], dtype, form)
    batch = packed([*sequences[1:7], *sequences[9:13]])
    whole = model.read(model.encode(*batch, layer=layer), batch[2], pooling=pooling)
    ours = model.forward(*batch, layer=layer, pooling=pooling)
    assert ours.shape == whole.shape
    assert (ours - whole).abs().max() <= FROM_ALL_ROWS[dtype] * whole.abs().max()
    if layer == 0:
        assert torch.equal(ours, whole)


@pytest.mark.parametrize("dtype", SERVED)
@pytest.mark.parametrize(("kind", "pooling"), READERS)
def test_one_row_has_the_same_bits_as_among_many(
    kind: HeadKind,
    pooling: Pooling | None,
    dtype: str,
    reference: Reference,
    sequences: list[list[int]],
    run: Run,
) -> None:
    model = loaded(kind, reference(kind)[0], dtype)
    for chosen, layer in ((sequences, None), (sequences[3:7], 2), (sequences[3:7], 1)):
        alone = torch.cat([run(model, [one], pooling=pooling, layer=layer) for one in chosen])
        try:
            for num_threads in (1, 2):
                torch.set_num_threads(num_threads)
                assert same(dtype, run(model, chosen, pooling=pooling, layer=layer), alone)
        finally:
            torch.set_num_threads(1)


@pytest.mark.parametrize("dtype", SERVED)
def test_any_number_of_sequences_leaves_every_bit_alone(
    dtype: str, reference: Reference, sequences: list[list[int]], run: Run
) -> None:
    model = loaded(HeadKind.CLASSIFY, reference(HeadKind.CLASSIFY)[0], dtype)
    short = [sequence for sequence in sequences if len(sequence) < 40]
    alone = [run(model, [sequence]) for sequence in short]

    @settings(max_examples=25, deadline=None)
    @given(chosen=st.lists(st.integers(0, len(short) - 1), min_size=1, max_size=140))
    def holds(chosen: list[int]) -> None:
        together = run(model, [short[index] for index in chosen])
        assert same(dtype, together, torch.cat([alone[index] for index in chosen]))

    holds()


@pytest.mark.parametrize(("dtype", "form"), FORMS)
def test_the_last_layer_that_runs_works_on_first_rows_and_the_others_on_all(
    dtype: str, form: Form, reference: Reference, sequences: list[list[int]], run: Run
) -> None:
    model = loaded(HeadKind.EMBED, reference(HeadKind.EMBED)[0], dtype, form)
    widened: list[int] = []
    for module in model.encoder.layers:
        widen = module.get_submodule("widen")
        widen.register_forward_pre_hook(lambda _, given: widened.append(len(given[0])))
    chosen = sequences[2:5]
    rounds = form in (Form.PACKED, Form.INT8)
    num_tokens, num_first = sum(map(len, chosen)), 4 if rounds else 3
    for layer, pooling, wanted in (
        (None, "cls", [num_tokens] * 3 + [num_first]),
        (None, "pooler", [num_tokens] * 3 + [num_first]),
        (None, "mean", [num_tokens] * 4),
        (2, "cls", [num_tokens, num_first]),
        (1, "cls", [num_first]),
        (0, "cls", []),
    ):
        widened.clear()
        output = run(model, chosen, layer=layer, pooling=pooling)
        assert widened == wanted
        assert len(output) == 3


def test_what_each_head_reads(reference: Reference) -> None:
    found = {
        (kind, pooling): rows_read(loaded(kind, reference(kind)[0], "float32").head, pooling)
        for kind in HeadKind
        for pooling in Pooling
    }
    assert {case for case, rows in found.items() if rows is Rows.FIRST} == {
        *((kind, pooling) for kind in (HeadKind.CLASSIFY, HeadKind.CHOOSE) for pooling in Pooling),
        (HeadKind.EMBED, Pooling.CLS),
        (HeadKind.EMBED, Pooling.POOLER),
    }


def test_numbers_of_sequences_are_rounded_to_few() -> None:
    sizes = [round_few_rows(number) for number in range(1, 1025)]
    assert all(size >= max(2, number) for number, size in enumerate(sizes, start=1))
    assert sorted(set(sizes)) == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_last_layers_meet_few_numbers_of_rows(dtype: str, reference: Reference) -> None:
    encoder = loaded(HeadKind.EMBED, reference(HeadKind.EMBED)[0], dtype).encoder
    met: set[int] = set()
    encoder.layers[-1].get_submodule("mix").register_forward_pre_hook(lambda _, given: met.add(len(given[0])))
    for number in range(1, 40):
        batch = packed([[0, 5, 2]] * number)
        first = encoder(*batch, None, Rows.FIRST)
        assert first.shape == (number, 96)
        # Equal sequences: what rounds their number up shows in none.
        assert torch.equal(first, first[:1].expand(number, -1))
    assert sorted(met) == [2, 4, 8, 16, 32, 64]


def test_without_a_pooler_it_is_refused_as_ever(reference: Reference, sequences: list[list[int]]) -> None:
    model = loaded(HeadKind.EMBED, reference(HeadKind.EMBED)[0], "float32")
    head: Any = model.head
    assert isinstance(head, EmbedHead)
    head.pooler = None
    with pytest.raises(ValueError, match="no pooler; ask for pooling mean or cls"):
        model.forward(*packed(sequences[:2]), pooling="pooler")
    with pytest.raises(ValueError, match="There is no layer 5"):
        model.forward(*packed(sequences[:2]), pooling="cls", layer=5)


def test_what_was_encoded_whole_is_read_at_first_tokens(
    reference: Reference, sequences: list[list[int]]
) -> None:
    model = loaded(HeadKind.EMBED, reference(HeadKind.EMBED)[0], "float32")
    batch = packed(sequences[1:5])
    hidden = model.encode(*batch)
    assert hidden.shape == (len(batch[0]), 96)
    assert torch.equal(model.read(hidden, batch[2], pooling="cls"), first_tokens(hidden, batch[2]))
