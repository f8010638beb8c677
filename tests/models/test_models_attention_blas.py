"""Attention by numpy's BLAS: against its formula in double precision, and its bits in any company."""

from __future__ import annotations

import platform
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from models import attention_blas
from models.attention_blas import BlasAttention, blas_pays
from models.encoder import Rows, sdpa_attention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUM_HEADS, HEAD_SIZE = 12, 64
# Both sides of where torch's kernel ends and where a sequence is cut by heads, alone, alike and in any order.
LENGTHS = {
    "one": [33],
    "a single token": [1],
    "shorter than BLAS is asked for": [2, 13, 13, 5],
    "by torch and by BLAS": [13, 14, 15],
    "equal, side by side": [20, 20, 20, 20, 20, 20, 20],
    "equal, apart": [20, 31, 20],
    "all heads at once, and cut by heads": [64, 65, 100, 225, 226],
    "one head at a time": [300, 512],
    "none between two": [17, 0, 18],
}


@pytest.fixture
def attention() -> BlasAttention:
    return BlasAttention(num_heads=NUM_HEADS)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def states_of(
    lengths: list[int], dtype: torch.dtype = torch.float32, *, spare: int = 0
) -> tuple[Tensor, ...]:
    """Queries, keys and values as a layer hands them over: views of one product."""
    generator = torch.Generator().manual_seed(sum(lengths))
    joined = torch.randn(sum(lengths) + spare, 3, NUM_HEADS, HEAD_SIZE, generator=generator)
    return joined.to(dtype).unbind(1)


def bounds_of(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)


def attended(attention: BlasAttention, lengths: list[int], states: tuple[Tensor, ...]) -> Tensor:
    return attention(bounds_of(lengths), max(lengths))(*states)


def formula(lengths: list[int], states: tuple[Tensor, ...]) -> Tensor:
    mixed = []
    for start, end in pairwise(bounds_of(lengths).tolist()):
        query, key, value = (part[start:end].double().transpose(0, 1) for part in states)
        weights = (query @ key.transpose(1, 2) / HEAD_SIZE**0.5).softmax(dim=-1)
        mixed.append((weights @ value).transpose(0, 1))
    return torch.cat(mixed)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-6), (torch.bfloat16, 0.02)])
def test_each_sequence_sees_itself_alone(
    attention: BlasAttention, lengths: list[int], dtype: torch.dtype, bound: float
) -> None:
    states = states_of(lengths, dtype)
    given = [part.clone() for part in states]
    output = attended(attention, lengths, states)
    assert output.dtype is dtype
    assert output.shape == states[0].shape
    assert (output.double() - formula(lengths, states)).abs().max() < bound
    assert all(torch.equal(part, before) for part, before in zip(states, given, strict=True))


def test_scores_beyond_what_exp_holds_are_no_trouble(attention: BlasAttention) -> None:
    states = tuple(100 * part for part in states_of([40]))
    assert (attended(attention, [40], states).double() - formula([40], states)).abs().max() < 0.05


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_company_leaves_every_bit_alone(attention: BlasAttention, lengths: list[int]) -> None:
    states = states_of(lengths)
    together = attended(attention, lengths, states)
    for start, end in pairwise(bounds_of(lengths).tolist()):
        if end > start:
            alone = attended(attention, [end - start], tuple(part[start:end] for part in states))
            assert torch.equal(together[start:end], alone), f"{end - start} tokens from {start}"


@pytest.mark.usefixtures("two_threads")
def test_several_threads_give_the_bits_of_one(
    attention: BlasAttention, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [5, 20, 20, 47, 90, 130, 225, 300]
    states = states_of(lengths)
    shared = attended(attention, lengths, states)
    assert torch.get_num_threads() == 2
    monkeypatch.setattr(attention_blas, "_MOST_HELPERS", 0)
    assert torch.equal(attended(attention, lengths, states), shared)


@pytest.mark.usefixtures("two_threads")
def test_what_fails_beside_is_raised(attention: BlasAttention, monkeypatch: pytest.MonkeyPatch) -> None:
    has_failed = threading.Event()

    def fails_beside(piece: object, states: object, scratch: object) -> None:
        del piece, states, scratch
        if torch.get_num_threads() == 1:
            has_failed.set()
            raise MemoryError("no room for scores")
        has_failed.wait(timeout=30)  # leaves a piece to the other thread

    monkeypatch.setattr(attention_blas, "_attend_by_blas", fails_beside)
    with pytest.raises(MemoryError, match="no room for scores"):
        attended(attention, [300, 300], states_of([300, 300]))
    assert torch.get_num_threads() == 2


def test_a_pool_goes_on_for_who_has_it_when_a_larger_one_is_wanted() -> None:
    before = torch.get_num_threads()
    helpers = attention_blas._Helpers()
    smaller = helpers.pool(1)
    larger = helpers.pool(2)
    assert larger is not smaller
    assert helpers.pool(1) is larger
    assert [smaller.submit(torch.get_num_threads).result(timeout=30) for _ in range(2)] == [1, 1]
    assert torch.get_num_threads() == before


def test_rows_that_round_a_batch_up_become_zeros(attention: BlasAttention) -> None:
    states = states_of([17, 30], spare=5)
    output = attention(bounds_of([17, 30]), 30)(*states)
    assert not output[47:].any()
    assert (output[:47].double() - formula([17, 30], states)).abs().max() < 2e-6


def test_first_tokens_alone_attend_as_by_torch(attention: BlasAttention) -> None:
    query, key, value = states_of([17, 30])
    firsts = query[[0, 17]]
    wanted = sdpa_attention(bounds_of([17, 30]), 30, Rows.FIRST)(firsts, key, value)
    assert torch.equal(attention(bounds_of([17, 30]), 30, Rows.FIRST)(firsts, key, value), wanted)


def test_numpy_is_left_with_one_thread(attention: BlasAttention) -> None:
    del attention
    assert {one.num_threads for one in attention_blas._openblas().lib_controllers} <= {1}


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "pays"),
    [
        ("processor\t: 0\nvendor_id\t: AuthenticAMD\n", "x86_64", True),
        ("processor\t: 0\nvendor_id\t: GenuineIntel\n", "x86_64", False),
        ("processor\t: 0\nBogoMIPS\t: 50\n", "x86_64", False),
        ("processor\t: 0\nvendor_id\t: AuthenticAMD\n", "aarch64", False),
    ],
    ids=["AMD", "Intel", "no vendor", "another architecture"],
)
def test_where_it_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str, machine: str, *, pays: bool
) -> None:
    if not attention_blas._openblas().lib_controllers:
        pytest.skip("numpy has another BLAS than OpenBLAS here")
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo, encoding="utf-8")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert blas_pays(cpuinfo=file) is pays


def test_where_nothing_tells_the_maker_it_does_not_pay(tmp_path: Path) -> None:
    assert not blas_pays(cpuinfo=tmp_path / "none")


def test_without_openblas_it_does_not_pay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("vendor_id : AuthenticAMD\n", encoding="utf-8")
    nothing = attention_blas._openblas().select(internal_api="none")
    monkeypatch.setattr(attention_blas, "_openblas", lambda: nothing)
    assert not blas_pays(cpuinfo=file)
