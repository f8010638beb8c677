"""What a benchmark keeps of finished cells, and how it goes on after it was stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.peers_store import Store, StoreError

if TYPE_CHECKING:
    from pathlib import Path

CELL = ("cell", "infinity", "0", "classify xnli closed 16")


def test_what_was_finished_is_there_after_a_new_start(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "quick.jsonl"
    first = Store(path)
    assert CELL not in first
    first.put(CELL, throughput_per_s=7.5)
    first.put(("cell", "ray", "0", "x"), throughput_per_s=1.0)
    again = Store(path)
    assert CELL in again
    assert again.get(*CELL) == {"key": list(CELL), "throughput_per_s": 7.5}
    assert [one["key"][1] for one in again.under("cell")] == ["infinity", "ray"]
    assert again.under("cell", "ray", "1") == []


def test_the_later_of_two_lines_counts(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.jsonl")
    store.put(CELL, n=1)
    store.put(CELL, n=2)
    assert Store(tmp_path / "a.jsonl").under("cell") == [{"key": list(CELL), "n": 2}]


def test_a_line_that_a_kill_cut_off_is_measured_again_and_not_glued_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    Store(path).put(("visit", "ray", "0"), wall_s=1)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": ["cell", "ray", "0", "x"], "through')
    store = Store(path)
    assert store.under("cell") == []
    store.put(CELL, n=3)
    assert [one["key"][0] for one in Store(path).under()] == ["visit", "cell"]


def test_a_file_of_something_else_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"key": ["setup"]}\nsomething else\n{"key": ["visit"]}\n', encoding="utf-8")
    with pytest.raises(StoreError, match=r"a\.jsonl:2: no record; move the file away"):
        Store(path)
