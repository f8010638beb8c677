"""Source tables of the sample: a broken one is refused with its file and its text."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from scripts.bundled.build import SOURCES, sample_files
from scripts.bundled.source import SourceError, read_languages
from scripts.bundled.spans import lay

if TYPE_CHECKING:
    from pathlib import Path

BREAKS = [
    (
        "de",
        'answer = "dreißig Meter"',
        'answer = "vierzig Meter"',
        r"de\.toml: .*'vierzig Meter' stands in \[\]",
    ),
    ("de", 'sentence = 1, question = "Wie hoch', 'sentence = 2, question = "Wie hoch', r"expected once in 2"),
    ("de", "Jonas|PROPN|B-PER", "Jonas|PROPN|I-ORG", r"entity tag 'I-ORG' after 'O'"),
    ("de", "wohnt|VERB", "wohnt|V", r"UPOS tags \['V'\]"),
    ("de", "wohnt|VERB", "wohnt", r"UPOS tags \[''\]"),
    ("de", 'mention = "Tokio"', 'mention = "Osaka"', r"mention 'Osaka' does not stand exactly once"),
    ("de", '"Ich trinke jeden Morgen Tee."', '"Ich trinke\\tTee."', r"not one tidy line"),
    ("de", 'entity = "Q9000000261"', 'entity = "Q1"', r"no table has the entity Q1"),
    ("de", 'id = "Q9000000111"', 'id = "Q9000000112"', r"Q9000000112.* stand in two tables"),
    ("de", '  "Ich trinke jeden Morgen Tee.",\n', "", r"de\.toml has 3 translations; en\.toml has 4"),
    ("de", '{ id = "built"', '{ id = "year"', r"de\.toml: passages differ from en\.toml"),
    ("it", "label = 1", "label = 2", r"with label 2"),
    ("it", "[[copa]]", "[[other]]", r"it\.toml has 0 items for XCOPA; it needs 2"),
    ("wo", 'name = "Wolof"', "", r"wo\.toml: KeyError: 'name'"),
    ("wo", 'name = "Wolof"', "name = Wolof", r"wo\.toml: TOMLDecodeError"),
]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for path in SOURCES.glob("*.toml"):
        shutil.copy(path, tmp_path)
    return tmp_path


@pytest.mark.parametrize(("code", "old", "new", "message"), BREAKS)
def test_a_broken_table_is_refused(tables: Path, code: str, old: str, new: str, message: str) -> None:
    path = tables / f"{code}.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(SourceError, match=message):
        list(sample_files(read_languages(tables)))


def test_a_missing_table_is_refused(tables: Path) -> None:
    (tables / "sw.toml").unlink()
    with pytest.raises(SourceError, match=r"sw\.toml is missing"):
        read_languages(tables)


def test_offsets_count_code_points() -> None:
    laid = lay(["😀 灯塔.", "Ende."], " ")
    assert laid.text == "😀 灯塔. Ende."
    assert laid.spans == ((0, 5), (6, 11))
    assert laid.offset(0, "灯") == 2
    assert laid.offset(1, "Ende") == 6
