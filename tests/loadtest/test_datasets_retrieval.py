"""Tatoeba's pairs and Mewsli-X's mentions and entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from loadtest.datasets import mewslix, tatoeba
from loadtest.datasets.examples import CandidateExample, DataError, QueryExample
from loadtest.datasets.files import JsonLines, read_lines_file
from tests.loadtest.tiny_data import entity_line, mention_line, write, write_jsonl

if TYPE_CHECKING:
    from pathlib import Path


def _pair(
    tmp_path: Path, source: str, english: str, *, paired: bool = True
) -> tuple[list[QueryExample], list[CandidateExample]]:
    return tatoeba.read(
        read_lines_file(write(tmp_path / "tatoeba.fra-eng.fra", source)),
        read_lines_file(write(tmp_path / "tatoeba.fra-eng.eng", english)),
        paired=paired,
    )


def test_english_asks_and_the_line_of_the_same_number_answers(tmp_path: Path) -> None:
    queries, candidates = _pair(tmp_path, "Il neige. \nIl pleut.\n", "It snows.\nIt rains.\n")
    assert [(query.text, query.keys) for query in queries] == [("It snows.", ("0",)), ("It rains.", ("1",))]
    assert [(c.name, c.text, c.keys) for c in candidates] == [
        ("c000000", "Il neige.", ("0",)),
        ("c000001", "Il pleut.", ("1",)),
    ]


def test_files_that_are_not_paired_have_no_gold(tmp_path: Path) -> None:
    queries, _ = _pair(tmp_path, "a\nb\n", "c\nd\n", paired=False)
    assert [query.keys for query in queries] == [(), ()]


@pytest.mark.parametrize(
    ("source", "english", "shorter", "line"),
    [
        ("a\nb\n", "c\n", "tatoeba.fra-eng.eng", 2),
        ("a\n", "c\nd\ne\n", "tatoeba.fra-eng.fra", 2),
    ],
)
def test_unequal_numbers_of_lines_name_the_shorter_file(
    tmp_path: Path, source: str, english: str, shorter: str, line: int
) -> None:
    with pytest.raises(DataError, match="fetch both again") as caught:
        _pair(tmp_path, source, english)
    assert str(caught.value).startswith(f"{tmp_path / shorter}:{line}: ")


def test_an_empty_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tatoeba\.fra-eng\.eng:2: an empty line"):
        _pair(tmp_path, "a\nb\nc\n", "d\n\nf\n")


def _mentions(tmp_path: Path, *records: Any) -> dict[str, list[QueryExample]]:
    return mewslix.read_mentions(JsonLines(write_jsonl(tmp_path / "mentions.jsonl", records)))


def test_the_mention_is_marked_in_its_sentence_and_set_before_it(tmp_path: Path) -> None:
    # The form that the data set's baseline documents: "Smith: The verdict came back for { Smith } , who ..".
    record = mention_line("en", "Rain fell. The mayor of Bergen , Ada, spoke.", "Bergen", "Q26793")
    record["context"]["sentence_spans"] = [{"start": 0, "end": 10}, {"start": 11, "end": 44}]
    assert _mentions(tmp_path, record) == {
        "en": [QueryExample(text="Bergen: The mayor of { Bergen } , Ada, spoke.", keys=("Q26793",))]
    }


def test_braces_of_the_text_become_parentheses_and_newlines_spaces(tmp_path: Path) -> None:
    record = mention_line("en", "In {the}\ncity of Oslo\u2028{now} it rains.", "Oslo", "Q585")
    (query,) = _mentions(tmp_path, record)["en"]
    assert query.text == "Oslo: In (the) city of { Oslo } (now) it rains."


def test_trap_the_blank_entities_of_the_benchmark_are_no_gold(tmp_path: Path) -> None:
    (query,) = _mentions(tmp_path, mention_line("tr", "Oslo soğuk.", "Oslo", ""))["tr"]
    assert query.keys == ()


def _crossing(record: dict[str, Any]) -> dict[str, Any]:
    record["context"]["sentence_spans"] = [{"start": 0, "end": 4}, {"start": 4, "end": 12}]
    return record


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (mention_line("fr", "Il neige à Oslo.", "Oslo", "Q585"), "unknown language 'fr'"),
        ({"context": {"language": "en", "text": "", "sentence_spans": []}, "mentions": []}, "has no text"),
        (_crossing(mention_line("en", "In Oslo now.", "Oslo", "Q585")), "lies in no sentence"),
        ({"mentions": []}, "no 'context'"),
    ],
)
def test_a_broken_article_is_named(tmp_path: Path, record: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        _mentions(tmp_path, mention_line("en", "Oslo.", "Oslo", "Q585"), record)
    assert str(caught.value).startswith(f"{tmp_path / 'mentions.jsonl'}:2: ")


def test_an_entity_is_its_descriptions_sentences_on_one_line(tmp_path: Path) -> None:
    record = entity_line("Q585", "no", "Oslo er en by.\nDen ligger ved en fjord. Mer tekst.")
    record["description_language"] = "sw"
    record["sentence_spans"] = [{"start": 0, "end": 14}, {"start": 15, "end": 39}]
    lines = JsonLines(write_jsonl(tmp_path / "entities.jsonl", [record]))
    (entity,) = mewslix.read_entities(lines)
    assert entity.language == "sw"
    assert entity.candidate == CandidateExample(
        name="Q585", text="Oslo er en by. Den ligger ved en fjord.", context=None, keys=("Q585",)
    )


def test_an_entity_in_a_language_outside_the_fifty_is_named(tmp_path: Path) -> None:
    records = [entity_line("Q1", "de", "Ein Berg."), entity_line("Q2", "sv", "En stad.")]
    lines = JsonLines(write_jsonl(tmp_path / "entities.jsonl", records))
    with pytest.raises(DataError, match=r"entities\.jsonl:2: unknown language 'sv'"):
        list(mewslix.read_entities(lines))
