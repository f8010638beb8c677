"""Places, words and special cases, with the bundled tokenizer."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tokenizer import Tokenizer, TokenizerError, Tokenizers, bundled_file
from models.tokenizer_pieces import word_spans

if TYPE_CHECKING:
    from models.tokenizer_pieces import Pieces

# Text in which code points, bytes, UTF-16 units and what one sees all count differently.
HARD = {
    "thai": "สวัสดีครับ น้ำเย็น",
    "chinese": "你好、世界。 我们去图书馆",
    "arabic": "السَّلامُ عليكم",
    "hindi": "क़लम और किताबें",
    "emoji": "ok 👩‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️ end",
    "composed": "café naïve",
    "decomposed": unicodedata.normalize("NFD", "café naïve Đường"),
    "two marks": "e\u0323\u0301n",
    "ligature": "ﬁne ﷺ ㌔",
    "wide": "\uff21\uff22 \uff76\uff9e",
    "spaces": "  a\u00a0b\u3000c\u2003 d  ",
    "zero width": "a\u200bb\u200dc\ufeffd",
    "control": "a\x07b\x00c",
}

BUNDLED = Tokenizer.bundled()


def pieces_of(text: str) -> Pieces:
    return BUNDLED.encode([text])[0]


@pytest.mark.parametrize("text", HARD.values(), ids=HARD.keys())
def test_places_are_code_points_in_order_within_the_text(text: str) -> None:
    pieces = pieces_of(text)
    assert len(pieces) > 0
    assert (pieces.starts <= pieces.ends).all()
    assert (pieces.starts >= 0).all()
    assert (pieces.ends <= len(text)).all()
    assert (np.diff(pieces.starts) >= 0).all()


@pytest.mark.parametrize("text", HARD.values(), ids=HARD.keys())
def test_every_letter_and_mark_is_covered_by_a_piece(text: str) -> None:
    pieces = pieces_of(text)
    covered = {
        place for start, end in zip(pieces.starts, pieces.ends, strict=True) for place in range(start, end)
    }
    letters = {place for place, letter in enumerate(text) if unicodedata.category(letter)[0] in "LMNS"}
    assert letters <= covered


def test_a_span_of_pieces_gives_back_the_words_that_it_covers() -> None:
    for text in HARD.values():
        pieces = pieces_of(text)
        for index, (start, end) in enumerate(word_spans(text)):
            own = np.flatnonzero(pieces.words == index)
            assert own.size, (text, text[start:end])
            assert (
                text[pieces.starts[own[0]] : pieces.ends[own[-1]]].strip("\u200b\u200d\ufeff")
                == text[start:end]
            )


def test_marks_that_were_composed_belong_to_the_piece() -> None:
    text = "cafe\u0301"
    assert int(pieces_of(text).ends[-1]) == len(text)
    assert text[int(pieces_of(text).starts[0]) :] == "cafe\u0301"


def test_words_are_whitespace_words_even_where_normalisation_moves_borders() -> None:
    # U+FDFA becomes four words, a non-breaking space a space, U+200B a space.
    text = "ﷺ a\u00a0b c\u200bd"
    assert [text[start:end] for start, end in word_spans(text)] == ["ﷺ", "a", "b", "c\u200bd"]
    pieces = pieces_of(text)
    assert sorted(set(pieces.words.tolist())) == [0, 1, 2, 3]
    assert (np.diff(pieces.words) >= 0).all()


def test_words_encoded_one_by_one_are_as_after_a_space(bundled: Tokenizer) -> None:
    words = ["The", "garden", "玩", "ห้องสมุด", "don't", "New York", "👍🏽"]
    together = bundled.encode_words(words)
    for index, word in enumerate(words):
        alone = bundled.encode([word])[0]
        own = together.words == index
        np.testing.assert_array_equal(together.ids[own], alone.ids)
        np.testing.assert_array_equal(together.starts[own], alone.starts)
        np.testing.assert_array_equal(together.ends[own], alone.ends)


@pytest.mark.parametrize("word", ["\u200b", "\x07", "\ufeff"])
def test_a_word_of_which_nothing_is_left_is_one_unknown_piece(word: str, bundled: Tokenizer) -> None:
    assert len(bundled.encode([word])[0]) == 0
    pieces = bundled.encode_words(["a", word, "b"])
    assert pieces.ids[pieces.words == 1].tolist() == [bundled.unk_id]
    assert set(pieces.words.tolist()) == {0, 1, 2}


def test_an_empty_word_has_no_piece_and_keeps_its_number(bundled: Tokenizer) -> None:
    assert set(bundled.encode_words(["a", "", "b"]).words.tolist()) == {0, 2}


def test_nothing_gives_nothing(bundled: Tokenizer) -> None:
    assert bundled.encode([]) == []
    empty, blank = bundled.encode(["", " \t\n"])
    none = bundled.encode_words([])
    for pieces in (empty, blank, none):
        assert len(pieces) == 0
        for array in (pieces.ids, pieces.starts, pieces.ends, pieces.words):
            assert array.dtype == np.int32


def test_lone_surrogates_are_a_value_error(bundled: Tokenizer) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        bundled.encode(["fine", "a\ud800"])
    with pytest.raises(ValueError, match="surrogate"):
        bundled.encode_words(["\udfff"])


def test_no_special_tokens_and_arrays_of_int32(bundled: Tokenizer) -> None:
    pieces = bundled.encode(["A sentence."])[0]
    assert not {bundled.bos_id, bundled.eos_id, bundled.pad_id} & set(pieces.ids.tolist())
    assert (bundled.bos_id, bundled.pad_id, bundled.eos_id, bundled.unk_id) == (0, 1, 2, 3)
    for array in (pieces.ids, pieces.starts, pieces.ends, pieces.words):
        assert array.dtype == np.int32
        assert array.shape == (len(pieces),)


def test_truncation_and_padding_that_a_file_carries_are_switched_off(
    tmp_path: Path, bundled: Tokenizer
) -> None:
    content = json.loads(bundled_file().read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 16},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 1,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    carrying = Tokenizer.from_file(file)
    for text in ("short", "a long text of many more than eight pieces, which is not cut by anybody here"):
        np.testing.assert_array_equal(carrying.encode([text])[0].ids, bundled.encode([text])[0].ids)


WITHOUT_SPECIAL_TOKENS = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
    }
)

WITHOUT_UNKNOWN = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "Unigram",
            "unk_id": None,
            "vocab": [["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["a", -1.0]],
        },
    }
)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        ("not json", "not a tokenizer.json"),
        ('{"version": "1.0"}', "not a tokenizer.json"),
        (WITHOUT_SPECIAL_TOKENS, "the token <s> is missing"),
        (WITHOUT_UNKNOWN, "not a tokenizer.json that can be used"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line(
    content: str | None, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "tokenizer.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(TokenizerError, match=complaint) as caught:
        Tokenizer.from_file(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_bundled_tokenizer_knows_all_fifty_languages(
    bundled: Tokenizer, sentences: list[tuple[str, str]]
) -> None:
    assert len({language for language, _ in sentences}) == 50
    vocab = [token for token, _ in json.loads(bundled_file().read_text(encoding="utf-8"))["model"]["vocab"]]
    strange = {index for index, token in enumerate(vocab) if token.startswith("<0x")} | {bundled.unk_id}
    assert len(strange) == 257
    texts = [text for _, text in sentences]
    for (language, sentence), pieces in zip(sentences, bundled.encode(texts), strict=True):
        assert not strange & set(pieces.ids.tolist()), (language, sentence)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_text_at_all_is_unknown_to_the_bundled_tokenizer(text: str) -> None:
    pieces = BUNDLED.encode([text])[0]
    assert BUNDLED.unk_id not in pieces.ids or "<unk>" in text
    assert (pieces.ends <= len(text)).all()
    assert (pieces.starts <= pieces.ends).all()
    num_words = len(word_spans(text))
    assert ((pieces.words >= 0) & (pieces.words < max(num_words, 1))).all()


def test_many_threads_get_what_one_gets(bundled: Tokenizer, sentences: list[tuple[str, str]]) -> None:
    texts = [text for _, text in sentences]
    wanted = [pieces.ids.tolist() for pieces in bundled.encode(texts)]
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda text: bundled.encode([text])[0].ids.tolist(), texts):
            assert got == wanted.pop(0)


def test_the_bundled_file_is_what_its_script_makes(project_root: Path) -> None:
    script = project_root / "scripts" / "train_bundled_tokenizer.py"
    check = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    assert bundled_file().stat().st_size < 1_000_000


def test_neither_torch_nor_transformers_is_imported() -> None:
    code = "import models.variant, models.tokenizer, sys; print({'torch', 'transformers'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"


def test_files_of_equal_content_share_a_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bundled_file().read_bytes()
    places = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for place in places[:2]:
        place.write_bytes(content)
    places[2].write_bytes(content + b" ")
    read: list[str] = []
    from_bytes = Tokenizer.from_bytes

    def counted(content: bytes, *, source: str) -> Tokenizer:
        read.append(Path(source).name)
        return from_bytes(content, source=source)

    monkeypatch.setattr(Tokenizer, "from_bytes", counted)
    shelf = Tokenizers()
    first, second, other = (shelf.read(place)[1] for place in places)
    assert first is second
    assert other is not first
    assert shelf.read(str(places[0]))[1] is first
    assert read == ["a.json", "c.json"]
    # What was replaced on the disk is another tokenizer.
    places[0].write_bytes(content + b"  ")
    assert shelf.read(places[0])[1] is not first
    # What was read is found by what was in the file, wherever that is, as long as it is wanted.
    digest = hashlib.sha256(content).hexdigest()
    assert shelf.read(places[1]) == (digest, first)
    assert shelf.find(digest) is first
    shelf.keep([digest])
    assert shelf.find(digest) is first
    assert shelf.find(hashlib.sha256(content + b" ").hexdigest()) is None


def test_a_file_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"absent\.json: not a tokenizer.json that can be used"):
        Tokenizers().read(tmp_path / "absent.json")
