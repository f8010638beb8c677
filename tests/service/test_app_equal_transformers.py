"""What comes over HTTP equals what transformers' own classes say of the same checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.service.serving import Served

TEXTS = [
    "A",
    "Der Fluss ist tief und kalt.",
    "แม่น้ำลึกและเย็น",
    "河水又深又冷。",
    "النهر عميق وبارد.",
    "नदी गहरी और ठंडी है।",
    "e\u0301tude 👩‍👩‍👧 naïve",
    "The river is deep. " * 200,
]
QUESTION = "Wo entspringt die Donau?"
CONTEXT = "Die Donau entspringt im Schwarzwald. Sie mündet in das Schwarze Meer, das weit im Osten liegt."


@pytest.fixture(scope="module")
def checkpoints(mini_catalogue: Path) -> Path:
    return mini_catalogue.parent


@pytest.fixture(scope="module")
def tokenizer(checkpoints: Path) -> Any:
    return AutoTokenizer.from_pretrained(checkpoints / "classify")


def test_classify_equals_the_pipeline(server: Served, checkpoints: Path, tokenizer: Any) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoints / "classify")
    classifier = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device="cpu")
    wanted: Any = classifier(TEXTS, truncation=True, max_length=512)
    outputs = server.outputs("classify", [{"text": text} for text in TEXTS])
    for output, want in zip(outputs, wanted, strict=True):
        assert output["scores"] == pytest.approx({one["label"]: one["score"] for one in want}, abs=1e-5)
        assert output["label"] == max(want, key=lambda one: one["score"])["label"]


def test_classify_equals_the_class_on_pairs(server: Served, checkpoints: Path, tokenizer: Any) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoints / "classify").eval()
    second = TEXTS[::-1]
    outputs = server.outputs(
        "classify", [{"text": a, "text_pair": b} for a, b in zip(TEXTS, second, strict=True)]
    )
    for a, b, output in zip(TEXTS, second, outputs, strict=True):
        batch = tokenizer(a, b, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            want = model(**batch).logits.softmax(-1)[0].tolist()
        assert list(output["scores"].values()) == pytest.approx(want, abs=1e-5)
        assert output["usage"]["tokens"] == batch["input_ids"].shape[1]


def test_choose_equals_the_class(server: Served, checkpoints: Path, tokenizer: Any) -> None:
    model = AutoModelForMultipleChoice.from_pretrained(checkpoints / "choose").eval()
    context, question, choices = "Es fror.", "Was geschah dann?", ["Der See gefror.", "河水又深又冷。", "A"]
    batch = tokenizer([f"{context} {question}"] * 3, choices, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**{key: value.unsqueeze(0) for key, value in batch.items()}).logits[0]
    (output,) = server.outputs("choose", [{"context": context, "question": question, "choices": choices}])
    assert output["scores"] == pytest.approx(logits.softmax(-1).tolist(), abs=1e-5)
    assert output["choice"] == int(logits.argmax())
    assert output["usage"]["tokens"] == int(batch["attention_mask"].sum())


def test_tag_equals_the_class_at_the_first_piece_of_each_word(
    server: Served, checkpoints: Path, tokenizer: Any
) -> None:
    model = AutoModelForTokenClassification.from_pretrained(checkpoints / "tag").eval()
    words = ["Ada", "Lovelace", "schläft", "in", "ลอนดอน", "."]
    batch = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    with torch.inference_mode():
        scores = model(**batch).logits[0].softmax(-1)
    owners = batch.word_ids()
    firsts = [owners.index(word) for word in range(len(words))]
    (output,) = server.outputs("tag", [{"tokens": words}])
    assert [tag["tag"] for tag in output["tags"]] == [
        model.config.id2label[int(scores[first].argmax())] for first in firsts
    ]
    assert [tag["score"] for tag in output["tags"]] == pytest.approx(
        [float(scores[first].max()) for first in firsts], abs=1e-5
    )


def test_span_equals_the_best_start_and_end_of_the_class(
    server: Served, checkpoints: Path, tokenizer: Any
) -> None:
    model = AutoModelForQuestionAnswering.from_pretrained(checkpoints / "span").eval()
    batch = tokenizer(QUESTION, CONTEXT, return_offsets_mapping=True, return_tensors="pt")
    offsets = batch.pop("offset_mapping")[0].tolist()
    owners = batch.sequence_ids()
    with torch.inference_mode():
        answer = model(**batch)
    starts, ends = answer.start_logits[0], answer.end_logits[0]
    inside = [index for index, owner in enumerate(owners) if owner == 1]
    pairs = [(s, e) for s in inside for e in inside if s <= e < s + 30]
    first, last = max(pairs, key=lambda pair: float(starts[pair[0]] + ends[pair[1]]))
    (output,) = server.outputs("span", [{"question": QUESTION, "context": CONTEXT}])
    assert output["answers"][0]["text"] == CONTEXT[offsets[first][0] : offsets[last][1]].strip()
    assert output["usage"]["tokens"] == batch["input_ids"].shape[1]


@pytest.mark.parametrize("layer", [4, 2])
@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_embed_equals_the_class(
    server: Served, checkpoints: Path, tokenizer: Any, pooling: str, layer: int
) -> None:
    model = AutoModel.from_pretrained(checkpoints / "embed").eval()
    outputs = server.outputs(
        "embed", [{"text": text} for text in TEXTS], {"pooling": pooling, "layer": layer}
    )
    for text, output in zip(TEXTS, outputs, strict=True):
        batch = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**batch, output_hidden_states=True).hidden_states[layer]
            match pooling:
                case "mean":
                    want = hidden[0].mean(0)
                case "cls":
                    want = hidden[0, 0]
                case _:
                    want = model.pooler(hidden)[0]
        scale = float(want.abs().max())
        np.testing.assert_allclose(output["embedding"], want.numpy(), atol=1e-5 * scale)
