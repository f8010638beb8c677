"""Items and gold answers: what is written is read, and what is damaged is named."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.trace.items import (
    Gold,
    Item,
    Role,
    TraceError,
    item_from,
    json_line,
    read_gold,
    read_items,
    write_gold,
    write_items,
)

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.trace.items import GoldAnswer

ITEM = Item(
    id="xnli/sw/000412",
    task="xnli",
    language="sw",
    role=Role.ITEM,
    input={"text": "Mvua.", "text_pair": "Jua."},
    parameters={"max_tokens": 128},
)
LINE = (
    '{"id":"xnli/sw/000412","task":"xnli","language":"sw","role":"item",'
    '"input":{"text":"Mvua.","text_pair":"Jua."},"parameters":{"max_tokens":128}}\n'
)


def test_an_item_is_this_line() -> None:
    assert ITEM.to_line() == LINE.encode()


def test_a_gold_answer_is_this_line() -> None:
    assert Gold(id="a", gold=["x", "y"]).to_line() == b'{"id":"a","gold":["x","y"]}\n'
    assert Gold(id="a", gold=1, unit="q7").to_line() == b'{"id":"a","gold":1,"unit":"q7"}\n'


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_any_text_survives_a_line_even_half_a_surrogate_pair(text: str) -> None:
    line = json_line({"id": text})
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"id": text}


def test_files_are_read_as_written_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    assert write_items(path, [ITEM]) == hashlib.sha256(LINE.encode()).hexdigest()
    assert list(read_items(path)) == [ITEM]


def test_gold_answers_of_every_kind_are_read_as_written(tmp_path: Path) -> None:
    answers: dict[str, GoldAnswer] = {"a": "neutral", "b": 1, "c": ["B-PER", "O"], "d": ["xyz/c1"]}
    path = tmp_path / "gold.jsonl"
    gold = {key: Gold(id=key, gold=value) for key, value in answers.items()}
    digest = write_gold(path, gold.values())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert read_gold(path) == gold


def test_what_translations_share_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    units = {"mlqa/en/000004": "q1", "mlqa/de/000001": "q1"}
    write_gold(
        path, [*(Gold(id=key, gold=["x"], unit=unit) for key, unit in units.items()), Gold(id="c", gold=1)]
    )
    read = read_gold(path)
    assert {key: answer.unit for key, answer in read.items()} == {**units, "c": ""}
    assert {key: answer.gold for key, answer in read.items()} == {
        "mlqa/en/000004": ["x"],
        "mlqa/de/000001": ["x"],
        "c": 1,
    }


def _changed(**changes: Any) -> str:
    return json.dumps(
        {key: value for key, value in {**json.loads(LINE), **changes}.items() if value is not None}
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (LINE[:40], "not JSON"),
        ("[1]", "not a JSON object"),
        (_changed(input=None), "it lacks input"),
        (_changed(role="warm-up"), "role 'warm-up'; known are item, query, candidate"),
        (_changed(input=[]), "must be JSON objects"),
    ],
)
def test_a_damaged_item_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(LINE + line)
    with pytest.raises(TraceError, match=words) as caught:
        list(read_items(path))
    assert str(caught.value).startswith(f"{path}:2: ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"id": "b"}', "no gold answer"),
        ('{"id": "b", "gold": [1]}', "no gold answer"),
        ('{"id": "b", "gold": true}', "no gold answer"),
        ('{"id": "b", "gold": 1, "unit": 2}', "no gold answer"),
        ('{"id": "a", "gold": 1}', "a has an answer already"),
    ],
)
def test_a_damaged_gold_answer_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text('{"id": "a", "gold": 0}\n' + line)
    with pytest.raises(TraceError, match=words) as caught:
        read_gold(path)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"gold\.jsonl: cannot be read"):
        read_gold(tmp_path / "gold.jsonl")


def test_an_item_keeps_whatever_its_input_holds() -> None:
    record = json.loads(LINE) | {"input": {"tokens": ["a", "b"]}, "role": "query"}
    item = item_from(record, path=None, number=1)  # type: ignore[arg-type]  # only named in errors
    assert item.input == {"tokens": ["a", "b"]}
    assert item.role is Role.QUERY
