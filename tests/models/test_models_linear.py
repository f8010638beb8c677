"""Linear maps in oneDNN's layout and in int8, against their formulas in double precision."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models.linear import (
    EIGHT_BITS,
    WITHOUT_VNNI,
    Int8Linear,
    Levels,
    PackedLinear,
    has_onednn,
    levels_here,
    multiplies_natively,
    pack,
    packs,
    quantize_tokens,
    quantize_weight,
    round_rows,
)

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.skipif(not has_onednn(), reason="this build of torch has no oneDNN")

SHAPES = [(96, 200), (256, 1024), (3072, 768), (768, 3), (64, 1)]


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    numbers: Tensor = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return numbers.to(dtype)


def weight_of(num_outputs: int, num_inputs: int) -> Tensor:
    return drawn(num_outputs, num_inputs, seed=1).mul(num_inputs**-0.5)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize(("num_inputs", "num_outputs"), SHAPES)
def test_packed_is_the_formula(num_inputs: int, num_outputs: int, gelu: bool) -> None:  # noqa: FBT001 - a case
    weight, bias = weight_of(num_outputs, num_inputs), drawn(num_outputs, seed=2)
    rows = drawn(37, num_inputs, seed=3)
    wanted = functional.linear(rows.double(), weight.double(), bias.double())
    # The GELU with erf; the one with tanh is up to 5e-4 away from it.
    wanted = functional.gelu(wanted) if gelu else wanted
    with torch.inference_mode():
        output = PackedLinear(pack(weight), bias, gelu=gelu)(rows)
    assert (output - wanted).abs().max() < 2e-5


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize(("num_inputs", "num_outputs"), SHAPES)
def test_int8_is_the_formula_on_rounded_numbers(num_inputs: int, num_outputs: int, gelu: bool) -> None:  # noqa: FBT001
    weight, bias = weight_of(num_outputs, num_inputs), drawn(num_outputs, seed=2)
    rows = drawn(37, num_inputs, seed=3) * torch.logspace(-3, 3, 37)[:, None]
    levels = levels_here()
    scales = weight.double().abs().amax(dim=1, keepdim=True) / levels.weight
    magnitudes = rows.double().abs().amax(dim=1, keepdim=True)
    rounded_weight = (weight.double() / scales).round() * scales
    rounded_rows = (rows.double() * levels.token / magnitudes).round() / levels.token * magnitudes
    wanted = functional.linear(rounded_rows, rounded_weight, bias.double())
    wanted = functional.gelu(wanted) if gelu else wanted
    with torch.inference_mode():
        linear = Int8Linear(quantize_weight(weight, levels_here()), bias, gelu=gelu)
        output = linear(rows)
    # A number that lies halfway may be rounded the other way in single precision.
    assert ((output - wanted).abs() / magnitudes).max() < 2e-3
    exact = functional.linear(rows.double(), weight.double(), bias.double())
    exact = functional.gelu(exact) if gelu else exact
    assert 1e-4 < ((output - exact).abs() / magnitudes).mean() < 1e-2


@pytest.mark.parametrize("levels", [EIGHT_BITS, WITHOUT_VNNI])
def test_a_token_is_rounded_to_the_nearest_of_its_own_steps(levels: Levels) -> None:
    rows = drawn(50, 96) * torch.logspace(-4, 4, 50)[:, None]
    quantized, magnitudes = quantize_tokens(rows, levels)
    assert quantized.dtype == torch.uint8
    assert torch.equal(magnitudes, rows.abs().amax(dim=1, keepdim=True))
    restored = (quantized.double() - levels.zero_point) / levels.token * magnitudes
    assert ((restored - rows).abs() <= magnitudes / (2 * levels.token) * (1 + 1e-5)).all()
    assert ((quantized.long() - levels.zero_point).abs().amax(dim=1) == levels.token).all()


def test_a_token_of_zeros_gives_the_bias() -> None:
    bias = drawn(20, seed=2)
    linear = Int8Linear(quantize_weight(weight_of(20, 32), levels_here()), bias)
    assert torch.equal(linear(torch.zeros(3, 32)), bias.expand(3, -1))


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_token_that_is_no_number_stays_none_and_harms_nobody(poison: float) -> None:
    rows = drawn(5, 32)
    linear = Int8Linear(quantize_weight(weight_of(20, 32), levels_here()), drawn(20, seed=2))
    clean = linear(rows)
    rows[2, 7] = poison
    output = linear(rows)
    assert not output[2].isfinite().any()
    others = [0, 1, 3, 4]
    assert torch.equal(output[others], clean[others])


def test_an_output_without_weights_gives_its_bias() -> None:
    weight = weight_of(4, 32)
    weight[1] = 0
    bias = drawn(4, seed=2)
    output = Int8Linear(quantize_weight(weight, levels_here()), bias)(drawn(6, 32))
    assert torch.equal(output[:, 1], bias[1].expand(6))


def linear_of(form: str, num_inputs: int, num_outputs: int) -> torch.nn.Module:
    weight, bias = weight_of(num_outputs, num_inputs), drawn(num_outputs, seed=2)
    if form == "int8":
        return Int8Linear(quantize_weight(weight, levels_here()), bias, gelu=True)
    dtype = getattr(torch, form)
    return PackedLinear(pack(weight.to(dtype)), bias.to(dtype), gelu=True)


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_row_gives_the_same_bits_in_any_company(form: str, data: st.DataObject) -> None:
    num_inputs, num_outputs = data.draw(st.sampled_from([(3072, 768), (768, 2304), (96, 200), (768, 3)]))
    start = data.draw(st.integers(0, 299), label="start")
    length = data.draw(st.integers(1, 300 - start), label="length")
    dtype = torch.float32 if form == "int8" else getattr(torch, form)
    if not packs(dtype):
        pytest.skip(f"oneDNN does not multiply {form} on this CPU")
    rows = drawn(300, num_inputs, seed=4, dtype=dtype)
    linear = linear_of(form, num_inputs, num_outputs)
    with torch.inference_mode():
        assert torch.equal(linear(rows)[start : start + length], linear(rows[start : start + length]))


@pytest.mark.parametrize(
    ("machine", "instructions", "native"),
    [
        ("x86_64", {}, False),  # AVX-512 without it, where oneDNN says yes and emulates
        ("x86_64", {"_is_avx512_bf16_supported"}, True),
        ("AMD64", {"_is_amx_tile_supported"}, True),
        ("aarch64", {"onednn"}, True),
        ("aarch64", {}, False),
    ],
)
def test_bfloat16_is_native_where_the_cpu_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, machine: str, instructions: set[str], *, native: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name in instructions)
    says_yes = machine == "x86_64" or "onednn" in instructions
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: says_yes)
    assert multiplies_natively(torch.bfloat16) is native
    assert multiplies_natively(torch.float32)


_ON_AN_OLDER_CPU = """
import torch
from models.linear import EIGHT_BITS, WITHOUT_VNNI, Int8Linear, levels_here, quantize_weight
assert levels_here() is WITHOUT_VNNI
weight = torch.full((32, 64), 0.5)
rows = torch.ones(40, 64)
wrong = Int8Linear(quantize_weight(weight, EIGHT_BITS), torch.zeros(32))(rows)
right = Int8Linear(quantize_weight(weight, WITHOUT_VNNI), torch.zeros(32))(rows)
assert (wrong - 32).abs().max() > 1, wrong
assert (right - 32).abs().max() < 1e-4, right
"""


def test_without_vnni_fewer_levels_keep_sums_from_saturating() -> None:
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("the instruction that saturates is one of x86")
    # Read once, when torch is loaded: so it takes another process.
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", _ON_AN_OLDER_CPU], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@given(st.integers(1, 100_000))
def test_rows_are_rounded_up_by_a_sixteenth_at_most_and_only_once(num_rows: int) -> None:
    rounded = round_rows(num_rows)
    assert num_rows <= rounded <= num_rows * 17 / 16
    assert round_rows(rounded) == rounded
    assert round_rows(num_rows + 1) >= rounded


def test_all_kernels_of_two_numbers_of_threads_fit_in_what_onednn_keeps() -> None:
    sizes = {round_rows(num_rows) for num_rows in range(1, 1025)}
    assert len(sizes) == 112
    assert 2 * 4 * len(sizes) <= 1024  # numbers of threads, products of a layer, what oneDNN keeps
    assert {33, 34, 63, 64} & sizes == {34, 64}
