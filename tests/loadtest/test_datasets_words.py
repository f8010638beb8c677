"""Words and tags: WikiANN-NER in three spellings, and CoNLL-U as XTREME converts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.datasets import conllu, tagged
from loadtest.datasets.examples import DataError, WordsExample
from loadtest.datasets.files import TextFile, read_lines_file
from loadtest.datasets.tasks import ENTITY_LABELS
from tests.loadtest.tiny_data import write


def _tagged(tmp_path: Path, text: str, prefix: str | None = None) -> list[WordsExample]:
    file = read_lines_file(write(tmp_path / "words.tsv", text))
    return tagged.read(file, labels=ENTITY_LABELS, language_prefix=prefix)


def _conllu(tmp_path: Path, text: str, language: str = "en") -> list[WordsExample]:
    return conllu.read(read_lines_file(write(tmp_path / "bank.conllu", text)), language=language)


def _row(identity: str, form: str, tag: str = "_", head: str = "_") -> str:
    return f"{identity}\t{form}\t_\t{tag}\t_\t_\t{head}\t_\t_\t_\n"


def test_upstream_words_carry_their_language_and_may_hold_a_colon(tmp_path: Path) -> None:
    text = "en:Ada\tB-PER\nen:Lovelace\tI-PER\nen:10:30\tO\n\nen:Oslo\tB-LOC\n"
    assert _tagged(tmp_path, text, "en") == [
        WordsExample(words=("Ada", "Lovelace", "10:30"), tags=("B-PER", "I-PER", "O")),
        WordsExample(words=("Oslo",), tags=("B-LOC",)),
    ]


def test_stripped_words_have_no_tags_and_keep_what_looks_like_a_prefix(tmp_path: Path) -> None:
    assert _tagged(tmp_path, "en:Ada\nwrote\n\nOslo\n\n") == [
        WordsExample(words=("en:Ada", "wrote"), tags=None),
        WordsExample(words=("Oslo",), tags=None),
    ]


@given(st.lists(st.sampled_from(["a", "b c", "", " ", "  x ", "\u200c"]), max_size=12))
def test_words_alone_are_the_lines_between_blank_ones(lines: list[str]) -> None:
    file = TextFile(path=Path("words.tsv"), text="".join(f"{line}\n" for line in lines), sha256="")
    expected: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            expected[-1].append(line.strip())
        else:
            expected.append([])
    found = tagged.read(file, labels=ENTITY_LABELS)
    assert [list(example.words) for example in found] == [words for words in expected if words]


def test_words_with_tags_as_in_training_files_have_gold(tmp_path: Path) -> None:
    assert _tagged(tmp_path, "Oslo\tB-LOC\n") == [WordsExample(words=("Oslo",), tags=("B-LOC",))]


def test_two_blank_lines_in_a_row_make_no_sentence(tmp_path: Path) -> None:
    assert len(_tagged(tmp_path, "\n\na\n\n\nb\n\n\n")) == 2


@pytest.mark.parametrize(
    ("text", "prefix", "line", "words"),
    [
        ("Oslo\tB-LOC\nferry\n", None, 2, "1 columns, the first line has 2"),
        ("Oslo\nferry\tO\n", None, 2, "2 columns, the first line has 1"),
        ("a\tO\tx\n", None, 1, "3 columns"),
        ("Oslo\tB-CITY\n", None, 1, "tag 'B-CITY'"),
        ("en:Oslo\tB-LOC\n\nde:Oslo\tB-LOC\n", "en", 3, "language 'de' in the file of 'en'"),
        ("Oslo\tB-LOC\n", "en", 1, "no language before the word"),
    ],
)
def test_a_broken_line_of_words_is_named(
    tmp_path: Path, text: str, prefix: str | None, line: int, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        _tagged(tmp_path, text, prefix)
    assert caught.value.line == line


def test_comments_and_empty_nodes_are_no_words(tmp_path: Path) -> None:
    text = "# text = x\n" + _row("1", "Boats", "NOUN", "2") + _row("2", "sail", "VERB", "0")
    text += _row("2.1", "quietly", "ADV") + _row("3", "home", "ADV", "2") + "\n"
    assert _conllu(tmp_path, text) == [
        WordsExample(words=("Boats", "sail", "home"), tags=("NOUN", "VERB", "ADV"))
    ]


def test_a_fused_token_is_one_word_with_the_tag_of_its_part_nearest_the_root(tmp_path: Path) -> None:
    # "va-t'en": va <- root, t' and en hang from it.
    text = _row("1-3", "va-t'en", "_") + _row("1", "va", "VERB", "0") + _row("2", "te", "PRON", "1")
    text += _row("3", "en", "ADV", "1") + _row("4", "vite", "ADV", "1") + "\n"
    assert _conllu(tmp_path, text, "fr") == [WordsExample(words=("va-t'en", "vite"), tags=("VERB", "ADV"))]


@pytest.mark.parametrize(
    ("language", "tags", "chosen"),
    [
        ("fr", ("DET", "ADP"), "ADP"),  # ADP before DET in every list
        ("es", ("NOUN", "DET"), "DET"),  # Spanish ranks no NOUN at all, so it comes last
        ("de", ("DET", "NOUN"), "NOUN"),  # the default list
        ("it", ("ADP", "ADV"), "ADV"),
        ("en", ("PUNCT", "SYM"), "PUNCT"),  # SYM is in no list
    ],
)
def test_parts_equally_near_the_root_are_ranked_by_the_languages_list(
    tmp_path: Path, language: str, tags: tuple[str, str], chosen: str
) -> None:
    text = _row("1", "word", "NOUN", "0") + _row("2-3", "fused") + _row("2", "a", tags[0], "1")
    text += _row("3", "b", tags[1], "1") + "\n"
    (example,) = _conllu(tmp_path, text, language)
    assert example == WordsExample(words=("word", "fused"), tags=("NOUN", chosen))


def test_spaces_and_zero_width_non_joiners_leave_a_word(tmp_path: Path) -> None:
    text = _row("1", "10 000", "NUM", "0") + _row("2", "می\u200cرود", "VERB", "1") + "\n"
    (example,) = _conllu(tmp_path, text, "fa")
    assert example.words == ("10000", "میرود")


def test_a_sentence_whose_words_are_withheld_is_left_out(tmp_path: Path) -> None:
    withheld = _row("1", "_", "NOUN", "0") + _row("2", "_", "VERB", "1") + _row("3", "_", "X", "1") + "\n"
    kept = (
        _row("1", "Boats", "NOUN", "0") + _row("2", "_", "SYM", "1") + _row("3", "sail", "VERB", "1") + "\n"
    )
    assert [example.words for example in _conllu(tmp_path, withheld + kept)] == [("Boats", "_", "sail")]


def test_several_sentences_and_a_missing_last_blank_line(tmp_path: Path) -> None:
    text = _row("1", "Rain", "NOUN", "0") + "\n\n# c\n" + _row("1", "Snow", "NOUN", "0")
    assert [example.words for example in _conllu(tmp_path, text)] == [("Rain",), ("Snow",)]


GOOD = _row("1", "Boats", "NOUN", "0")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (GOOD + "2\tsail\tVERB\n\n", 2, "3 columns; a CoNLL-U line has 10"),
        (GOOD + _row("3", "sail", "VERB", "1") + "\n", 2, "id '3'; expected 2"),
        (GOOD + _row("two", "sail", "VERB", "1") + "\n", 2, "id 'two'; expected 2"),
        (GOOD + _row("2", "sail", "WORD", "1") + "\n", 2, "tag 'WORD'"),
        (GOOD + _row("2", "sail", "VERB", "_") + "\n", 2, "head '_' is no number"),
        (GOOD + _row("2", "sail", "VERB", "9") + "\n", 3, "refers to word 9; the file was cut"),
        (GOOD + _row("2-3", "du") + _row("2", "de", "ADP", "1") + "\n", 4, "refers to word 3"),
        (GOOD + "2\tsa", 2, "ends inside a line"),
    ],
)
def test_a_broken_conllu_line_is_named(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        _conllu(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'bank.conllu'}:{line}: ")
