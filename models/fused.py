"""The encoder's layers as they run fastest: fewer, larger products, in the device's own layout.

Rules: the same mathematics as ``encoder.py``, whose layers stay the reference; query, key and
value are one product; what a token gives depends on its own sequence alone.

Axes: T tokens, R rows that ask, H hidden, D a head's width.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.linear import Int8Linear, PackedLinear, levels_here, packs, round_few_rows, round_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import XLMRobertaConfig

    from models.encoder import Attend, Encoder
    from models.heads import Head
    from models.store import Source

# In int8 half of the time goes to elementwise steps between products; so many tokens a thread keep
# what they write within a core's cache. At base size on one thread of an EPYC 9005, 2048 tokens: 303 GFLOP/s
# whole, 445 by 64 tokens, 473 to 477 by 128 to 512. In float32 and bfloat16 whole was the fastest.
_INT8_BLOCK_TOKENS: Final = 256


class Form(StrEnum):
    """How a model's weights are held."""

    STORED = "stored"  # each as in the checkpoint; on the CPU mapped from its file
    JOINED = "joined"  # query, key and value as one matrix, else plain
    PACKED = "packed"  # joined, in oneDNN's layout
    INT8 = "int8"  # joined, in int8; all but the layers' linear maps in float32


def best_form(device: torch.device, dtype: torch.dtype) -> Form:
    """Return the form in which a device runs a dtype fastest."""
    if dtype is torch.int8:
        return Form.INT8
    return Form.PACKED if device.type == "cpu" and packs(dtype) else Form.JOINED


class JoinedLinear(nn.Module):
    """``x @ weight.T + bias``, then GELU if asked, by torch's own kernels."""

    def __init__(self, weight: Tensor, bias: Tensor, *, gelu: bool = False) -> None:
        super().__init__()
        self.weight = weight
        self.bias = bias
        self._gelu = gelu

    def forward(self, rows: Tensor) -> Tensor:
        """``[T, K]`` into ``[T, N]``."""
        output = functional.linear(rows, self.weight, self.bias)
        # The exact GELU with erf; XLM-R was trained with it and tanh's drifts.
        return functional.gelu(output) if self._gelu else output


class LinearMaker:
    """Makes linear maps of one form from one checkpoint."""

    def __init__(self, source: Source, form: Form) -> None:
        self.source = source
        self.form = form
        self._levels = levels_here() if form is Form.INT8 else None

    def __call__(self, *modules: str, gelu: bool = False) -> nn.Module:
        """Return one linear map of several below each other."""
        weights = [f"{module}.weight" for module in modules]
        bias = self.source.plain(*(f"{module}.bias" for module in modules))
        match self.form:
            case Form.INT8:
                assert self._levels is not None, "Int8 without levels. This is a bug."
                weight = self.source.int8(*weights, levels=self._levels)
                return Int8Linear(weight, bias, gelu=gelu)
            case Form.PACKED:
                return PackedLinear(self.source.packed(*weights), bias, gelu=gelu)
            case Form.JOINED | Form.STORED:
                return JoinedLinear(self.source.plain(*weights), bias, gelu=gelu)
            case _:
                assert_never(self.form)


class FusedLayer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, config: XLMRobertaConfig, prefix: str, linear: LinearMaker) -> None:
        """``prefix``: of the layer's weights in the source, with the dot."""
        super().__init__()
        source = linear.source
        self.num_heads = config.num_attention_heads
        self.project = linear(f"{prefix}query", f"{prefix}key", f"{prefix}value")
        self.mix = linear(f"{prefix}mix")
        self.mix_norm = _norm(config, f"{prefix}mix_norm", source)
        self.widen = linear(f"{prefix}widen", gelu=True)
        self.narrow = linear(f"{prefix}narrow")
        self.norm = _norm(config, f"{prefix}norm", source)
        self._in_blocks = linear.form is Form.INT8

    def forward(self, hidden: Tensor, attend: Attend, rows: Tensor | None = None) -> Tensor:
        """``[T, H]`` into ``[T, H]``, or into ``[R, H]`` where only ``rows``, int ``[R]``, are asked for."""
        projected = self._by_block(self.project, hidden)
        query, key, value = projected.view(len(hidden), 3, self.num_heads, -1).unbind(1)
        if rows is not None:
            # Queries of the other rows were computed for nothing: without them there would be two products.
            query, hidden = query.index_select(0, rows), hidden.index_select(0, rows)
        mixed = attend(query, key, value).flatten(1)
        return self._by_block(self._after_attention, mixed, hidden)

    def _after_attention(self, mixed: Tensor, hidden: Tensor) -> Tensor:
        attended = self.mix_norm(self.mix(mixed).add_(hidden))
        normed: Tensor = self.norm(self.narrow(self.widen(attended)).add_(attended))
        return normed

    def _by_block(self, work: Callable[..., Tensor], *given: Tensor) -> Tensor:
        """Do work that knows no neighbours, in blocks of tokens where that pays."""
        num_tokens = len(given[0])
        block = _INT8_BLOCK_TOKENS * torch.get_num_threads()
        if not self._in_blocks or num_tokens <= block:
            return work(*given)
        parts = zip(*(torch.split(states, block) for states in given), strict=True)
        return torch.cat([work(*part) for part in parts])


def fuse(encoder: Encoder, head: Head, config: XLMRobertaConfig, source: Source, form: Form) -> None:
    """Fill an encoder and a head, made without weights, in a form.

    Heads stay in floating point in every form: they are a thousandth of the work.
    """
    on_cpu = source.device.type == "cpu"
    for name in encoder.embeddings.state_dict():
        ours = f"encoder.embeddings.{name}"
        # A lookup reads few rows, and converting those is cheaper than a second table.
        tensor = source.as_stored(ours) if on_cpu and "norm" not in name else source.plain(ours)
        _assign(encoder.embeddings, name, tensor)
    linear = LinearMaker(source, form)
    if form in (Form.PACKED, Form.INT8):
        encoder.round_rows, encoder.round_first_rows = round_rows, round_few_rows
    encoder.layers = nn.ModuleList(
        FusedLayer(config, f"encoder.layers.{index}.", linear) for index in range(config.num_hidden_layers)
    )
    if form is Form.INT8:
        linear = LinearMaker(source, Form.PACKED)
    for name, module in list(head.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, child = name.rpartition(".")
            setattr(head.get_submodule(parent), child, linear(f"head.{name}"))


def _norm(config: XLMRobertaConfig, name: str, source: Source) -> nn.LayerNorm:
    with torch.device("meta"):
        norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
    for parameter in ("weight", "bias"):
        _assign(norm, parameter, source.plain(f"{name}.{parameter}"))
    return norm


def _assign(module: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, child = name.rpartition(".")
    module.get_submodule(path).register_parameter(child, nn.Parameter(tensor, requires_grad=False))
