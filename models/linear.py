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

# An activation of 1.0 in units of the int8 product: tokens are divided by their largest magnitude first.
_TOKEN_SCALE: Final = 1.0 / 127.0
# oneDNN's fast kernels take unsigned activations; its signed ones were a thousand times slower.
_ZERO_POINT: Final = 128
# Keeps the factor of a token of zeros finite; any magnitude of a real one is far above it.
_TINY: Final = 1e-30
_FULL_RANGE: Final = 127
# Without VNNI, CPUs add two products u8 * s8 in 16 bits, which saturate: 2 * 255 * 127 > 32767, and
# 2 * 255 * 63 is below. Source: oneDNN developer guide, "Nuances of int8 computations".
_REDUCED_RANGE: Final = 63


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


def quantize_weight(weight: Tensor, *, reduce_range: bool) -> Int8Weight:
    """Round a float32 weight ``[N, K]`` to int8, a scale an output.

    ``reduce_range``: use seven bits, for CPUs that saturate with eight.
    """
    largest = _REDUCED_RANGE if reduce_range else _FULL_RANGE
    scales = (weight.abs().amax(dim=1) / largest).clamp_min_(_TINY)
    rounded = (weight / scales[:, None]).round_().to(torch.int8)
    return Int8Weight(packed=torch.ops.onednn.qlinear_prepack(rounded, None), scales=scales)


def quantize_tokens(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Round float32 ``[T, K]``: ``rows = (quantized - 128) / 127 * magnitudes``, nearly.

    Returns uint8 ``[T, K]`` and the magnitudes, float32 ``[T, 1]``.
    """
    magnitudes = rows.abs().amax(dim=1, keepdim=True).clamp_min_(_TINY)
    scaled = rows * (_FULL_RANGE / magnitudes)
    return scaled.round_().add_(_ZERO_POINT).to(torch.uint8), magnitudes


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
        quantized, magnitudes = quantize_tokens(rows)
        output = _multiply(quantized, self.weight, self._zero_points)
        torch.addcmul(self.bias, output, magnitudes, out=output)
        return functional.gelu(output) if self._gelu else output


def _multiply(quantized: Tensor, weight: Int8Weight, zero_points: Tensor) -> Tensor:
    output: Tensor = torch.ops.onednn.qlinear_pointwise(
        quantized,
        _TOKEN_SCALE,
        _ZERO_POINT,
        weight.packed,
        weight.scales,
        zero_points,
        None,  # the bias comes after the token's magnitude
        1.0,
        0,
        torch.float32,
        "none",
        [],
        "",
    )
    return output


def saturates() -> bool:
    """Whether int8 products go wrong on this CPU with eight-bit weights; asked by multiplying.

    Asking the kernel is surer than reading the CPU's flags: which kernel runs is oneDNN's choice.
    """
    num_inputs, num_outputs, num_rows = 64, 64, 32
    scales, zeros = torch.ones(num_outputs), torch.zeros(num_outputs, dtype=torch.int64)
    largest = torch.full((num_outputs, num_inputs), _FULL_RANGE, dtype=torch.int8)
    weight = Int8Weight(packed=torch.ops.onednn.qlinear_prepack(largest, None), scales=scales)
    rows = torch.full((num_rows, num_inputs), 255, dtype=torch.uint8)
    output = _multiply(rows, weight, zeros)
    expected = num_inputs * _FULL_RANGE * (255 - _ZERO_POINT) * _TOKEN_SCALE
    return bool((output - expected).abs().max() > expected * 1e-3)
