"""Tag: a tag for every word, whatever the script, however long the text."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.errors import EmptyTextError, EngineError, InputError, InvalidTextError
from service.tasks.parameters import Parameters
from service.tasks.tag import TAG, TagInput, TagLayout
from service.tasks.task import Encoded, Usage

if TYPE_CHECKING:
    from pathlib import Path

    import tokenizers

    from models.tokenizer import Tokenizer as RealTokenizer
    from service.tasks.tokenizer import Tokenizer
    from tests.service.fake_tokenizer import FakeTokenizer

PARAMETERS = Parameters(max_tokens=64, stride=8)
LABELS = ("O", "B", "I")


def speaking(encoded: Encoded[TagLayout]) -> list[int]:
    """Return the token id that speaks for each word."""
    layout = encoded.layout
    return [
        int(encoded.sequences[window][row])
        for window, row in zip(layout.windows.tolist(), layout.rows.tolist(), strict=True)
    ]


def one_hot(
    encoded: Encoded[TagLayout], num_labels: int
) -> list[np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    """Return logits that name each token by its id: label ``id % num_labels``."""
    eye = np.eye(num_labels, dtype=np.float32)
    return [eye[sequence % num_labels] for sequence in encoded.sequences]


def test_the_first_piece_of_a_word_speaks(fake_tokenizer: FakeTokenizer) -> None:
    found = TAG.encode(TagInput(tokens=("abcd", "e", "fghijkl")), PARAMETERS, fake_tokenizer)
    (sequence,) = found.sequences
    assert fake_tokenizer.text_of(sequence) == ["<0>", "▁abc", "d", "▁e", "▁fgh", "ijk", "l", "<2>"]
    assert fake_tokenizer.text_of(np.array(speaking(found))) == ["▁abc", "▁e", "▁fgh"]
    assert found.usage == Usage(tokens=8, windows=1, truncated=False)


@pytest.mark.parametrize(
    ("tokens", "pieces"),
    [
        (("a", "", "b"), ["▁a", "<3>", "▁b"]),
        (("", "a"), ["<3>", "▁a"]),
        (("a", "\u200b", ""), ["▁a", "<3>", "<3>"]),
        (("", "", "abcd", ""), ["<3>", "<3>", "▁abc", "d", "<3>"]),
    ],
)
def test_a_word_without_a_piece_is_unknown_and_has_a_tag(
    fake_tokenizer: FakeTokenizer, tokens: tuple[str, ...], pieces: list[str]
) -> None:
    found = TAG.encode(TagInput(tokens=tokens), PARAMETERS, fake_tokenizer)
    assert fake_tokenizer.text_of(found.sequences[0])[1:-1] == pieces
    answer = TAG.decode(found, one_hot(found, 3), LABELS, PARAMETERS)
    assert len(answer.tags) == len(tokens)
    assert fake_tokenizer.text_of(np.array(speaking(found))) == [
        p for p in pieces if p.startswith(("▁", "<"))
    ]


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (TagInput(tokens=()), EmptyTextError, "`tokens` is empty"),
        (TagInput(tokens=("", " ")), EmptyTextError, "`tokens` holds only empty words"),
        (TagInput(tokens=("a", "\ud800")), InvalidTextError, "`tokens` holds half of a surrogate pair"),
        (TagInput(text="  "), EmptyTextError, "`text` is empty"),
        (TagInput(text="\u200b"), EmptyTextError, "`text` holds only characters that the tokenizer drops"),
        (TagInput(text="\udc00"), InvalidTextError, "`text` holds half of a surrogate pair"),
    ],
)
def test_an_input_that_fails_says_why(
    fake_tokenizer: FakeTokenizer, item: TagInput, error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        TAG.encode(item, PARAMETERS, fake_tokenizer)


@pytest.mark.parametrize("both", [{}, {"tokens": ("a",), "text": "a"}])
def test_neither_or_both_forms_is_a_bug(both: dict[str, str | tuple[str, ...]]) -> None:
    with pytest.raises(AssertionError, match="This is a bug"):
        TagInput(**both)  # type: ignore[arg-type]  # the point is what types cannot say


def test_words_past_the_cap_go_into_further_windows_and_nothing_is_cut(fake_tokenizer: FakeTokenizer) -> None:
    words = tuple(f"w{index}" for index in range(40))
    parameters = Parameters(max_tokens=12, stride=4, truncate=False)
    found = TAG.encode(TagInput(tokens=words), parameters, fake_tokenizer)
    # Ten words a window, six further on each time: 0-9, 6-15, 12-21, 18-27, 24-33, 30-39.
    assert [len(sequence) for sequence in found.sequences] == [12] * 6
    assert found.usage == Usage(tokens=72, windows=6, truncated=False)
    assert fake_tokenizer.text_of(np.array(speaking(found))) == [f"▁{word}" for word in words]
    # Words 6 to 9 are in both of the first windows: 6 and 7 are farther from the first one's end.
    assert found.layout.windows.tolist()[:14] == [0] * 8 + [1] * 6


def test_scores_by_hand(fake_tokenizer: FakeTokenizer) -> None:
    found = TAG.encode(TagInput(text="abcd e"), PARAMETERS, fake_tokenizer)
    rows = np.full((5, 3), 9.0, dtype=np.float32)  # <s>, ▁abc, d, ▁e, </s>
    rows[1] = np.log([1.0, 6.0, 1.0])
    rows[3] = np.log([1.0, 1.0, 2.0])
    answer = TAG.decode(found, [rows], LABELS, PARAMETERS)
    assert [(tag.tag, tag.word, tag.start, tag.end) for tag in answer.tags] == [
        ("B", "abcd", 0, 4),
        ("I", "e", 5, 6),
    ]
    assert [tag.score for tag in answer.tags] == pytest.approx([0.75, 0.5])


def test_tags_of_a_list_say_nothing_of_words(fake_tokenizer: FakeTokenizer) -> None:
    found = TAG.encode(TagInput(tokens=("a", "b")), PARAMETERS, fake_tokenizer)
    answer = TAG.decode(found, one_hot(found, 3), LABELS, PARAMETERS)
    assert all((tag.word, tag.start, tag.end) == (None, None, None) for tag in answer.tags)


def test_logits_that_are_no_numbers_are_the_engines_failure(fake_tokenizer: FakeTokenizer) -> None:
    found = TAG.encode(TagInput(text="a"), PARAMETERS, fake_tokenizer)
    with pytest.raises(EngineError, match="not a number"):
        TAG.decode(found, [np.full((3, 3), np.nan, dtype=np.float32)], LABELS, PARAMETERS)


words = st.lists(st.text(st.sampled_from("abé你 \u200bก็"), max_size=30), min_size=1, max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(tokens=words, max_tokens=st.integers(6, 20), data=st.data())
def test_every_word_gets_the_tag_of_its_own_first_piece(
    fake_tokenizer: FakeTokenizer, tokens: list[str], max_tokens: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(0, max_tokens - 3))
    parameters = Parameters(max_tokens=max_tokens, stride=stride)
    item = TagInput(tokens=tuple(tokens))
    if all(not token or token.isspace() for token in tokens):
        with pytest.raises(EmptyTextError):
            TAG.encode(item, parameters, fake_tokenizer)
        return
    found = TAG.encode(item, parameters, fake_tokenizer)
    expected = []
    for token in tokens:
        own = fake_tokenizer.encode_words([token]).ids.tolist()
        expected.append(own[0] if own else fake_tokenizer.unk_id)
    assert speaking(found) == expected
    assert all(len(sequence) <= max_tokens for sequence in found.sequences)
    assert found.usage.tokens == sum(map(len, found.sequences))
    answer = TAG.decode(found, one_hot(found, 7), tuple("ABCDEFG"), parameters)
    assert [tag.tag for tag in answer.tags] == ["ABCDEFG"[number % 7] for number in expected]


TEXTS = [
    ("Paris is nice.", ["Paris", "is", "nice."]),
    ("  two\tspaces \n here ", ["two", "spaces", "here"]),
    ("e\u0301te\u0301 cafe\u0301", ["e\u0301te\u0301", "cafe\u0301"]),
    ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
    ("مَرْحَبًا بالعالم", ["مَرْحَبًا", "بالعالم"]),
    ("👩\u200d👩\u200d👧 family 😀", ["👩\u200d👩\u200d👧", "family", "😀"]),
    ("한국어 문장", ["한국어", "문장"]),
    ("zero\u200bwidth ½ ok", ["zero\u200bwidth", "½", "ok"]),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_the_words_of_a_text_are_its_whitespace_words(
    any_tokenizer: Tokenizer, text: str, expected: list[str]
) -> None:
    found = TAG.encode(TagInput(text=text), PARAMETERS, any_tokenizer)
    assert found.layout.words is not None
    assert [word.word for word in found.layout.words] == expected
    assert all(text[word.start : word.end] == word.word for word in found.layout.words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好,世界 再见", ["你好", ",", "世界", "再", "见"]),
        ("我在Paris住.", ["我在", "Paris", "住", "."]),
        ("ภาษาไทยง่าย นิดเดียว", ["ภาษาไทย", "ง่าย", "นิด", "เดียว"]),
        ("a\x1fb\x0bc", ["a", "c"]),  # a separator that the tokenizer drops joins two words
    ],
)
def test_the_real_tokenizers_pieces_make_the_words_where_spaces_do_not(
    real_tokenizer: RealTokenizer, text: str, expected: list[str]
) -> None:
    found = TAG.encode(TagInput(text=text), PARAMETERS, real_tokenizer)
    assert found.layout.words is not None
    assert [word.word for word in found.layout.words] == expected


@example(text="\u00b4\x1f")  # a piece that the library places behind the only word
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    text=st.text(
        st.sampled_from("ab é.,\u00b4\x1c\x1f\x85你好世界ไทยง่ายकि\u0301\u200b\u200d👩😀½ \n\u3000"),
        min_size=1,
        max_size=40,
    )
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
)
def test_words_of_any_text_are_in_order_and_apart(any_tokenizer: Tokenizer, text: str) -> None:
    try:
        found = TAG.encode(TagInput(text=text), PARAMETERS, any_tokenizer)
    except EmptyTextError:
        return
    found_words = found.layout.words
    assert found_words is not None
    assert len(found_words) == len(found.layout.rows)
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    for word in found_words:
        assert text[word.start : word.end] == word.word
        assert word.word.strip() == word.word != ""
        assert any(start <= word.start and word.end <= end for start, end in spans), (
            "A word over white space."
        )
    for word, following in pairwise(found_words):
        assert word.end <= following.start


def udpos_sentences(xtreme_r_dir: Path, language: str, count: int) -> list[tuple[str, ...]]:
    text = (xtreme_r_dir / "udpos" / f"test-{language}.tsv").read_text(encoding="utf-8")
    blocks = [block for block in text.split("\n\n") if block.strip()]
    return [tuple(line.split("\t")[0] for line in block.strip("\n").split("\n")) for block in blocks[:count]]


@pytest.mark.parametrize("language", ["en", "th", "zh", "ar", "hi", "ja", "ta", "vi"])
def test_real_sentences_are_encoded_as_the_librarys_split_words(
    real_tokenizer: RealTokenizer, library: tokenizers.Tokenizer, xtreme_r_dir: Path, language: str
) -> None:
    for sentence in udpos_sentences(xtreme_r_dir, language, 60):
        expected = library.encode(list(sentence), is_pretokenized=True)
        found = TAG.encode(TagInput(tokens=sentence), Parameters(max_tokens=512), real_tokenizer)
        firsts = [expected.word_ids.index(word) for word in range(len(sentence))]
        assert [sequence.tolist() for sequence in found.sequences] == [expected.ids]
        assert found.layout.rows.tolist() == firsts
        assert found.usage == Usage(tokens=len(expected.ids), windows=1, truncated=False)


def test_a_real_text_becomes_the_librarys_ids(
    real_tokenizer: RealTokenizer, library: tokenizers.Tokenizer
) -> None:
    for text, _ in TEXTS:
        found = TAG.encode(TagInput(text=text), PARAMETERS, real_tokenizer)
        assert found.sequences[0].tolist() == library.encode(text).ids
