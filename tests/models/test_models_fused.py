"""Every form of the encoder: like transformers, and in company like alone, to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.checkpoint import CheckpointError, Form, load_model
from models.fused import best_form
from models.linear import WITHOUT_VNNI, has_onednn, levels_here
from models.parity import agree
from models.synthetic import Size, write_checkpoint
from models.variant import HeadKind, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from models.model import Model

    Reference = Callable[[HeadKind], tuple[Path, Any]]
    Run = Callable[..., Tensor]
    Expected = Callable[[HeadKind, Any, Sequence[Sequence[int]]], Tensor]

pytestmark = pytest.mark.skipif(not has_onednn(), reason="this build of torch has no oneDNN")

# What is allowed between a dtype and float32: the largest error over the largest logit, the mean error
# over the mean logit, and the share of answers that agree. Random weights have more answers on the
# edge than trained ones. bfloat16 keeps 8 bits of each number, int8 about 7 of a token's largest.
BOUNDS = {"float32": (2e-5, 2e-5, 1.0), "bfloat16": (0.05, 0.05, 0.95), "int8": (0.15, 0.2, 0.9)}
# Fewer levels of int8, on CPUs that would saturate with more: 1.4 times the error.
WITHOUT_VNNI_BOUNDS = (0.25, 0.3, 0.85)
CPU = torch.device("cpu")


def loaded(kind: HeadKind, folder: Path, dtype: str, form: Form | None = None) -> Model:
    variant = Variant(name="x", head=kind, checkpoint=str(folder), dtype=dtype)
    return load_model(variant, form=form or best_form(CPU, getattr(torch, dtype)))


def same(dtype: str, ours: Tensor, wanted: Tensor) -> bool:
    """Whether two outputs have the same bits; where torch emulates bfloat16, whether nearly so."""
    if best_form(CPU, getattr(torch, dtype)) is Form.JOINED:
        return bool((ours - wanted).abs().max() <= 2**-7 * wanted.abs().max())
    return torch.equal(ours, wanted)


def bounds_here(dtype: str) -> tuple[float, float, float]:
    fewer = dtype == "int8" and levels_here() is WITHOUT_VNNI
    return WITHOUT_VNNI_BOUNDS if fewer else BOUNDS[dtype]


def within(kind: HeadKind, dtype: str, ours: Tensor, wanted: Tensor, bounds: Sequence[int]) -> None:
    largest, mean, agreement = bounds_here(dtype)
    errors = (ours - wanted).abs()
    assert errors.max() <= largest * wanted.abs().max()
    assert errors.mean() <= mean * wanted.abs().mean()
    assert agree(kind, ours, wanted, bounds).float().mean() >= agreement


def bounds_of(sequences: Sequence[Sequence[int]]) -> list[int]:
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return [0, *lengths.cumsum(0).tolist()]


@pytest.mark.parametrize("form", [Form.JOINED, Form.PACKED])
@pytest.mark.parametrize("kind", HeadKind)
def test_each_form_of_float32_equals_transformers(
    kind: HeadKind,
    form: Form,
    reference: Reference,
    sequences: list[list[int]],
    run: Run,
    expected: Expected,
) -> None:
    folder, theirs = reference(kind)
    ours = run(loaded(kind, folder, "float32", form), sequences)
    assert (ours - expected(kind, theirs, sequences)).abs().max() <= 1e-4


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("kind", HeadKind)
def test_each_dtype_stays_within_its_bounds_of_transformers(
    kind: HeadKind,
    dtype: str,
    reference: Reference,
    sequences: list[list[int]],
    run: Run,
    expected: Expected,
) -> None:
    folder, theirs = reference(kind)
    chosen = [sequence for sequence in sequences if 2 < len(sequence) < 130][:24]
    wanted = expected(kind, theirs, chosen)
    ours = run(loaded(kind, folder, dtype), chosen)
    assert ours.dtype == torch.float32
    within(kind, dtype, ours, wanted, bounds_of(chosen))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    return write_checkpoint(folder, head=HeadKind.CLASSIFY, labels=("a", "b", "c"), size=Size.BASE)


def test_twelve_layers_of_base_size_stay_within_the_bounds_of_each_dtype(
    base: Path, sequences: list[list[int]], run: Run
) -> None:
    short = [sequence[:24] for sequence in sequences if len(sequence) > 2][:20]
    wanted = run(load_model(Variant(name="x", head=HeadKind.CLASSIFY, checkpoint=str(base))), short)
    # Answers that do not differ between inputs could agree by chance.
    assert wanted.std(dim=0).min() > 0.1
    for dtype in BOUNDS:
        ours = run(loaded(HeadKind.CLASSIFY, base, dtype), short)
        within(HeadKind.CLASSIFY, dtype, ours, wanted, bounds_of(short))


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("kind", HeadKind)
def test_forty_sequences_together_give_the_same_bits_as_each_alone(
    kind: HeadKind, dtype: str, reference: Reference, sequences: list[list[int]], run: Run
) -> None:
    model = loaded(kind, reference(kind)[0], dtype)
    together = run(model, sequences)
    alone = torch.cat([run(model, [sequence]) for sequence in sequences])
    assert same(dtype, together, alone)


@pytest.mark.parametrize("dtype", BOUNDS)
def test_any_company_in_any_order_leaves_every_bit_alone(
    dtype: str, reference: Reference, sequences: list[list[int]], run: Run
) -> None:
    model = loaded(HeadKind.SPAN, reference(HeadKind.SPAN)[0], dtype)
    short = [sequence for sequence in sequences if len(sequence) < 80]
    alone = [run(model, [sequence]) for sequence in short]

    @settings(max_examples=25, deadline=None)
    @given(chosen=st.lists(st.integers(0, len(short) - 1), min_size=1, max_size=12))
    def holds(chosen: list[int]) -> None:
        together = run(model, [short[index] for index in chosen])
        assert same(dtype, together, torch.cat([alone[index] for index in chosen]))

    holds()


@pytest.mark.parametrize("form", [Form.JOINED, Form.PACKED, Form.INT8])
@pytest.mark.parametrize("layer", [0, 1, 3, 4])
def test_early_exit_gives_that_layer(
    layer: int, form: Form, reference: Reference, sequences: list[list[int]], run: Run
) -> None:
    folder, _ = reference(HeadKind.EMBED)
    dtype = "int8" if form is Form.INT8 else "float32"
    stored = load_model(Variant(name="x", head=HeadKind.EMBED, checkpoint=str(folder)))
    model = loaded(HeadKind.EMBED, folder, dtype, form)
    chosen = sequences[2:8]
    for pooling in ("mean", "cls", "pooler"):
        wanted = run(stored, chosen, layer=layer, pooling=pooling)
        ours = run(model, chosen, layer=layer, pooling=pooling)
        assert (ours - wanted).abs().max() <= bounds_here(dtype)[0] * wanted.abs().max()
    ran: list[int] = []
    for index, module in enumerate(model.encoder.layers):
        module.register_forward_hook(lambda *_, index=index: ran.append(index))
    run(model, chosen, layer=layer)
    assert ran == list(range(layer))


def test_int8_is_what_a_catalogue_can_ask_for_and_keeps_the_rest_in_float32(reference: Reference) -> None:
    folder, _ = reference(HeadKind.CLASSIFY)
    model = load_model(Variant(name="x", head=HeadKind.CLASSIFY, checkpoint=str(folder), dtype="int8"))
    assert model.dtype == torch.int8
    assert {tensor.dtype for tensor in model.tensors.values()} == {torch.float32}
    assert "encoder.embeddings.words.weight" in model.tensors
    full = load_model(Variant(name="x", head=HeadKind.CLASSIFY, checkpoint=str(folder)))
    tables = sum(t.nbytes for name, t in full.tensors.items() if "embeddings" in name)
    maps = sum(full.held_bytes.values()) - tables
    # A quarter of the linear maps, and scales, biases, norms and the head in float32.
    assert 0.25 * maps < sum(model.held_bytes.values()) - tables < 0.5 * maps


def test_int8_on_a_gpu_is_refused_in_one_line(reference: Reference) -> None:
    variant = Variant(name="x", head=HeadKind.TAG, checkpoint=str(reference(HeadKind.TAG)[0]), dtype="int8")
    with pytest.raises(CheckpointError, match=r"'x': int8 runs on the CPU alone; serve it in bfloat16"):
        load_model(variant, device="cuda")


@pytest.mark.parametrize(
    ("device", "dtype", "form"),
    [
        ("cuda", torch.float32, Form.JOINED),
        ("cuda", torch.bfloat16, Form.JOINED),
        ("cpu", torch.float32, Form.PACKED),
        ("cpu", torch.int8, Form.INT8),
    ],
)
def test_the_form_that_suits_a_device(device: str, dtype: torch.dtype, form: Form) -> None:
    assert best_form(torch.device(device), dtype) is form


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_layers_meet_few_numbers_of_rows(reference: Reference, dtype: str) -> None:
    folder, _ = reference(HeadKind.EMBED)
    encoder = loaded(HeadKind.EMBED, folder, dtype).encoder
    met: list[int] = []
    encoder.layers[0].register_forward_pre_hook(lambda _, given: met.append(len(given[0])))
    for length in range(41, 81):
        half = length // 2
        ids = torch.full((length,), 5, dtype=torch.int32)
        positions = torch.cat([torch.arange(2, half + 2), torch.arange(2, length - half + 2)])
        hidden = encoder(ids, positions, torch.tensor([0, half, length]), length - half)
        assert len(hidden) == length
        assert torch.isfinite(hidden).all()
    assert sorted(set(met)) == [*range(42, 66, 2), *range(68, 81, 4)]
