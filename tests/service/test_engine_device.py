"""One contract, held by the fake device and by torch alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.variant import load_catalogue
from service.batching.packing import pack, unpack
from service.domain import Lane, Pooling
from service.engine.fake import FakeDevice
from service.engine.torch_device import DeviceOptions, TorchDevice
from service.errors import StartupError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from service.engine.device import Device, Loaded

HEADS = ["classify", "choose", "tag", "span", "embed"]


@pytest.fixture(scope="module")
def torch_device(mini_catalogue: Path) -> tuple[Device, dict[str, Loaded]]:
    device = TorchDevice(load_catalogue(mini_catalogue), DeviceOptions(name="cpu"))
    return device, {loaded.card.name: loaded for loaded in device.load()}


@pytest.fixture(scope="module", params=["fake", "torch"])
def device(
    request: pytest.FixtureRequest, torch_device: tuple[Device, dict[str, Loaded]]
) -> tuple[Device, dict[str, Loaded]]:
    if request.param == "torch":
        return torch_device
    cards = [loaded.card for loaded in torch_device[1].values()]
    fake = FakeDevice(variants=cards)
    return fake, {loaded.card.name: loaded for loaded in fake.load()}


def sequences() -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(0)
    return [rng.integers(4, 500, length).astype(np.int32) for length in (1, 7, 130, 2, 64)]


def lane_of(loaded: Loaded, **changed: object) -> Lane:
    pooling = Pooling.MEAN if loaded.card.head == "embed" else None
    return Lane(**({"variant": loaded.card.name, "pooling": pooling} | changed))  # type: ignore[arg-type]  # a table


def width(loaded: Loaded) -> int:
    card = loaded.card
    return {"classify": len(card.labels), "tag": len(card.labels), "choose": 1, "span": 2}.get(
        card.head, card.hidden_size
    )


@pytest.mark.parametrize("head", HEADS)
def test_what_comes_back_has_the_shape_that_the_head_promises(
    device: tuple[Device, dict[str, Loaded]], head: str
) -> None:
    runs, loaded = device[0], device[1][head]
    batch = pack(sequences(), padding_idx=loaded.padding_idx)
    output = runs.forward(lane_of(loaded), batch)
    rows = len(batch.input_ids) if head in ("tag", "span") else len(sequences())
    assert output.shape == (rows, width(loaded))
    assert output.dtype == np.float32


@pytest.mark.parametrize("head", HEADS)
def test_what_is_said_of_a_sequence_does_not_depend_on_its_batch_mates(
    device: tuple[Device, dict[str, Loaded]], head: str
) -> None:
    runs, loaded = device[0], device[1][head]
    per_token = head in ("tag", "span")
    together = pack(sequences(), padding_idx=loaded.padding_idx)
    parts = unpack(runs.forward(lane_of(loaded), together), together.cu_seqlens, per_token=per_token)
    largest = max(float(np.abs(part).max()) for part in parts)
    for ids, part in zip(sequences(), parts, strict=True):
        alone = pack([ids], padding_idx=loaded.padding_idx)
        (by_itself,) = unpack(runs.forward(lane_of(loaded), alone), alone.cu_seqlens, per_token=per_token)
        assert np.abs(part - by_itself).max() <= 1e-5 * largest


def test_layer_and_pooling_of_the_lane_are_obeyed(device: tuple[Device, dict[str, Loaded]]) -> None:
    runs, loaded = device[0], device[1]["embed"]
    batch = pack(sequences()[1:3], padding_idx=loaded.padding_idx)
    lanes = [
        lane_of(loaded),
        lane_of(loaded, layer=2),
        lane_of(loaded, pooling=Pooling.CLS),
        lane_of(loaded, layer=2, pooling=Pooling.CLS),
    ]
    outputs = [runs.forward(lane, batch) for lane in lanes]
    for index, first in enumerate(outputs):
        for second in outputs[index + 1 :]:
            assert not np.allclose(first, second)


def test_cards_tell_what_was_loaded(torch_device: tuple[Device, dict[str, Loaded]]) -> None:
    card = torch_device[1]["classify"].card
    assert card.labels == ("entailment", "neutral", "contradiction")
    assert (card.num_layers, card.hidden_size, card.max_positions) == (4, 256, 512)
    assert (card.dtype, card.synthetic, card.default_max_tokens) == ("float32", True, 512)
    assert len(card.digest) == 64
    assert card.digest.startswith(card.revision)
    assert card.owned_bytes > 4 * 256 * 256
    assert torch_device[1]["low"].card.default_layer == 2


def test_dtype_of_the_options_holds_for_every_variant(mini_catalogue: Path) -> None:
    device = TorchDevice(load_catalogue(mini_catalogue)[:1], DeviceOptions(name="cpu", dtype="bfloat16"))
    (loaded,) = device.load()
    assert loaded.card.dtype == "bfloat16"
    output = device.forward(lane_of(loaded), pack(sequences(), padding_idx=loaded.padding_idx))
    assert output.dtype == np.float32
    assert np.isfinite(output).all()


def test_a_device_that_is_not_there_is_told_in_one_line(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    device = TorchDevice(load_catalogue(mini_catalogue), DeviceOptions(name="cuda"))
    with pytest.raises(StartupError, match="--device cpu"):
        next(device.load())
