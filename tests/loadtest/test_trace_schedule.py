"""A schedule: read as written, and never accepted when a file of the trace was changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from loadtest.trace.items import Gold, Item, Role, TraceError, write_gold, write_items
from loadtest.trace.schedule import (
    Arrival,
    Header,
    Source,
    digest_of,
    load_trace,
    read_schedule,
    write_schedule,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEADER = Header(
    name="n",
    law="poisson:40",
    duration_s=30.0,
    seed=7,
    num_items=3,
    num_candidates=1,
    num_arrivals=3,
    items_sha256="",
    gold_sha256="",
    mix={"tasks": "items", "languages": "uniform"},
    selection={"limit": 3},
    options={},
    sources=(
        Source(task="xnli", languages=("en", "sw"), file="xnli/f.tsv", sha256="0", licence="L", gold=True),
    ),
    version="0.1.0",
    seeds={"root": 7},
)
ARRIVALS = (
    Arrival(i=0, t_us=0, item="a"),
    Arrival(i=1, t_us=18231, item="b"),
    Arrival(i=2, t_us=18231, item="a"),
)


def _item(name: str, role: Role = Role.ITEM) -> Item:
    return Item(id=name, task="tatoeba", language="fr", role=role, input={"text": name}, parameters={})


def _write(folder: Path, arrivals: Sequence[Arrival] = ARRIVALS, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    items = write_items(folder / "items.jsonl", [_item("a"), _item("b"), _item("c", Role.CANDIDATE)])
    gold = write_gold(folder / "gold.jsonl", [Gold(id="a", gold=["c"])])
    hashes = {"items_sha256": items, "gold_sha256": gold, "num_arrivals": len(arrivals)}
    write_schedule(folder / "schedule.jsonl", replace(HEADER, **{**hashes, **changes}), arrivals)
    return folder


def test_a_schedule_is_read_as_written(tmp_path: Path) -> None:
    _write(tmp_path)
    header, arrivals = read_schedule(tmp_path / "schedule.jsonl")
    assert arrivals == list(ARRIVALS)
    assert replace(header, items_sha256="", gold_sha256="") == HEADER


def test_the_hash_of_arrivals_is_of_their_lines_and_not_of_the_header(tmp_path: Path) -> None:
    path = _write(tmp_path) / "schedule.jsonl"
    lines = path.read_bytes().split(b"\n", maxsplit=1)[1]
    assert digest_of(ARRIVALS) == hashlib.sha256(lines).hexdigest()
    moved = [replace(ARRIVALS[0], t_us=ARRIVALS[0].t_us + 1), *ARRIVALS[1:]]
    assert digest_of(moved) != digest_of(ARRIVALS)


def test_the_first_line_is_a_header_with_its_schema_and_each_further_line_an_arrival(tmp_path: Path) -> None:
    lines = (_write(tmp_path) / "schedule.jsonl").read_text().splitlines()
    header = json.loads(lines[0])
    assert (header["kind"], header["schema"], header["seed"]) == ("header", "xtrace/1", 7)
    assert json.loads(lines[2]) == {"i": 1, "t_us": 18231, "item": "b"}


def test_a_trace_has_its_items_by_id_and_its_candidates_by_task(tmp_path: Path) -> None:
    trace = load_trace(_write(tmp_path))
    assert list(trace.items) == ["a", "b", "c"]
    assert [item.id for item in trace.candidates("tatoeba")] == ["c"]
    assert trace.candidates("lareqa") == []
    assert trace.gold_path == tmp_path / "gold.jsonl"
    assert trace.arrivals == ARRIVALS


@pytest.mark.parametrize("name", ["items.jsonl", "gold.jsonl"])
def test_a_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path) / name
    path.write_bytes(path.read_bytes().replace(b'"c"', b'"d"'))
    with pytest.raises(TraceError, match=rf"{name}: sha256 .* the file was changed"):
        load_trace(tmp_path)


@pytest.mark.parametrize("name", ["items.jsonl", "gold.jsonl", "schedule.jsonl"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (_write(tmp_path) / name).unlink()
    with pytest.raises(TraceError, match=rf"{name}: cannot be read"):
        load_trace(tmp_path)


def test_a_missing_trace_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="build a trace with"):
        load_trace(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("arrivals", "line", "words"),
    [
        ([Arrival(i=0, t_us=5, item="a"), Arrival(i=1, t_us=4, item="a")], 3, "in order of time"),
        ([Arrival(i=0, t_us=5, item="a"), Arrival(i=2, t_us=6, item="a")], 3, "numbered from 0"),
        ([Arrival(i=0, t_us=-1, item="a")], 2, "in order of time"),
        ([Arrival(i=0, t_us=0, item="z")], 2, r"z is no item of items\.jsonl"),
        ([Arrival(i=0, t_us=0, item="c")], 2, "c is a candidate"),
    ],
)
def test_a_wrong_arrival_is_named(tmp_path: Path, arrivals: list[Arrival], line: int, words: str) -> None:
    with pytest.raises(TraceError, match=rf"schedule\.jsonl:{line}: .*{words}"):
        load_trace(_write(tmp_path, arrivals))


def test_a_cut_schedule_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path) / "schedule.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(TraceError, match="2 arrivals, but the header says 3"):
        load_trace(tmp_path)


@pytest.mark.parametrize(
    ("first_line", "words"),
    [
        ("", "empty"),
        ('{"i": 0, "t_us": 0, "item": "a"}\n', r"1: no header of schema xtrace/1"),
        ('{"kind": "header", "schema": "xtrace/9"}\n', r"1: no header of schema xtrace/1"),
        ('{"kind": "header", "schema": "xtrace/1"}\n', r"1: the header is incomplete"),
    ],
)
def test_a_wrong_header_is_named(tmp_path: Path, first_line: str, words: str) -> None:
    path = tmp_path / "schedule.jsonl"
    path.write_text(first_line)
    with pytest.raises(TraceError, match=words):
        read_schedule(path)


def test_an_arrival_that_is_none_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path) / "schedule.jsonl"
    path.write_text(path.read_text().replace('"t_us":18231,"item":"b"', '"t_us":18231.5,"item":"b"'))
    with pytest.raises(TraceError, match=r"schedule\.jsonl:3: no arrival"):
        read_schedule(path)


def test_an_item_that_comes_twice_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path) / "items.jsonl"
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(TraceError, match=r"items\.jsonl:4: a comes twice"):
        load_trace(tmp_path)
