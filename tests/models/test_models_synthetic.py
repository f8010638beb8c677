"""Synthetic checkpoints: the same bytes again, answers that differ, honest markers."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from transformers import AutoConfig, AutoTokenizer

from models.checkpoint import load_model
from models.synthetic import NOTICE, Shape, Size, SyntheticError, shape_of, write_checkpoint
from models.variant import HeadKind, Variant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from models.tokenizer import Tokenizer

SMALL = Shape(num_layers=2, hidden_size=32, num_heads=2, intermediate_size=64)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    how: dict[str, Any] = {"head": HeadKind.TAG, "labels": ("X", "O"), "size": SMALL}
    one, same = (write_checkpoint(tmp_path / name, **how, seed=4) for name in ("one", "same"))
    other = write_checkpoint(tmp_path / "other", **how, seed=5)
    for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        assert (one / file).read_bytes() == (same / file).read_bytes()
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_a_checkpoint_says_that_its_answers_mean_nothing(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, head=HeadKind.EMBED, size=SMALL, seed=9)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["xlmr_synthetic"] == {"notice": NOTICE, "seed": 9}
    assert AutoConfig.from_pretrained(folder).xlmr_synthetic["notice"] == NOTICE


def test_transformers_reads_the_tokenizer_beside_the_weights(tmp_path: Path, bundled: Tokenizer) -> None:
    folder = write_checkpoint(tmp_path, head=HeadKind.EMBED, size=SMALL)
    theirs = AutoTokenizer.from_pretrained(folder)
    assert theirs.model_max_length == 512
    ids = bundled.encode(["Über den Wolken 雲"])[0].ids.tolist()
    assert theirs("Über den Wolken 雲")["input_ids"] == [0, *ids, 2]
    assert theirs("a", "b")["input_ids"].count(2) == 3


@pytest.mark.parametrize(
    ("size", "shape"),
    [(Size.MINI, (4, 256, 4, 1024)), (Size.BASE, (12, 768, 12, 3072)), (Size.LARGE, (24, 1024, 16, 4096))],
)
def test_sizes_are_those_of_xlmr(size: Size, shape: tuple[int, int, int, int]) -> None:
    ours = shape_of(size)
    assert (ours.num_layers, ours.hidden_size, ours.num_heads, ours.intermediate_size) == shape


def test_answers_differ_between_texts(
    tmp_path: Path, bundled: Tokenizer, sentences: list[tuple[str, str]], run: Callable[..., Tensor]
) -> None:
    folder = write_checkpoint(tmp_path, head=HeadKind.CLASSIFY, labels=("a", "b", "c"), seed=2)
    model = load_model(Variant(name="x", head=HeadKind.CLASSIFY, checkpoint=str(folder)))
    texts = [text for _, text in sentences]
    logits = run(model, [[0, *pieces.ids.tolist(), 2] for pieces in bundled.encode(texts)])
    # One label must not win always, and scores must be neither flat nor one-hot.
    won = Counter(logits.argmax(dim=1).tolist())
    assert len(won) == 3
    assert min(won.values()) > 0.03 * len(texts)
    assert 0.4 < logits.softmax(dim=1).max(dim=1).values.mean() < 0.95


@pytest.mark.parametrize(
    ("head", "labels", "said"),
    [
        (HeadKind.CLASSIFY, (), "needs two labels"),
        (HeadKind.TAG, ("O",), "needs two labels"),
        (HeadKind.TAG, ("O", "O"), "stands twice"),
        (HeadKind.CLASSIFY, ("a", ""), "is empty"),
        (HeadKind.SPAN, ("a", "b"), "has no labels"),
    ],
)
def test_labels_that_cannot_be(head: HeadKind, labels: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(SyntheticError, match=said):
        write_checkpoint(tmp_path / "x", head=head, labels=labels, size=SMALL)
    assert not (tmp_path / "x").exists()


def test_a_trained_checkpoint_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}', encoding="utf-8")
    with pytest.raises(SyntheticError, match="not synthetic"):
        write_checkpoint(tmp_path, head=HeadKind.EMBED, size=SMALL)
    assert not (tmp_path / "model.safetensors").exists()
