"""What a text must be, and spans that keep letters and their marks together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import EmptyTextError, InvalidTextError
from service.tasks.text import check_text, whole_characters


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u3000", "\u00a0\u2003"])
def test_empty_and_blank_texts_are_refused_by_name(text: str) -> None:
    with pytest.raises(EmptyTextError, match=r"`choices\[1\]` is empty or holds only white space"):
        check_text(text, "choices[1]")


@pytest.mark.parametrize(("text", "place"), [("ab\ud83d", 2), ("\udc00", 0), ("\ude00\ud83d", 0)])
def test_lone_surrogates_are_refused_with_their_place(text: str, place: int) -> None:
    with pytest.raises(InvalidTextError, match=f"`text` holds half of a surrogate pair at character {place}"):
        check_text(text, "text")


@pytest.mark.parametrize("text", ["a", " x ", "😀", "\u0301", "\x00", "你"])
def test_anything_else_is_a_text(text: str) -> None:
    check_text(text, "text")


@pytest.mark.parametrize(
    ("text", "span", "whole"),
    [
        ("a word here", (1, 7), "word"),
        ("a word here", (2, 6), "word"),
        ("e\u0301te\u0301 ok", (0, 4), "e\u0301te\u0301"),  # the piece ended before the last accent
        ("e\u0301te\u0301 ok", (1, 3), "e\u0301t"),  # it started with one
        ("नमस्ते", (0, 2), "नम"),
        ("नमस्ते", (2, 4), "स्"),
        ("कि", (0, 1), "कि"),  # a vowel sign belongs to its consonant
        ("ที่นี่", (0, 1), "ที่"),  # Thai vowel above and tone mark
        ("مُحَمَّد", (0, 1), "مُ"),
        ("\u200bword", (1, 5), "word"),
        ("   ", (0, 3), ""),
        ("\u0301a", (0, 2), "\u0301a"),  # a mark with nothing before it
        ("a \u0301b", (2, 4), "\u0301b"),  # or with a space before it
    ],
)
def test_whole_characters_by_hand(text: str, span: tuple[int, int], whole: str) -> None:
    start, end = whole_characters(text, *span)
    assert text[start:end] == whole


@given(text=st.text(st.sampled_from("ab \u0301\u0e35\u0e48\u093f\u3000é"), max_size=12), data=st.data())
def test_whole_characters_keep_what_they_were_given(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, last = whole_characters(text, start, end)
    assert 0 <= first <= last <= len(text)
    if text[start:end].strip():
        assert text[start:end].strip() in text[first:last]
        assert not text[first].isspace()
        assert not text[last - 1].isspace()
        assert whole_characters(text, first, last) == (first, last)
    else:
        assert first == last
