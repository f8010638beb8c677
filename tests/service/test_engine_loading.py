"""Variants on the real device: their form, their parity, what they share, how many threads they get."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import structlog
import torch

from models.checkpoint import Form, build_model
from models.fused import best_form
from models.linear import EIGHT_BITS, WITHOUT_VNNI
from models.tokenizer import Tokenizer
from models.variant import load_catalogue
from service.batching.packing import pack
from service.domain import Lane
from service.engine import loading
from service.engine.device import Crew, Loaded
from service.engine.sharing import tell_sharing
from service.engine.torch_device import DeviceOptions, TorchDevice
from service.errors import StartupError
from tests.service.backend_world import SHAPE, card

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DTYPES = ["float32", "bfloat16", "int8"]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def load(catalogue: Path, num: int | None = None, **options: Any) -> tuple[TorchDevice, tuple[Loaded, ...]]:
    chosen: dict[str, Any] = {"name": "cpu", "num_threads": 1} | options
    device = TorchDevice(load_catalogue(catalogue)[:num], DeviceOptions(**chosen))
    return device, tell_sharing(device.load())


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_variant_tells_how_far_from_float32_it_is(mini_catalogue: Path, dtype: str) -> None:
    _, variants = load(mini_catalogue, dtype=dtype)
    for loaded in variants:
        assert loaded.card.dtype == loaded.shape.dtype == dtype
        parity = loaded.card.parity
        assert parity is not None
        assert parity.num_answers >= 16
        assert parity.batch_error < 1e-5
        if dtype == "float32":
            assert parity.max_error < 1e-4
            assert parity.agreement == 1.0
        else:
            assert 1e-3 < parity.max_error < 0.25
            assert 1e-3 < parity.mean_error < 0.25
            assert parity.agreement > 0.8


def test_the_form_is_the_fastest_of_the_device(mini_catalogue: Path) -> None:
    device, _ = load(mini_catalogue, 1)
    (model,) = device._models.values()
    wanted = best_form(torch.device("cpu"), torch.float32)
    assert wanted is not Form.STORED
    assert type(model.encoder.layers[0]).__name__ == "FusedLayer"


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"max_parity_error": 1e-6}, r"'classify' in int8 is too far.*--max-parity-error 1e-06"),
        ({"min_parity_agreement": 1.01}, r"--min-parity-agreement 1\.01.*wider dtype"),
    ],
)
def test_a_variant_past_its_bounds_is_refused_in_one_line(
    mini_catalogue: Path, bounds: dict[str, float], says: str
) -> None:
    with pytest.raises(StartupError, match=says) as caught:
        load(mini_catalogue, 1, dtype="int8", **bounds)
    assert "\n" not in str(caught.value)


def test_weights_that_are_no_numbers_are_refused(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*args: Any, **how: Any) -> Any:
        model = build_model(*args, **how)
        if how["form"] is not Form.STORED:
            model.encoder.embeddings.norm.bias.data = torch.full((256,), torch.nan)
        return model

    monkeypatch.setattr(loading, "build_model", damaged)
    with pytest.raises(StartupError, match="too far from float32: its logits differ by inf"):
        load(mini_catalogue, 1)


def test_two_variants_of_one_checkpoint_share_all_and_own_nothing(mini_catalogue: Path) -> None:
    _, variants = load(mini_catalogue)
    cards = {loaded.card.name: loaded.card for loaded in variants}
    for name in ("embed", "low"):
        assert cards[name].owned_bytes == 0
        assert cards[name].shared_bytes > 10 * 2**20
    # The rest have another seed each; zeros and ones are alike everywhere.
    assert cards["tag"].owned_bytes > 10 * 2**20
    assert 0 < cards["tag"].shared_bytes < 2**20


def test_sharing_by_hand() -> None:
    def loaded(name: str, **held: int) -> Loaded:
        return Loaded(card=card(name), shape=SHAPE, padding_idx=1, held_bytes=held)

    told = tell_sharing([loaded("a", x=100, y=7), loaded("b", x=100, z=9), loaded("c", q=1), loaded("d")])
    counted = {variant.card.name: (variant.card.owned_bytes, variant.card.shared_bytes) for variant in told}
    # "d" says nothing of what it holds, and keeps its card.
    assert counted == {"a": (7, 100), "b": (9, 100), "c": (1, 0), "d": (100, 0)}


def test_threads_are_measured_and_told(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr("service.engine.torch_device.usable_cores", lambda: 2)
    with structlog.testing.capture_logs() as logs:
        load(mini_catalogue, 2, num_threads=None)
    (chosen,) = [line for line in logs if line["event"] == "threads_chosen"]
    assert chosen["threads"] == torch.get_num_threads()
    assert set(chosen["milliseconds"]) == {"1", "2"}


def test_given_threads_are_not_measured(mini_catalogue: Path, threads: None) -> None:
    with structlog.testing.capture_logs() as logs:
        load(mini_catalogue, 1, num_threads=2)
    assert torch.get_num_threads() == 2
    assert "threads_chosen" not in {line["event"] for line in logs}


def test_a_dtype_that_the_cpu_emulates_is_warned_of_once(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "multiplies_natively", lambda dtype: dtype is not torch.bfloat16)
    with structlog.testing.capture_logs() as logs:
        load(mini_catalogue, 3, dtype="bfloat16")
    (warned,) = [line for line in logs if line["log_level"] == "warning"]
    assert warned["event"] == "dtype_is_emulated"
    assert warned["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("patch", "dtype", "says"),
    [
        (("levels_here", EIGHT_BITS), "int8", []),
        (("levels_here", WITHOUT_VNNI), "int8", ["int8_has_fewer_levels"]),
        (("levels_here", WITHOUT_VNNI), "float32", []),
        (("best_form", Form.JOINED), "float32", ["weights_not_packed"]),
    ],
)
def test_what_this_cpu_does_worse_than_others_is_warned_of(
    mini_catalogue: Path,
    monkeypatch: pytest.MonkeyPatch,
    patch: tuple[str, object],
    dtype: str,
    says: list[str],
) -> None:
    monkeypatch.setattr(loading, patch[0], lambda *_: patch[1])
    with structlog.testing.capture_logs() as logs:
        load(mini_catalogue, 2, dtype=dtype)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == says


def test_variants_with_the_same_tokenizer_read_it_once(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    from_bytes = Tokenizer.from_bytes

    def counted(content: bytes, *, source: str) -> Tokenizer:
        read.append(source)
        return from_bytes(content, source=source)

    monkeypatch.setattr(Tokenizer, "from_bytes", counted)
    load(mini_catalogue)
    assert len(load_catalogue(mini_catalogue)) > len(read) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_company_changes_no_bit_of_an_answer(mini_catalogue: Path, dtype: str) -> None:
    device, variants = load(mini_catalogue, 1, dtype=dtype)
    rng = np.random.default_rng(1)
    sequences = [rng.integers(4, 500, length).astype(np.int32) for length in (1, 7, 130, 2, 64, 7)]
    lane, padding_idx = Lane(variant=variants[0].card.name), variants[0].padding_idx
    together = device.forward(lane, pack(sequences, padding_idx=padding_idx))
    for row, ids in zip(together, sequences, strict=True):
        assert np.array_equal(row, device.forward(lane, pack([ids], padding_idx=padding_idx))[0])


def test_a_catalogue_may_mix_dtypes(mini_catalogue: Path, tmp_path: Path) -> None:
    tables = [
        replace(variant, name=f"{variant.name}-{dtype}", dtype=dtype)
        for variant in load_catalogue(mini_catalogue)[:2]
        for dtype in DTYPES
    ]
    device = TorchDevice(tuple(tables), DeviceOptions(name="cpu", num_threads=1))
    cards = [loaded.card for loaded in tell_sharing(device.load())]
    assert [one.dtype for one in cards] == DTYPES * 2
    # The embeddings, mapped from the file, are the same for the three.
    assert all(one.shared_bytes > 0 for one in cards)
    json.dumps([one.owned_bytes for one in cards])


@pytest.mark.parametrize("dtype", DTYPES)
def test_replicas_answer_at_once_with_the_bits_of_the_whole_device(
    mini_catalogue: Path, dtype: str, threads: None
) -> None:
    device, variants = load(mini_catalogue, 1, dtype=dtype, num_threads=2, num_replicas=2)
    assert device.crew() == Crew(num_threads=2, side_by_side=True)
    rng = np.random.default_rng(2)
    sequences = [rng.integers(4, 500, length).astype(np.int32) for length in (1, 9, 70, 33)]
    lane = Lane(variant=variants[0].card.name)
    batch = pack(sequences, padding_idx=variants[0].padding_idx)
    wanted = device.forward(lane, batch)
    with ThreadPoolExecutor(2) as pool:
        seen = [pool.submit(device.forward_beside, lane, batch) for _ in range(6)]
        assert all(np.array_equal(one.result(), wanted) for one in seen)


def test_replicas_share_the_cores_and_are_measured_and_told(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr("service.engine.torch_device.usable_cores", lambda: 2)
    with structlog.testing.capture_logs() as logs:
        device, _ = load(mini_catalogue, 2, num_threads=None)
    (chosen,) = [line for line in logs if line["event"] == "replicas_chosen"]
    assert set(chosen["batches_per_s"]) == {"1", "2"}
    assert device.crew().num_threads == chosen["replicas"]


def test_given_replicas_are_not_measured(mini_catalogue: Path, threads: None) -> None:
    with structlog.testing.capture_logs() as logs:
        device, _ = load(mini_catalogue, 1, num_threads=2, num_replicas=2)
    assert not {"threads_chosen", "replicas_chosen"} & {line["event"] for line in logs}
    batch = pack([np.array([0, 5, 2], dtype=np.int32)], padding_idx=1)
    counts = {}
    for run in (device.forward, device.forward_beside):
        run(Lane(variant="classify"), batch)
        counts[run.__name__] = torch.get_num_threads()
    assert counts == {"forward": 2, "forward_beside": 1}
