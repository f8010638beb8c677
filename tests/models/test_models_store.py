"""Equal weights are held once, whoever uses them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import Form, load_model
from models.fused import best_form
from models.store import WeightStore
from models.synthetic import Shape, write_checkpoint
from models.variant import HeadKind, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from models.model import Model

    Run = Callable[..., Tensor]

SMALL = Shape(num_layers=2, hidden_size=32, num_heads=2, intermediate_size=64)
NUM_VARIANTS = 10
FORMS = {
    "stored": (torch.float32, Form.STORED),
    "joined": (torch.float32, Form.JOINED),
    "packed": (torch.float32, Form.PACKED),
    "bfloat16": (torch.bfloat16, best_form(torch.device("cpu"), torch.bfloat16)),
    "int8": (torch.int8, Form.INT8),
}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Ten checkpoints of one encoder, each with a head of its own."""
    first = write_checkpoint(tmp_path_factory.mktemp("x"), head=HeadKind.CLASSIFY, labels="ab", size=SMALL)
    folders = []
    weights = load_file(first / "model.safetensors")
    for seed in range(NUM_VARIANTS):
        folder = tmp_path_factory.mktemp(str(seed))
        generator = torch.Generator().manual_seed(seed)
        own = {
            name: torch.randn(tensor.shape, generator=generator) if name.startswith("classifier") else tensor
            for name, tensor in weights.items()
        }
        save_file(own, folder / "model.safetensors")
        (folder / "config.json").write_bytes((first / "config.json").read_bytes())
        folders.append(folder)
    return tuple(folders)


def loaded(family: tuple[Path, ...], form: str, store: WeightStore) -> list[Model]:
    dtype, held_as = FORMS[form]
    return [
        load_model(
            Variant(name=folder.name, head=HeadKind.CLASSIFY, checkpoint=str(folder)),
            dtype=dtype,
            form=held_as,
            store=store,
        )
        for folder in family
    ]


def addresses(model: Model) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in model.tensors.items()}


@pytest.mark.parametrize("form", FORMS)
def test_ten_variants_of_one_encoder_hold_it_once(family: tuple[Path, ...], form: str) -> None:
    models = loaded(family, form, WeightStore())
    alone = [sum(model.held_bytes.values()) for model in models]
    assert len(set(alone)) == 1
    users = Counter(key for model in models for key in model.held_bytes)
    own = [sum(size for key, size in model.held_bytes.items() if users[key] == 1) for model in models]
    # The head: dense [32, 32] and output [2, 32] with biases, in the form's dtype.
    itemsize = torch.float32.itemsize if form == "int8" else FORMS[form][0].itemsize
    head = (32 * 32 + 32 + 2 * 32 + 2) * itemsize
    # oneDNN rounds the rows of both maps up to blocks of 64.
    assert all(head <= size <= head + 2 * 64 * 32 * itemsize for size in own), own
    total = sum(dict(item for model in models for item in model.held_bytes.items()).values())
    assert total == alone[0] + (NUM_VARIANTS - 1) * own[0]
    encoders = {
        tuple(value for name, value in addresses(model).items() if name.startswith("encoder."))
        for model in models
    }
    assert len(encoders) == 1


@pytest.mark.parametrize("form", FORMS)
def test_sharing_changes_no_answer(family: tuple[Path, ...], form: str, run: Run) -> None:
    sequences = [[0, 8, 9, 30, 2], [0, 7, 2]]
    together = [run(model, sequences) for model in loaded(family[:3], form, WeightStore())]
    alone = [run(loaded((folder,), form, WeightStore())[0], sequences) for folder in family[:3]]
    for ours, theirs in zip(together, alone, strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(together[0], together[1])


def test_dtypes_and_forms_do_not_stand_for_each_other(family: tuple[Path, ...], run: Run) -> None:
    store = WeightStore()
    sequences = [[0, 8, 9, 30, 2], [0, 7, 2]]
    mixed = {form: run(loaded(family[:1], form, store)[0], sequences) for form in FORMS}
    for form, output in mixed.items():
        assert torch.equal(output, run(loaded(family[:1], form, WeightStore())[0], sequences)), form
    assert not torch.equal(mixed["packed"], mixed["int8"])


def test_one_changed_number_is_not_shared(family: tuple[Path, ...], tmp_path: Path) -> None:
    weights = load_file(family[0] / "model.safetensors")
    weights["roberta.encoder.layer.1.output.dense.weight"][3, 5] += 1e-6
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((family[0] / "config.json").read_bytes())
    one, two = loaded((family[0], tmp_path), "packed", WeightStore())
    assert len(one.held_bytes.keys() - two.held_bytes.keys()) == 1


def mapped_files() -> Iterator[tuple[range, str]]:
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        first, last = (int(bound, 16) for bound in line.split()[0].split("-"))
        yield range(first, last), line.split()[-1]


@pytest.mark.parametrize("form", ["joined", "packed", "bfloat16", "int8"])
def test_embedding_tables_stay_mapped_from_their_file(family: tuple[Path, ...], form: str) -> None:
    if not Path("/proc/self/maps").exists():
        pytest.skip("mappings are read from /proc, which this system has not")
    (model,) = loaded(family[:1], form, WeightStore())
    table = model.encoder.embeddings.words.weight
    assert table.dtype == torch.float32
    homes = [file for part, file in mapped_files() if table.data_ptr() in part]
    assert homes == [str(family[0].resolve() / "model.safetensors")]
