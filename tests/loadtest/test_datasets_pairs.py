"""XNLI and XCOPA, upstream and as XTREME's preparation leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtest.datasets import xcopa, xnli
from loadtest.datasets.examples import ChoiceExample, DataError, PairExample
from loadtest.datasets.files import JsonLines, read_lines_file
from tests.loadtest.tiny_data import XNLI_HEADER, write, write_jsonl, xnli_line

if TYPE_CHECKING:
    from pathlib import Path


def _upstream(tmp_path: Path, *lines: str) -> dict[str, list[PairExample]]:
    path = write(tmp_path / "xnli.test.tsv", "\n".join([XNLI_HEADER, *lines]) + "\n")
    return xnli.read_upstream(read_lines_file(path))


def _stripped(tmp_path: Path, text: str) -> list[PairExample]:
    return xnli.read_stripped(read_lines_file(write(tmp_path / "test-en.tsv", text)))


def test_the_upstream_file_holds_every_language_with_labels(tmp_path: Path) -> None:
    found = _upstream(
        tmp_path,
        xnli_line("sw", "neutral", "Jua liliwaka.", "Ilikuwa asubuhi."),
        xnli_line("en", "entailment", "The sun shone.", "It was day."),
        xnli_line("sw", "contradiction", "Jua liliwaka.", "Ilikuwa usiku."),
    )
    assert found == {
        "sw": [
            PairExample(premise="Jua liliwaka.", hypothesis="Ilikuwa asubuhi.", label="neutral"),
            PairExample(premise="Jua liliwaka.", hypothesis="Ilikuwa usiku.", label="contradiction"),
        ],
        "en": [PairExample(premise="The sun shone.", hypothesis="It was day.", label="entailment")],
    }


def test_the_label_that_another_release_spells_contradictory_is_contradiction(tmp_path: Path) -> None:
    found = _upstream(tmp_path, xnli_line("en", "contradictory", "It rains.", "It is dry."))
    assert found["en"][0].label == "contradiction"


def test_the_stripped_file_has_no_gold_and_invents_none(tmp_path: Path) -> None:
    assert _stripped(tmp_path, "It rains.\tIt is wet.\r\nIt rains.\tIt is dry.\r\n") == [
        PairExample(premise="It rains.", hypothesis="It is wet.", label=None),
        PairExample(premise="It rains.", hypothesis="It is dry.", label=None),
    ]


def test_quotes_are_text_since_the_benchmark_reads_its_files_without_quoting(tmp_path: Path) -> None:
    (example,) = _stripped(tmp_path, '"He said ""no"""\tHe said no.\n')
    assert example.premise == '"He said ""no"""'


def test_a_third_column_is_a_label(tmp_path: Path) -> None:
    (example,) = _stripped(tmp_path, "It rains.\tIt is wet.\tentailment\n")
    assert example.label == "entailment"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (xnli_line("xx", "neutral", "a", "b"), "unknown language 'xx'"),
        (xnli_line("en", "maybe", "a", "b"), "label 'maybe'"),
        ("en\tneutral\ta\tb", "4 columns"),
    ],
)
def test_a_broken_upstream_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        _upstream(tmp_path, xnli_line("en", "neutral", "a", "b"), line)
    assert str(caught.value).startswith(f"{tmp_path / 'xnli.test.tsv'}:3: ")


def test_a_file_without_header_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "xnli.test.tsv", xnli_line("en", "neutral", "a", "b") + "\n")
    with pytest.raises(DataError, match=r"xnli\.test\.tsv:1: no XNLI header"):
        xnli.read_upstream(read_lines_file(path))


@pytest.mark.parametrize("line", ["one column", "four\tof\tthem\there", "a\tb\tmaybe"])
def test_a_broken_stripped_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"test-en\.tsv:2: "):
        _stripped(tmp_path, f"a\tb\n{line}\n")


def _choice(label: int | None, question: str = "cause") -> dict[str, object]:
    record = {"premise": "p", "choice1": "a", "choice2": "b", "question": question, "idx": 0, "label": label}
    return {key: value for key, value in record.items() if value is not None}


def _xcopa(tmp_path: Path, *records: dict[str, object], stripped: bool = False) -> list[ChoiceExample]:
    path = write_jsonl(tmp_path / "test.et.jsonl", records)
    return xcopa.read(JsonLines(path), stripped=stripped)


def test_a_premise_has_two_choices_and_the_index_of_the_right_one(tmp_path: Path) -> None:
    assert _xcopa(tmp_path, _choice(1, "effect"), _choice(0)) == [
        ChoiceExample(premise="p", question="effect", choices=("a", "b"), label=1),
        ChoiceExample(premise="p", question="cause", choices=("a", "b"), label=0),
    ]


def test_trap_labels_that_the_benchmark_set_to_zero_are_no_gold(tmp_path: Path) -> None:
    in_its_layout = _xcopa(tmp_path, _choice(0), _choice(0), stripped=True)
    many = _xcopa(tmp_path, *[_choice(0)] * xcopa.MIN_ALL_ZERO)
    assert {example.label for example in (*in_its_layout, *many)} == {None}


def test_labels_that_may_well_all_be_zero_by_chance_are_gold(tmp_path: Path) -> None:
    few = _xcopa(tmp_path, _choice(0), _choice(0))
    mixed = _xcopa(tmp_path, *[_choice(0)] * xcopa.MIN_ALL_ZERO, _choice(1), stripped=True)
    assert [example.label for example in (*few, *mixed)] == [0] * (2 + xcopa.MIN_ALL_ZERO) + [1]


def test_a_line_without_label_has_no_gold(tmp_path: Path) -> None:
    (example,) = _xcopa(tmp_path, _choice(None))
    assert example.label is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"premise": None}, "no 'premise'"),
        ({"choice2": 7}, "'choice2' is not text"),
        ({"question": "reason"}, "question 'reason'"),
        ({"label": 2}, "label 2"),
        ({"label": "1"}, "'label' is not a whole number"),
    ],
)
def test_a_broken_record_is_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        _xcopa(tmp_path, _choice(1), {**_choice(1), **change})
    assert str(caught.value).startswith(f"{tmp_path / 'test.et.jsonl'}:2: ")
