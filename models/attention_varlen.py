"""Attention over packed tokens by torch's variable-length kernels, on CUDA.

Rules: the wrapper passes only what every release takes (its keyword arguments changed with each);
whether it can be used is asked of the device by a small computation, and where it cannot, the
reason is a sentence and torch's scaled dot product stands in.

Axes: T tokens, D a head's width.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from models.encoder import Rows, sdpa_attention

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from models.encoder import Attend, Attention

_HALF: Final = (torch.bfloat16, torch.float16)
# Queries, keys, values, where sequences start for queries and for keys, and the longest of both.
_NUM_ARGUMENTS: Final = 7
# One rounding step of bfloat16 on numbers of size 1, and room for another order of adding.
_TOLERANCE: Final = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionChoice:
    """Which attention a device gets; ``why_not_varlen`` is None where it is the variable-length one.

    ``graphable``: whether it asks nothing of the host, so that a CUDA graph can hold it.
    """

    attention: Attention
    why_not_varlen: str | None

    @property
    def graphable(self) -> bool:
        """Whether a CUDA graph can hold it."""
        return self.why_not_varlen is None


def choose_attention(device: torch.device, dtype: torch.dtype, *, head_size: int) -> AttentionChoice:
    """Return the fastest attention that this device computes correctly. ``head_size``: D."""
    reason = _why_not_for(device, dtype) or _why_not_here(device, dtype, head_size)
    return AttentionChoice(attention=sdpa_attention if reason else varlen_attention, why_not_varlen=reason)


def varlen_attention(cu_seqlens: Tensor, max_seqlen: int, rows: Rows = Rows.ALL) -> Attend:
    """Attend within each sequence, all sequences in one kernel; float16 or bfloat16 on CUDA.

    Sequences of length zero are allowed among whole ones, and tokens behind the last one are left undefined.
    """
    kernel = _kernel()
    assert kernel is not None, "Variable-length attention was chosen where there is none. This is a bug."
    bounds = cu_seqlens.to(torch.int32)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mixed: Tensor = kernel(query, key, value, bounds, bounds, max_seqlen, max_seqlen)
        return mixed

    def attend_from_first(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # In the places of whole queries, so that the kernel is asked only for what it was tried with: one
        # query a sequence is a case of its own there, which may split keys by how many sequences there are.
        firsts = bounds[:-1].long()
        placed = torch.zeros_like(key).index_copy_(0, firsts, query)
        return attend(placed, key, value).index_select(0, firsts)

    return attend if rows is Rows.ALL else attend_from_first


def _kernel() -> Callable[..., Any] | None:
    try:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - older releases have none
    except ImportError:
        return None
    return varlen_attn


def _why_not_for(device: torch.device, dtype: torch.dtype) -> str | None:
    if device.type != "cuda":
        return f"its kernels are for CUDA, and this is {device.type}"
    if dtype not in _HALF:
        return f"its kernels take bfloat16 and float16, and this is {str(dtype).removeprefix('torch.')}"
    kernel = _kernel()
    if kernel is None:
        return f"torch {torch.__version__} has no torch.nn.attention.varlen"
    if not takes_what_is_passed(kernel):
        return f"torch {torch.__version__} changed its signature to {inspect.signature(kernel)}"
    return None


def _why_not_here(device: torch.device, dtype: torch.dtype, head_size: int) -> str | None:
    try:
        error = _probe(device, dtype, head_size)
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as failure:
        first_line = (str(failure).splitlines() or [type(failure).__name__])[0]
        return f"it failed on {torch.cuda.get_device_name(device)}: {first_line}"
    if not error < _TOLERANCE:
        return f"it differed by {error:.3g} from the plain formula on {torch.cuda.get_device_name(device)}"
    return None


def takes_what_is_passed(kernel: Callable[..., Any]) -> bool:
    """Whether a function can be called with the seven positional arguments, and nothing else."""
    try:
        inspect.signature(kernel).bind(*range(_NUM_ARGUMENTS))
    except TypeError:
        return False
    return True


@torch.inference_mode()
def _probe(device: torch.device, dtype: torch.dtype, head_size: int) -> float:
    """Return the largest difference from the plain formula on two sequences and an empty one."""
    lengths = (5, 0, 19)
    bounds = torch.tensor([0, 5, 5, 24], dtype=torch.int32, device=device)
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(sum(lengths), 2, head_size, generator=generator) for _ in range(3)]
    given = [state.to(device, dtype) for state in states]
    ours = varlen_attention(bounds, max(lengths))(given[0], given[1], given[2]).float().cpu()
    filled = bounds[[0, 1, 3]].cpu()
    plain = [state.to(dtype).float() for state in states]
    wanted = sdpa_attention(filled, max(lengths))(plain[0], plain[1], plain[2])
    return float((ours - wanted).abs().max())
