"""Questions on contexts, and LAReQA's sentences."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from loadtest.datasets import lareqa, squad
from loadtest.datasets.examples import CandidateExample, DataError, QueryExample, QuestionExample
from loadtest.datasets.files import read_json_file
from tests.loadtest.tiny_data import squad as document_of
from tests.loadtest.tiny_data import write, write_json

if TYPE_CHECKING:
    from pathlib import Path

HARBOUR = "The harbour opened in 1901. It has two piers. It has two piers."


def _read(tmp_path: Path, document: Any) -> list[QuestionExample]:
    return squad.read(*read_json_file(write_json(tmp_path / "questions.json", document)))


def _lareqa(tmp_path: Path, document: Any) -> tuple[list[QueryExample], list[CandidateExample]]:
    return lareqa.read(*read_json_file(write_json(tmp_path / "en.json", document)))


def _questions(*triples: tuple[str, str, str], **extra: Any) -> dict[str, Any]:
    return document_of((HARBOUR, triples), **extra)


def test_a_question_has_its_context_and_its_answers(tmp_path: Path) -> None:
    assert _read(tmp_path, _questions(("q1", "When?", "1901"))) == [
        QuestionExample(question="When?", context=HARBOUR, answers=("1901",), unit="q1")
    ]


def test_answers_are_kept_once_in_their_order(tmp_path: Path) -> None:
    document = _questions(("q1", "When?", "1901"))
    document["data"][0]["paragraphs"][0]["qas"][0]["answers"] = [
        {"text": text, "answer_start": 0} for text in ("in 1901", "1901", "in 1901")
    ]
    assert _read(tmp_path, document)[0].answers == ("in 1901", "1901")


def test_trap_the_empty_answers_that_the_benchmark_leaves_are_no_gold(tmp_path: Path) -> None:
    assert _read(tmp_path, _questions(("q1", "When?", "")))[0].answers == ()


def test_one_file_of_tydiqa_is_shared_out_by_the_language_in_each_id(tmp_path: Path) -> None:
    document = _questions(("swahili-7-0", "Lini?", "1901"), ("english--3-1", "When?", "1901"))
    path = write_json(tmp_path / "tydiqa.json", document)
    found = squad.read_by_language(*read_json_file(path))
    assert {code: [e.question for e in examples] for code, examples in found.items()} == {
        "sw": ["Lini?"],
        "en": ["When?"],
    }


def test_an_unknown_language_in_an_id_is_named_with_file_and_line(tmp_path: Path) -> None:
    document = _questions(("english-1-0", "When?", "1901"), ("klingon-2-0", "ghorgh?", "1901"))
    path = write_json(tmp_path / "tydiqa.json", document)
    with pytest.raises(DataError, match="unknown language in id 'klingon-2-0'") as caught:
        squad.read_by_language(*read_json_file(path))
    line = caught.value.line
    assert line is not None
    assert "ghorgh?" in path.read_text().split("\n")[line - 1]


def _without(key: str, document: dict[str, Any], *steps: str | int) -> dict[str, Any]:
    inner: Any = document
    for step in steps:
        inner = inner[step]
    del inner[key]
    return document


PARAGRAPH = ("data", 0, "paragraphs", 0)


@pytest.mark.parametrize(
    ("key", "steps", "words"),
    [
        ("data", (), "no 'data'"),
        ("paragraphs", ("data", 0), r"data\[0\]: no 'paragraphs'"),
        ("context", PARAGRAPH, r"data\[0\]\.paragraphs\[0\]: no 'context'"),
        ("qas", PARAGRAPH, r"data\[0\]\.paragraphs\[0\]: no 'qas'"),
        ("question", (*PARAGRAPH, "qas", 0), r"paragraphs\[0\]\.qas\[0\]: no 'question'"),
        ("answers", (*PARAGRAPH, "qas", 0), r"qas\[0\]: no 'answers'"),
    ],
)
def test_a_missing_part_is_named_with_its_place_and_line(
    tmp_path: Path, key: str, steps: tuple[str | int, ...], words: str
) -> None:
    document = _without(key, _questions(("q1", "When?", "1901")), *steps)
    with pytest.raises(DataError, match=words) as caught:
        _read(tmp_path, document)
    assert str(caught.value).startswith(f"{tmp_path / 'questions.json'}:")
    if key in ("question", "answers"):
        line = caught.value.line
        assert line is not None
        assert HARBOUR in (tmp_path / "questions.json").read_text().split("\n")[line - 1]


def test_the_line_of_a_fault_is_found_in_escaped_json_too(tmp_path: Path) -> None:
    document = document_of(("Der Hafen öffnete 1901.", [("q", "Wann?", "1901")]))
    del document["data"][0]["paragraphs"][0]["qas"][0]["question"]
    path = write(tmp_path / "escaped.json", json.dumps(document, indent=1))
    with pytest.raises(DataError) as caught:
        squad.read(*read_json_file(path))
    line = caught.value.line
    assert line is not None
    assert "\\u00f6ffnete" in path.read_text().split("\n")[line - 1]


BREAKS = [[0, 27], [28, 45], [46, 63]]


def test_every_sentence_is_a_candidate_and_the_answering_one_carries_the_question(tmp_path: Path) -> None:
    queries, candidates = _lareqa(tmp_path, _questions(("q1", "When?", "1901"), sentence_breaks=BREAKS))
    assert queries == [QueryExample(text="When?", keys=("q1",), unit="q1")]
    assert [(c.name, c.text, c.context, c.keys) for c in candidates] == [
        ("c000000", "The harbour opened in 1901.", HARBOUR, ("q1",)),
        ("c000001", "It has two piers.", HARBOUR, ()),
        ("c000002", "It has two piers.", HARBOUR, ()),
    ]


def test_equal_sentences_of_a_paragraph_all_answer(tmp_path: Path) -> None:
    _, candidates = _lareqa(tmp_path, _questions(("q1", "How many?", "two"), sentence_breaks=BREAKS))
    assert [c.keys for c in candidates] == [(), ("q1",), ("q1",)]


def test_a_question_answered_in_no_sentence_is_left_out(tmp_path: Path) -> None:
    queries, candidates = _lareqa(tmp_path, _questions(("q1", "When?", "1901"), sentence_breaks=[[28, 45]]))
    assert queries == []
    assert len(candidates) == 1


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        ([[0, 27], [28, 99]], "is no span inside a text of 63 characters"),
        ([[5, 2]], "is no span"),
        ([[1]], "is no span"),
        (None, "no 'sentence_breaks'"),
    ],
)
def test_sentences_outside_their_context_are_refused(tmp_path: Path, breaks: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        _lareqa(tmp_path, _questions(("q1", "When?", "1901"), sentence_breaks=breaks))
