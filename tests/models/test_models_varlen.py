"""Variable-length attention: when it is chosen, what is said otherwise, and on a GPU its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from models import attention_varlen
from models.attention_varlen import choose_attention, takes_what_is_passed, varlen_attention
from models.checkpoint import load_model
from models.encoder import Rows, sdpa_attention
from models.variant import HeadKind, Variant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "dtype", "says"),
    [
        ("cpu", torch.bfloat16, "for CUDA, and this is cpu"),
        ("cuda", torch.float32, "take bfloat16 and float16, and this is float32"),
    ],
)
def test_where_it_cannot_be_used_a_sentence_says_why(device: str, dtype: torch.dtype, says: str) -> None:
    choice = choose_attention(torch.device(device), dtype, head_size=64)
    assert choice.attention is sdpa_attention
    assert choice.why_not_varlen is not None
    assert says in choice.why_not_varlen
    assert not choice.graphable


def of_2_10(
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any,
    max_q: int,
    max_k: int,
    is_causal: Any = None,
    return_aux: Any = None,
) -> None: ...


def with_one_more(
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any,
    max_q: int,
    max_k: int,
    page_table: Any,
) -> None: ...


def by_keyword(query: Any, key: Any, value: Any, *, cu_seq_q: Any) -> None: ...


def test_signatures_of_several_releases_are_told_apart() -> None:
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - not in every release

    assert takes_what_is_passed(varlen_attn)
    assert takes_what_is_passed(of_2_10)
    assert not takes_what_is_passed(with_one_more)
    assert not takes_what_is_passed(by_keyword)


def test_a_release_without_it_or_with_another_signature_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_varlen, "_kernel", lambda: None)
    assert "has no torch.nn.attention.varlen" in str(
        choose_attention(CUDA, torch.bfloat16, head_size=64).why_not_varlen
    )
    monkeypatch.setattr(attention_varlen, "_kernel", lambda: by_keyword)
    assert "changed its signature" in str(choose_attention(CUDA, torch.bfloat16, head_size=64).why_not_varlen)


def on_cpu(query: Tensor, key: Tensor, value: Tensor, *bounds: Any) -> Tensor:
    """Compute what the kernel does, and leave what belongs to no sequence as it is."""
    starts = bounds[0].tolist()
    filled = torch.tensor(sorted(set(starts)))
    return sdpa_attention(filled, bounds[2])(query, key, value)


@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        (on_cpu, None),
        (lambda query, *_: query, "it differed by"),
        (lambda query, *_: query * torch.nan, "it differed by nan"),
    ],
)
def test_a_device_that_computes_something_else_is_found_out(
    kernel: Callable[..., Tensor], says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_varlen, "_kernel", lambda: kernel)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "a device")
    # The device of the computation is the CPU; that it is asked for CUDA alone is tested above.
    reason = attention_varlen._why_not_here(torch.device("cpu"), torch.bfloat16, 64)
    assert (reason is None) if says is None else (says in str(reason))


def test_first_tokens_ask_the_kernel_only_what_it_was_tried_with(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[torch.Size, Any]] = []

    def kernel(query: Tensor, key: Tensor, value: Tensor, *bounds: Any) -> Tensor:
        asked.append((query.shape, bounds[2:]))
        return on_cpu(query, key, value, *bounds)

    monkeypatch.setattr(attention_varlen, "_kernel", lambda: kernel)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(12, 2, 8, generator=generator) for _ in range(3))
    bounds = torch.tensor([0, 5, 6, 12], dtype=torch.int32)
    first = query[[0, 5, 6]]
    ours = varlen_attention(bounds, 6, Rows.FIRST)(first, key, value)
    assert asked == [(query.shape, (6, 6))]
    assert ours.shape == first.shape
    assert (ours - sdpa_attention(bounds, 6, Rows.FIRST)(first, key, value)).abs().max() < 1e-6


def test_a_device_that_has_no_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Tensor:
        raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.\nmore")

    monkeypatch.setattr(attention_varlen, "_kernel", lambda: refuse)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "an old one")
    reason = attention_varlen._why_not_here(torch.device("cpu"), torch.bfloat16, 64)
    assert reason == "it failed on an old one: FlashAttention only supports Ampere GPUs or newer."


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("lengths", [[7], [3, 1, 5, 2], [4, 4, 4], [512, 1, 130], [5, 0, 3]])
def test_on_a_gpu_each_sequence_sees_itself_alone(dtype: torch.dtype, lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(sum(lengths), 3, 64, generator=generator).to(dtype) for _ in range(3)]
    bounds = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)
    query, key, value = (state.to(CUDA) for state in states)
    ours = varlen_attention(bounds.to(CUDA), max(lengths))(query, key, value).float().cpu()
    filled = torch.tensor(sorted(set(bounds.tolist())))
    query, key, value = (state.float() for state in states)
    wanted = sdpa_attention(filled, max(lengths))(query, key, value)
    assert (ours - wanted).abs().max() < 0.02


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("kind", HeadKind)
def test_on_a_gpu_answers_are_near_float32_and_do_not_depend_on_batch_mates(
    kind: HeadKind,
    reference: Callable[[HeadKind], tuple[Path, Any]],
    sequences: list[list[int]],
    run: Callable[..., Tensor],
) -> None:
    variant = Variant(name="x", head=kind, checkpoint=str(reference(kind)[0]))
    model = load_model(variant, device="cuda", dtype=torch.bfloat16)
    model.encoder.attention = choose_attention(CUDA, torch.bfloat16, head_size=24).attention
    wanted = run(load_model(variant), sequences)
    together = run(model, sequences).cpu()
    assert (together - wanted).abs().max() < 0.05 * wanted.abs().max()
    alone = torch.cat([run(model, [sequence]) for sequence in sequences]).cpu()
    # Other numbers of rows may be added up in another order, which alone moves mini models by up to 0.019.
    assert (together - alone).abs().max() <= 2**-4 * alone.abs().max()
