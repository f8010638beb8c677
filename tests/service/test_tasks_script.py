"""Scripts of texts, held against Unicode's own names and the project's bundled texts in fifty languages."""

from __future__ import annotations

import tomllib
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.tasks.choose import ChooseInput
from service.tasks.script import _RANGES, OTHER, SCRIPTS, script_of, scripts_of
from service.tasks.span import SpanInput
from service.tasks.tag import TagInput
from service.tasks.text_input import TextInput

if TYPE_CHECKING:
    from pathlib import Path

# How the names of a script's letters begin in Unicode's character database.
NAMES = {
    "burmese": ("MYANMAR",),
    "japanese": ("HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "KATAKANA-HIRAGANA"),
    "han": ("CJK",),
    "latin": ("LATIN", "FEMININE ORDINAL", "MASCULINE ORDINAL"),
    "greek": ("GREEK", "COPTIC"),  # the block holds both
    "georgian": ("GEORGIAN", "MODIFIER LETTER GEORGIAN"),
}
NOT_LATIN = {
    **dict.fromkeys(("ar", "fa", "ur"), "arabic"),
    **dict.fromkeys(("bg", "kk", "ru", "uk"), "cyrillic"),
    **dict.fromkeys(("hi", "mr"), "devanagari"),
    "bn": "bengali",
    "el": "greek",
    "gu": "gujarati",
    "he": "hebrew",
    "ja": "japanese",
    "ka": "georgian",
    "ko": "hangul",
    "ml": "malayalam",
    "my": "burmese",
    "pa": "gurmukhi",
    "ta": "tamil",
    "te": "telugu",
    "th": "thai",
    "zh": "han",
}


def test_the_list_is_closed_and_in_order() -> None:
    bounds = [bound for first, last, _ in _RANGES for bound in (first, last)]
    assert bounds == sorted(bounds)
    assert set(SCRIPTS) == {script for _, _, script in _RANGES} | {OTHER}


def test_every_letter_of_a_range_is_of_its_script_by_its_name() -> None:
    for first, last, script in _RANGES:
        wanted = NAMES.get(script, (script.upper(),))
        for letter in filter(str.isalpha, map(chr, range(first, last + 1))):
            assert unicodedata.name(letter).startswith(wanted), (script, hex(ord(letter)))


def test_bundled_texts_are_in_the_script_of_their_language(project_root: Path) -> None:
    files = sorted((project_root / "scripts" / "bundled").glob("??.toml"))
    assert len(files) > 45
    for file in files:
        texts = list(_strings(tomllib.loads(file.read_text(encoding="utf-8"))))
        found = max(SCRIPTS, key=[script_of(text) for text in texts if len(text) > 7].count)
        assert found == NOT_LATIN.get(file.stem, "latin"), file.stem


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in values for text in _strings(one)]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("", OTHER),
        ("2026-11-22, 17:40!", OTHER),
        ("\u16a0\u16a1 runes", "latin"),
        ("\u16a0\u16a1\u16a2", OTHER),
        ("42 \u043a\u043e\u0442\u0430 and a cat", "latin"),
        ("\u043a\u043e\u0442\u0438\u043a\u0438 and", "cyrillic"),
        ("\u96e8", "han"),
        ("\u96e8\u304c\u964d\u308b", "japanese"),
        ("a" * 200 + "\u05d0" * 1000, "latin"),
    ],
)
def test_most_letters_decide(text: str, script: str) -> None:
    assert script_of(text) == script


@given(st.text())
def test_any_text_has_one_of_the_scripts(text: str) -> None:
    assert script_of(text) in SCRIPTS


def test_each_kind_of_input_counts_by_its_main_text() -> None:
    russian, english = "\u041f\u043e\u0435\u0437\u0434", "The train"
    counts = scripts_of(
        [
            TextInput(text=russian, text_pair=english),
            ChooseInput(context=russian, choices=(english, english)),
            SpanInput(question=english, context=russian),
            TagInput(tokens=("...", english)),
            TagInput(text=english),
        ]
    )
    assert counts == {"cyrillic": 3, "latin": 2}
