"""Linear layers in the forms that a CPU multiplies fastest: oneDNN's own layout, and int8.

Rules: what a row gives depends on that row alone, never on the rows beside it. In int8 that
holds to the bit by construction: sums of integers have no order, and every token is scaled by
its own largest magnitude, since one scale a batch would let a token change its neighbours'
answers. In floating point it holds to the bit where oneDNN's kernels add in one order
whatever the number of rows; the tests ask it of each CPU that they run on.

Axes: T tokens, K inputs, N outputs.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

# Keeps the factor of a token of zeros finite; any magnitude of a real one is far above it.
_TINY: Final = 1e-30
# The first digits, in binary, of a number of rows that are kept when it is rounded up.
_ROW_BITS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Into how many steps numbers are rounded on each side of zero."""

    token: int
    weight: int

    @property
    def zero_point(self) -> int:
        """Where a token's zero lies: oneDNN takes unsigned ones, and signed ones slowly where at all."""
        return self.token + 1


EIGHT_BITS: Final = Levels(token=127, weight=127)
# Without VNNI, CPUs add two products u8 * s8 in 16 bits, which saturate at 32767. Of the pairs of levels that
# cannot, 2 * (90 + 91) * 90 = 32580, this one loses least: 1.4 times the error of eight bits each.
# Source: oneDNN developer guide, "Nuances of int8 computations"; the test multiplies the worst case.
WITHOUT_VNNI: Final = Levels(token=90, weight=90)


def has_onednn() -> bool:
    """Whether this build of torch has oneDNN, which both forms need."""
    return torch.backends.mkldnn.is_available()  # type: ignore[no-any-return,no-untyped-call]  # torch's gap


def multiplies_natively(dtype: torch.dtype) -> bool:
    """Whether the CPU has instructions for products of bfloat16 or float16; of others it is True."""
    onednn, cpu = torch.ops.mkldnn, torch.cpu
    match dtype:
        case torch.bfloat16 if platform.machine() in ("x86_64", "AMD64"):
            # oneDNN says yes to all of AVX-512, where it may emulate.
            return cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()  # noqa: SLF001 - torch names it so
        case torch.bfloat16:
            return bool(onednn._is_mkldnn_bf16_supported())  # noqa: SLF001 - torch names it so
        case torch.float16:
            return bool(onednn._is_mkldnn_fp16_supported())  # noqa: SLF001 - torch names it so
        case _:
            return True


def packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies a dtype here; asked by multiplying."""
    if not has_onednn():
        return False
    try:
        PackedLinear(pack(torch.ones(16, 16, dtype=dtype)), torch.ones(16, dtype=dtype))(
            torch.ones(2, 16, dtype=dtype)
        )
    except RuntimeError:
        return False
    return True


def round_rows(num_rows: int) -> int:
    """Return the number of rows, at least as many, for which oneDNN shall have a kernel.

    It makes one for each number of rows that it meets, which takes 2 to 3 ms for the four products of a layer
    at base size and 1.4 to 2 MiB that stay, and keeps 1,024 kernels. With 16 sizes an octave, 112 up to 1,024
    rows, all of them fit, for two per cent more rows in the mean and six at most.
    """
    step: int = 1 << max(0, (num_rows - 1).bit_length() - _ROW_BITS)
    return -(-num_rows // step) * step


def round_few_rows(num_rows: int) -> int:
    """Return the number of rows, at least as many, where rows are sequences: a power of two, at least two.

    There are ten up to 1,024 sequences, most of which ``round_rows`` gives too. Up to as many rows more as
    there were: a layer's products on them are less than one in a hundred of a batch's.
    """
    return max(2, 1 << (num_rows - 1).bit_length())


def pack(weight: Tensor) -> Tensor:
    """Bring a weight ``[N, K]`` into oneDNN's layout, once instead of at every product; a copy."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())  # noqa: SLF001 - torch names it so
    return packed


class PackedLinear(nn.Module):
    """``x @ weight.T + bias``, then GELU if asked, in float32 or bfloat16."""

    def __init__(self, weight: Tensor, bias: Tensor, *, gelu: bool = False) -> None:
        """``weight``: from ``pack``, for ``[N, K]``. ``bias``: ``[N]``, in the weight's dtype."""
        super().__init__()
        self.weight = weight
        self.bias = bias
        # "none" is the exact GELU with erf; XLM-R was trained with it and tanh's drifts.
        self._activation: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")

    def forward(self, rows: Tensor) -> Tensor:
        """``[T, K]`` into ``[T, N]``."""
        # One row alone would be a product with a vector, which oneDNN adds in another order.
        given = rows.expand(2, -1) if len(rows) == 1 else rows
        output: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - torch names it so
            given, self.weight, self.bias, *self._activation
        )
        return output[: len(rows)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Weight:
    """A weight in int8. ``packed``: oneDNN's layout of ``[N, K]``. ``scales``: float32 ``[N]``."""

    packed: Tensor
    scales: Tensor
    levels: Levels


def quantize_weight(weight: Tensor, levels: Levels) -> Int8Weight:
    """Round a float32 weight ``[N, K]`` to int8, a scale an output."""
    scales = (weight.abs().amax(dim=1) / levels.weight).clamp_min_(_TINY)
    rounded = (weight / scales[:, None]).round_().to(torch.int8)
    return Int8Weight(packed=torch.ops.onednn.qlinear_prepack(rounded, None), scales=scales, levels=levels)


def quantize_tokens(rows: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
    """Round float32 ``[T, K]``: ``rows = (quantized - zero_point) / levels.token * magnitudes``, nearly.

    Returns uint8 ``[T, K]`` and the magnitudes, float32 ``[T, 1]``.
    """
    magnitudes = rows.abs().amax(dim=1, keepdim=True).clamp_min_(_TINY)
    scaled = rows * (levels.token / magnitudes)
    return scaled.round_().add_(levels.zero_point).to(torch.uint8), magnitudes


class Int8Linear(nn.Module):
    """``x @ weight.T + bias``, then GELU if asked: float32 in and out, int8 in between."""

    def __init__(self, weight: Int8Weight, bias: Tensor, *, gelu: bool = False) -> None:
        """``bias``: float32 ``[N]``."""
        super().__init__()
        self.weight = weight
        self.bias = bias
        self._zero_points = torch.zeros(len(bias), dtype=torch.int64)
        self._gelu = gelu

    def forward(self, rows: Tensor) -> Tensor:
        """Float32 ``[T, K]`` into ``[T, N]``."""
        quantized, magnitudes = quantize_tokens(rows, self.weight.levels)
        output = _multiply(quantized, self.weight, self._zero_points)
        torch.addcmul(self.bias, output, magnitudes, out=output)
        return functional.gelu(output) if self._gelu else output


def _multiply(quantized: Tensor, weight: Int8Weight, zero_points: Tensor) -> Tensor:
    output: Tensor = torch.ops.onednn.qlinear_pointwise(
        quantized,
        1.0 / weight.levels.token,  # a token's largest number is 1 here, and its magnitude comes after
        weight.levels.zero_point,
        weight.packed,
        weight.scales,
        zero_points,
        None,  # the bias comes after the magnitude
        1.0,
        0,
        torch.float32,
        "none",
        [],
        "",
    )
    return output


def levels_here() -> Levels:
    """Return the finest levels with which int8 products are right on this CPU; asked by multiplying.

    Asking the kernel is surer than reading the CPU's flags: which kernel runs is oneDNN's choice.
    """
    num_inputs, num_outputs, num_rows = 64, 64, 32
    worst = quantize_weight(torch.ones(num_outputs, num_inputs), EIGHT_BITS)
    rows = torch.full((num_rows, num_inputs), 2 * EIGHT_BITS.token + 1, dtype=torch.uint8)
    output = _multiply(rows, worst, torch.zeros(num_outputs, dtype=torch.int64))
    is_right = bool((output - num_inputs).abs().max() < 1e-3 * num_inputs)
    return EIGHT_BITS if is_right else WITHOUT_VNNI
