"""Ids by the second library, against Hugging Face's ``tokenizers``; and when they are not taken from it."""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.tokenizer import Tokenizer, bundled_file
from models.tokenizer_ids import FastIds, NotProvenError
from tests.models.compiled_map import compiled, xlmr_like

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CONTENT = xlmr_like()
REFERENCE = tokenizers.Tokenizer.from_buffer(CONTENT)
OURS = Tokenizer.from_bytes(CONTENT, source="small.json")

# Alphabets in which the two could differ, were one of them wrong.
AWKWARD = [
    *("<s>", "</s>", "<mask>", " <mask> ", "<unk>", "<pad>", "<", "\uff1cs\uff1e", "<\u200bs>", "▁"),
    *(" ", "   ", "\u00a0", "\t", "\r\n", "\u3000", "\u2028", "\x85"),
    *("\u200b", "\u200d", "\ufeff", "\u00ad", "\x00", "\x07", "\x7f", "\ufffd"),
    *("👩\u200d👩\u200d👧", "👍🏽", "🇩🇪", "❤\ufe0f", "ﬁ", "ﷺ", "\uff21", "\uff76\uff9e"),
    *("가", "\u1100\u1161", "र्", "e\u0301", "\u0301", "\u0323", "½", "™", "…", "\u00b4"),
    *("\U0010ffff", "\u0378", "\ue000", "x" * 300, "字" * 150, "!" * 40, "the ", "of"),
]
characters = st.characters(exclude_categories=["Cs"])
texts = st.lists(st.one_of(st.sampled_from(AWKWARD), st.text(characters, max_size=8)), max_size=12).map(
    "".join
)


def wanted(reference: tokenizers.Tokenizer, text: str) -> list[int]:
    ids: list[int] = reference.encode(text, add_special_tokens=False).ids
    return ids


def fast_of(tokenizer: Tokenizer) -> FastIds | None:
    return tokenizer._fast_ids


@given(texts)
@example("")
@example(" \u200b ")
@example("a <mask> b")
@settings(max_examples=400, deadline=None)
def test_ids_are_the_references(text: str) -> None:
    assert fast_of(OURS) is not None
    (ids,) = OURS.encode_ids([text])
    assert ids.dtype == np.int32
    assert ids.tolist() == wanted(REFERENCE, text)


@given(st.lists(texts, max_size=6))
@settings(max_examples=60, deadline=None)
def test_each_text_of_several_keeps_its_place(several: list[str]) -> None:
    found = OURS.encode_ids(several)
    assert [ids.tolist() for ids in found] == [wanted(REFERENCE, text) for text in several]


def test_what_the_second_library_answers_and_what_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = fast_of(OURS)
    assert fast is not None
    for text in ("", " ", "\u00a0\u200b", "\u2581", "a<b", "</s>", "x" * 8_001):
        assert fast(text) is None, text
    asked: list[str] = []
    reference = Tokenizer._encode

    def counted(self: Tokenizer, many: Sequence[str], *call: Any) -> Any:
        asked.extend(many)
        return reference(self, many, *call)

    monkeypatch.setattr(Tokenizer, "_encode", counted)
    OURS.encode_ids(["hello", "a<b", "world", " "])
    assert asked == ["a<b", " "]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "<\ud800"])
def test_a_lone_surrogate_is_refused_as_by_the_reference(text: str) -> None:
    for call in (OURS.encode_ids, OURS.encode):
        with pytest.raises(ValueError, match="lone surrogate"):
            call(["fine", text])


def test_many_threads_get_what_one_gets() -> None:
    many = [
        f"{word} number {index} of {index * 7}" for index in range(300) for word in ("the", "caf\u00e9", "字")
    ]
    once = [wanted(REFERENCE, text) for text in many]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert [ids.tolist() for ids in pool.map(lambda text: OURS.encode_ids([text])[0], many)] == once


def vocabulary(pieces: dict[str, float]) -> bytes:
    rows = [["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], *([p, s] for p, s in pieces.items())]
    added = [token | {"id": index} for index, token in enumerate(json.loads(CONTENT)["added_tokens"][:4])]
    model = {"type": "Unigram", "unk_id": 3, "vocab": rows, "byte_fallback": False}
    return xlmr_like(model=model, added_tokens=added)


@pytest.mark.parametrize("better", [1e-9, -1e-9, 1e-12, -1e-12, 4e-16, -4e-16, 0.0])
def test_scores_count_in_double_precision(better: float) -> None:
    """Two ways to cut one word, apart by less than single precision can tell."""
    content = vocabulary({"▁": -9.0, "▁a": -1.0, "b": -1.0 + better, "▁ab": -2.0, "a": -9.0})
    ours = Tokenizer.from_bytes(content, source="close.json")
    assert fast_of(ours) is not None
    assert ours.encode_ids(["ab"])[0].tolist() == ([5, 6] if better > 0 else [7])


@pytest.mark.parametrize("seed", range(20))
def test_ties_are_decided_as_by_the_reference(seed: int) -> None:
    """Few letters and few scores, whose sums differ by rounding alone, so that their order decides."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    pieces = {"▁", "a", "b"}
    while len(pieces) < 12:
        pieces.add(draw.choice(["▁", "", ""]) + "".join(draw.choices("ab", k=draw.randrange(1, 5))))
    scores = [-0.1, -0.2, -0.3, -0.6, -0.7, -1.1, -1.3, -2.6, -3.9]
    content = vocabulary({piece: draw.choice(scores) * draw.choice([1, 2, 3]) for piece in sorted(pieces)})
    ours, reference = (
        Tokenizer.from_bytes(content, source="ties.json"),
        tokenizers.Tokenizer.from_buffer(content),
    )
    assert fast_of(ours) is not None
    for _ in range(100):
        text = " ".join("".join(draw.choices("ab", k=draw.randrange(1, 40))) for _ in range(3))
        assert ours.encode_ids([text])[0].tolist() == wanted(reference, text)


def without_bytes(**changes: Any) -> dict[str, Any]:
    model: dict[str, Any] = json.loads(CONTENT)["model"]
    return model | changes


NORMALIZER = json.loads(CONTENT)["normalizer"]
ADDED = json.loads(CONTENT)["added_tokens"]
OTHER_FORMS: dict[str, dict[str, Any]] = {
    "its normalizer": {"normalizer": None},
    "its normalizer is": {"normalizer": {"type": "Sequence", "normalizers": [NORMALIZER, {"type": "NFKC"}]}},
    "its pre-tokenizer": {
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}
    },
    "its unknown characters": {"model": without_bytes(byte_fallback=True)},
    "its added token 'xx'": {"added_tokens": [*ADDED, ADDED[0] | {"id": 7_000, "content": "xx"}]},
    "its added token '<x>'": {
        "added_tokens": [*ADDED, ADDED[0] | {"id": 7_000, "content": "<x>", "normalized": True}]
    },
    "it has no piece": {
        "model": without_bytes(vocab=[[p.replace("▁", "_"), s] for p, s in without_bytes()["vocab"]])
    },
}


@pytest.mark.parametrize(("reason", "changes"), OTHER_FORMS.items(), ids=OTHER_FORMS.keys())
def test_a_file_of_another_form_is_left_to_the_reference(
    reason: str, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    content = xlmr_like(**changes)
    with caplog.at_level(logging.INFO):
        ours = Tokenizer.from_bytes(content, source="other.json")
    assert fast_of(ours) is None
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    line = record.getMessage()
    assert line.startswith("other.json: ids are not cut the fast way: ")
    assert reason in line
    reference = tokenizers.Tokenizer.from_buffer(content)
    for text in ("Hello world!", "a</s> xx <x>b", "caf\u00e9 \uff21", ""):
        assert ours.encode_ids([text])[0].tolist() == wanted(reference, text)


def test_the_bundled_file_is_left_to_the_reference() -> None:
    assert fast_of(Tokenizer.from_file(bundled_file())) is None


def test_where_the_second_library_is_absent_the_reference_serves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "tokie", None)
    with caplog.at_level(logging.INFO):
        ours = Tokenizer.from_bytes(CONTENT, source="small.json")
    assert fast_of(ours) is None
    assert "the second library is not there" in caplog.text
    assert ours.encode_ids(["Hello world!"])[0].tolist() == wanted(REFERENCE, "Hello world!")


def test_a_library_that_gives_other_ids_is_found_out() -> None:
    """The second library gets a file in which one piece in fifty scores worse, or another map."""
    document = json.loads(CONTENT)
    for row in document["model"]["vocab"][5::50]:
        row[1] -= 20
    with pytest.raises(NotProvenError, match=r"ids of .* differ"):
        FastIds.of(json.dumps(document).encode(), REFERENCE)
    one = {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(compiled({"\u00a0": " "})).decode(),
    }
    with pytest.raises(NotProvenError, match=r"ids of .* differ"):
        FastIds.of(xlmr_like(normalizer=one), REFERENCE)


def test_a_difference_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """A map that leaves the space mark alone: the two differ, and the reference's ids are given."""
    one = {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(compiled({"\u00a0": " "})).decode(),
    }
    content = xlmr_like(normalizer=one)
    ours = Tokenizer.from_bytes(content, source="odd.json")
    assert fast_of(ours) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("odd.json: ids are not cut the fast way: ids of ")
    reference = tokenizers.Tokenizer.from_buffer(content)
    assert ours.encode_ids(["▁a ▁"])[0].tolist() == wanted(reference, "▁a ▁")


def test_a_file_that_the_second_library_cannot_read_is_left_to_the_reference() -> None:
    with pytest.raises(NotProvenError, match="it cannot be read"):
        FastIds.of(b"{}", REFERENCE)


def test_truncation_and_padding_in_a_file_do_nothing() -> None:
    truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    padding = {
        "strategy": {"Fixed": 16},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 1,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    ours = Tokenizer.from_bytes(xlmr_like(truncation=truncation, padding=padding), source="cut.json")
    assert fast_of(ours) is not None
    text = "one two three four five six seven"
    assert ours.encode_ids([text])[0].tolist() == wanted(REFERENCE, text)
    assert len(ours.encode_ids(["one"])[0]) < 16


def test_a_file_becomes_a_path_on_any_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "elsewhere")
    FastIds.of(CONTENT, REFERENCE)


# -- XLM-R's own vocabulary


@pytest.fixture(scope="module")
def real(real_tokenizer_file: Path) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    ours = Tokenizer.from_file(real_tokenizer_file)
    assert fast_of(ours) is not None
    return ours, tokenizers.Tokenizer.from_file(str(real_tokenizer_file))


def real_texts(folder: Path) -> Iterator[str]:
    """Every line, and every field between tabs, of every file; of JSON with its punctuation."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.stat().st_size < 200e6 and file.parent.name != "tokenizer":
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                yield from (field[:6_000] for field in line.split("\t"))


def test_real_texts_of_fifty_languages(
    real: tuple[Tokenizer, tokenizers.Tokenizer], xtreme_r_dir: Path
) -> None:
    """Two texts in a thousand; XLMR_EVERY_TEXT=1 takes all of them, which is an hour's work."""
    ours, reference = real
    every = 1 if os.environ.get("XLMR_EVERY_TEXT") else 499
    compared = 0
    for index, text in enumerate(real_texts(xtreme_r_dir)):
        if index % every:
            continue
        compared += 1
        assert ours.encode_ids([text])[0].tolist() == wanted(reference, text), text
    assert compared > 2_000


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_ids_of_the_real_vocabulary_are_the_references(
    text: str, real: tuple[Tokenizer, tokenizers.Tokenizer]
) -> None:
    ours, reference = real
    assert ours.encode_ids([text])[0].tolist() == wanted(reference, text)
