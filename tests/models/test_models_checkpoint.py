"""What checkpoints look like in the wild, and what is said when they cannot be served."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import CheckpointError, load_model
from models.tokenizer import Tokenizer
from models.variant import NONE_YET, HeadKind, Pooling, Variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from models.model import Model

    Synthetic = Callable[[HeadKind], Path]
    Run = Callable[..., Tensor]


def loaded(kind: HeadKind, folder: Path, **wishes: Any) -> Model:
    return load_model(Variant(name="x", head=kind, checkpoint=str(folder), **wishes))


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    weights = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    change(weights)
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors")


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")


def complaint(kind: HeadKind, folder: Path, **wishes: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        loaded(kind, folder, **wishes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_quirks_of_published_checkpoints_change_nothing(
    synthetic: Synthetic, tmp_path: Path, run: Run
) -> None:
    plain = synthetic(HeadKind.TAG)
    folder = copy_of(plain, tmp_path)

    def add_leftovers(weights: dict[str, Tensor]) -> None:
        weights["roberta.embeddings.position_ids"] = torch.arange(514)[None]
        weights["roberta.pooler.dense.weight"] = torch.randn(32, 32)
        weights["roberta.pooler.dense.bias"] = torch.randn(32)
        weights["lm_head.dense.weight"] = torch.randn(32, 32)
        weights["lm_head.bias"] = torch.randn(7)

    change_weights(folder, add_leftovers)
    change_config(folder, language="german", name="somebody's", extra={"a": [1]}, output_past=True)
    (folder / "tokenizer_config.json").unlink()
    sequences = [[0, 5, 6, 7, 2], [0, 9, 2]]
    assert torch.equal(
        run(loaded(HeadKind.TAG, folder), sequences), run(loaded(HeadKind.TAG, plain), sequences)
    )


def test_what_is_no_weight_leaves_the_digest_alone(synthetic: Synthetic, tmp_path: Path) -> None:
    plain = synthetic(HeadKind.EMBED)
    folder = copy_of(plain, tmp_path)
    digest = loaded(HeadKind.EMBED, plain).digest
    change_weights(
        folder, lambda weights: weights.update({"embeddings.position_ids": torch.arange(514)[None]})
    )
    assert loaded(HeadKind.EMBED, folder).digest == digest
    change_weights(folder, lambda weights: weights["embeddings.LayerNorm.bias"].add_(1e-6))
    assert loaded(HeadKind.EMBED, folder).digest != digest


def test_digest_depends_on_neither_format_nor_prefix_nor_shards(synthetic: Synthetic, tmp_path: Path) -> None:
    digests = {loaded(HeadKind.EMBED, synthetic(HeadKind.EMBED)).digest}
    weights = load_file(synthetic(HeadKind.EMBED) / "model.safetensors")
    for name, tensors in (
        ("plain", weights),
        ("prefixed", {f"roberta.{key}": t for key, t in weights.items()}),
    ):
        for form in ("safetensors", "bin", "shards"):
            folder = tmp_path / f"{name}-{form}"
            folder.mkdir()
            shutil.copy(synthetic(HeadKind.EMBED) / "config.json", folder)
            if form == "safetensors":
                save_file(tensors, folder / "model.safetensors")
            elif form == "bin":
                torch.save(tensors, folder / "pytorch_model.bin")
            else:
                write_shards(folder, tensors)
            digests.add(loaded(HeadKind.EMBED, folder, allow_bin=form == "bin").digest)
    assert len(digests) == 1


def write_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    names = sorted(tensors)
    halves = {
        "model-00001-of-00002.safetensors": names[: len(names) // 2],
        "model-00002-of-00002.safetensors": names[len(names) // 2 :],
    }
    for file, half in halves.items():
        save_file({name: tensors[name] for name in half}, folder / file)
    index = {"metadata": {}, "weight_map": {name: file for file, half in halves.items() for name in half}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def test_a_missing_shard_and_a_broken_index_are_named(synthetic: Synthetic, tmp_path: Path) -> None:
    weights = load_file(synthetic(HeadKind.EMBED) / "model.safetensors")
    shutil.copy(synthetic(HeadKind.EMBED) / "config.json", tmp_path)
    write_shards(tmp_path, weights)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors, which is not there" in complaint(HeadKind.EMBED, tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("[]", encoding="utf-8")
    assert "is not an index" in complaint(HeadKind.EMBED, tmp_path)


def test_bin_is_read_only_when_asked_for(synthetic: Synthetic, tmp_path: Path, run: Run) -> None:
    plain = synthetic(HeadKind.CLASSIFY)
    folder = copy_of(plain, tmp_path)
    (folder / "model.safetensors").unlink()
    assert "no weights" in complaint(HeadKind.CLASSIFY, folder)
    torch.save(load_file(plain / "model.safetensors"), folder / "pytorch_model.bin")
    assert "allow_bin" in complaint(HeadKind.CLASSIFY, folder)
    model = loaded(HeadKind.CLASSIFY, folder, allow_bin=True)
    sequences = [[0, 8, 9, 2]]
    # Not equal to the bit: where a tensor lies in memory decides how sums are ordered.
    difference = run(model, sequences) - run(loaded(HeadKind.CLASSIFY, plain), sequences)
    assert difference.abs().max() < 1e-5


def test_safetensors_come_before_bin(synthetic: Synthetic, tmp_path: Path) -> None:
    folder = copy_of(synthetic(HeadKind.CLASSIFY), tmp_path)
    (folder / "pytorch_model.bin").write_bytes(b"would fail if it were read")
    assert loaded(HeadKind.CLASSIFY, folder, allow_bin=True).labels == (
        "contradiction",
        "entailment",
        "neutral",
    )


class Trap:
    """Runs when it is unpickled by a reader that lets it."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sprung),)


def test_nothing_in_a_bin_file_is_executed(synthetic: Synthetic, tmp_path: Path) -> None:
    folder = copy_of(synthetic(HeadKind.CLASSIFY), tmp_path)
    (folder / "model.safetensors").unlink()
    sprung = tmp_path / "sprung"
    torch.save({"classifier.dense.weight": Trap(sprung)}, folder / "pytorch_model.bin")
    assert "pytorch_model.bin cannot be read" in complaint(HeadKind.CLASSIFY, folder, allow_bin=True)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung)))
    assert "pytorch_model.bin cannot be read" in complaint(HeadKind.CLASSIFY, folder, allow_bin=True)
    assert not sprung.exists()


@pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00notjson!", b"\xff" * 100])
def test_damaged_weights_are_named(content: bytes, synthetic: Synthetic, tmp_path: Path) -> None:
    folder = copy_of(synthetic(HeadKind.CLASSIFY), tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    assert "model.safetensors cannot be read" in complaint(HeadKind.CLASSIFY, folder)


def test_cut_off_weights_are_named(synthetic: Synthetic, tmp_path: Path) -> None:
    folder = copy_of(synthetic(HeadKind.CLASSIFY), tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "model.safetensors cannot be read" in complaint(HeadKind.CLASSIFY, folder)


def test_missing_unexpected_and_misshapen_weights_are_named(synthetic: Synthetic, tmp_path: Path) -> None:
    folder = copy_of(synthetic(HeadKind.CLASSIFY), tmp_path)
    name = "roberta.encoder.layer.1.attention.self.key.weight"

    def drop_one_and_add_one(weights: dict[str, Tensor]) -> None:
        weights["roberta.encoder.layer.9.output.dense.bias"] = weights.pop(name)

    change_weights(folder, drop_one_and_add_one)
    said = complaint(HeadKind.CLASSIFY, folder)
    assert "lacks encoder.layer.1.attention.self.key.weight" in said
    assert "holds encoder.layer.9.output.dense.bias besides" in said
    change_weights(folder, lambda weights: weights.pop("roberta.encoder.layer.9.output.dense.bias"))
    change_weights(folder, lambda weights: weights.update({name: torch.zeros(32, 31)}))
    assert "key.weight has the shape (32, 31), config.json asks for (32, 32)" in complaint(
        HeadKind.CLASSIFY, folder
    )


@pytest.mark.parametrize("wanted", HeadKind)
@pytest.mark.parametrize("there", HeadKind)
def test_a_checkpoint_serves_its_own_head_and_embed_and_no_other(
    there: HeadKind, wanted: HeadKind, synthetic: Synthetic
) -> None:
    folder = synthetic(there)
    if wanted in (there, HeadKind.EMBED):
        assert loaded(wanted, folder).kind is wanted
    else:
        complaint(wanted, folder)


def test_choose_needs_a_pooler(synthetic: Synthetic, tmp_path: Path) -> None:
    folder = copy_of(synthetic(HeadKind.CHOOSE), tmp_path)
    change_weights(folder, lambda weights: weights.pop("roberta.pooler.dense.weight"))
    assert "lacks pooler.dense.weight" in complaint(HeadKind.CHOOSE, folder)


def test_embed_without_a_pooler_pools_otherwise(synthetic: Synthetic, run: Run) -> None:
    model = loaded(HeadKind.EMBED, synthetic(HeadKind.SPAN))
    assert not model.has_pooler
    assert run(model, [[0, 5, 2]], pooling="cls").shape == (1, 32)
    with pytest.raises(ValueError, match="no pooler; ask for pooling mean or cls"):
        run(model, [[0, 5, 2]], pooling="pooler")
    assert "no pooler" in complaint(HeadKind.EMBED, synthetic(HeadKind.SPAN), pooling=Pooling.POOLER)
    assert loaded(HeadKind.EMBED, synthetic(HeadKind.EMBED), pooling=Pooling.POOLER).has_pooler


def test_layers_that_are_not_there_are_refused(synthetic: Synthetic, run: Run) -> None:
    folder = synthetic(HeadKind.EMBED)
    assert "has 2 layers; the catalogue asks for layer 3" in complaint(HeadKind.EMBED, folder, layer=3)
    model = loaded(HeadKind.EMBED, folder, layer=2)
    for layer in (-1, 3):
        with pytest.raises(ValueError, match=f"no layer {layer}"):
            run(model, [[0, 5, 2]], layer=layer)


def test_more_tokens_than_positions_are_refused(synthetic: Synthetic) -> None:
    folder = synthetic(HeadKind.EMBED)
    # 514 positions, of which padding_idx + 1 = 2 are never used.
    assert loaded(HeadKind.EMBED, folder, max_tokens=512).max_positions == 512
    assert "512 tokens; the catalogue asks for 513" in complaint(HeadKind.EMBED, folder, max_tokens=513)


def test_labels_come_by_number_of_their_id(synthetic: Synthetic, tmp_path: Path) -> None:
    folder = copy_of(synthetic(HeadKind.TAG), tmp_path)
    change_config(folder, id2label={"2": "third", "0": "first", "1": "second"}, label2id=None)
    assert loaded(HeadKind.TAG, folder).labels == ("first", "second", "third")
    assert loaded(HeadKind.TAG, folder, labels=("A", "B", "C")).labels == ("A", "B", "C")
    said = complaint(HeadKind.TAG, folder, labels=("A", "B"))
    assert "tells 3 classes apart, but there are 2 labels (A, B)" in said
    change_config(folder, id2label={str(index): f"L{index}" for index in range(11)})
    assert "11 labels" in complaint(HeadKind.TAG, folder)
    assert loaded(HeadKind.SPAN, synthetic(HeadKind.SPAN)).labels == ()
    assert "has no labels" in complaint(HeadKind.SPAN, synthetic(HeadKind.SPAN), labels=("A", "B"))


def test_digest_of_the_catalogue_is_checked(synthetic: Synthetic) -> None:
    folder = synthetic(HeadKind.CLASSIFY)
    digest = loaded(HeadKind.CLASSIFY, folder).digest
    assert loaded(HeadKind.CLASSIFY, folder, sha256=digest).digest == digest
    said = complaint(HeadKind.CLASSIFY, folder, sha256="0" * 64)
    assert digest in said
    assert "the catalogue says 000" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "bert"}, "model_type is 'bert'"),
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'"),
        ({"is_decoder": True}, "is_decoder is True"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"num_hidden_layers": "two"}, "is not a configuration of XLM-R"),
        ({"num_attention_heads": 5}, "no multiple of 5 heads"),
    ],
)
def test_what_this_encoder_does_not_compute_is_refused(
    changes: dict[str, Any], said: str, synthetic: Synthetic, tmp_path: Path
) -> None:
    folder = copy_of(synthetic(HeadKind.CLASSIFY), tmp_path)
    change_config(folder, **changes)
    assert said in complaint(HeadKind.CLASSIFY, folder)


def test_configurations_that_are_none(synthetic: Synthetic, tmp_path: Path) -> None:
    folder = copy_of(synthetic(HeadKind.CLASSIFY), tmp_path)
    (folder / "config.json").write_text("{", encoding="utf-8")
    assert "not JSON" in complaint(HeadKind.CLASSIFY, folder)
    (folder / "config.json").write_text("[]", encoding="utf-8")
    assert "not a JSON object" in complaint(HeadKind.CLASSIFY, folder)
    (folder / "config.json").unlink()
    assert "no config.json" in complaint(HeadKind.CLASSIFY, folder)


def test_the_synthetic_marker_is_seen(
    synthetic: Synthetic, reference: Callable[[HeadKind], tuple[Path, Any]]
) -> None:
    assert loaded(HeadKind.TAG, synthetic(HeadKind.TAG)).synthetic
    assert not loaded(HeadKind.TAG, reference(HeadKind.TAG)[0]).synthetic


def test_weights_stay_mapped_from_their_file(synthetic: Synthetic) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("mappings are read from /proc, which this system has not")
    folder = synthetic(HeadKind.CLASSIFY).resolve()
    model = loaded(HeadKind.CLASSIFY, folder)
    ranges = [
        tuple(int(bound, 16) for bound in line.split()[0].split("-"))
        for line in maps.read_text(encoding="utf-8").splitlines()
        if line.endswith(str(folder / "model.safetensors"))
    ]
    for name, tensor in model.tensors.items():
        assert any(start <= tensor.data_ptr() < end for start, end in ranges), name
    assert (
        model.encoder.embeddings.words.weight.data_ptr()
        == model.tensors["encoder.embeddings.words.weight"].data_ptr()
    )


def test_equal_tensors_of_two_checkpoints_have_equal_digests(synthetic: Synthetic, tmp_path: Path) -> None:
    folder = copy_of(synthetic(HeadKind.CLASSIFY), tmp_path)
    change_weights(folder, lambda weights: weights["classifier.out_proj.bias"].add_(1))
    one, two = loaded(HeadKind.CLASSIFY, synthetic(HeadKind.CLASSIFY)), loaded(HeadKind.CLASSIFY, folder)
    assert one.tensor_digests.keys() == one.tensors.keys()
    differing = {name for name in one.tensor_digests if one.tensor_digests[name] != two.tensor_digests[name]}
    assert differing == {"head.output.bias"}


def test_a_tokenizer_of_another_vocabulary_is_refused(
    synthetic: Synthetic, bundled: Tokenizer, real_tokenizer_file: Path
) -> None:
    model = loaded(HeadKind.CLASSIFY, synthetic(HeadKind.CLASSIFY))
    model.check_tokenizer(bundled)
    with pytest.raises(CheckpointError, match=f"250002 ids, the checkpoint knows only {bundled.vocab_size}"):
        model.check_tokenizer(Tokenizer.from_file(real_tokenizer_file))


def test_a_variant_without_a_checkpoint_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match="'later' has no public checkpoint yet"):
        load_model(Variant(name="later", head=HeadKind.EMBED, checkpoint=NONE_YET))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no way to the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache: Path, repository: str, files: Path, *names: str, commit: str) -> None:
    """Put files into the cache as the hub's client does."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for name in names:
        shutil.copy(files / name, snapshot)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit, encoding="utf-8")


def test_a_hub_id_comes_from_the_cache_where_the_hub_cannot_be_reached(
    hub_cache: Path, synthetic: Synthetic
) -> None:
    files, commit = synthetic(HeadKind.SPAN), "0123456789abcdef0123456789abcdef01234567"
    put(hub_cache, "some/model", files, "config.json", "model.safetensors", commit=commit)
    variant = Variant(name="x", head=HeadKind.SPAN, checkpoint="some/model", revision="main")
    model = load_model(variant)
    assert model.revision == commit
    assert model.tokenizer_file is None
    put(hub_cache, "some/tokenizer", files, "tokenizer.json", commit=commit)
    named = load_model(
        Variant(name="x", head=HeadKind.SPAN, checkpoint="some/model", tokenizer="some/tokenizer")
    )
    assert named.tokenizer_file is not None
    assert named.tokenizer_file.read_bytes() == (files / "tokenizer.json").read_bytes()


def test_a_hub_id_that_is_nowhere_is_one_clear_line(hub_cache: Path) -> None:
    variant = Variant(name="x", head=HeadKind.SPAN, checkpoint="some/absent", revision="v2")
    with pytest.raises(CheckpointError, match=r"some/absent, revision v2, .* cannot be reached") as caught:
        load_model(variant)
    assert "\n" not in str(caught.value)
