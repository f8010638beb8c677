"""Texts of a given length, and how a benchmark of growth goes on where it was stopped, without servers."""

from __future__ import annotations

import argparse
import time
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.peers_store import Store
from benchmarks.scale_parts import CASES, Bench, key_of, text_of
from loadtest.datasets.library import BUNDLED
from models.synthetic import Size

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("length", [16, 32, 512])
def test_a_text_is_as_long_as_asked_though_words_are_longer_than_all_of_it(length: int) -> None:
    words = cycle(["x" * 400, "abc", "de", "x" * 15, "z"])
    text = text_of(length, words, len)
    assert sum(map(len, text.split())) + 2 == length


def test_a_text_is_never_empty() -> None:
    assert text_of(16, cycle([*["x" * 15] * 500, "abcde"]), len) == "abcde"


def arguments(folder: Path, **more: Any) -> argparse.Namespace:
    given = {"size": Size.MINI, "seed": 0, "requests": 10, "tokens": 64, "load_s": 1.0, "data": BUNDLED}
    return argparse.Namespace(**(given | {"repeats": 2, "models": folder} | more))


def fill(store: Store, given: argparse.Namespace, part: str) -> None:
    for repeat in range(given.repeats):
        for case in CASES[part]:
            store.put(key_of(given, part, repeat, case), cell=case | {"repeat": repeat})


@pytest.mark.anyio
@pytest.mark.parametrize("part", list(CASES))
async def test_a_part_that_is_whole_starts_no_server(part: str, tmp_path: Path) -> None:
    given, store = arguments(tmp_path), Store(tmp_path / "kept.jsonl")
    fill(store, given, part)
    # A server would be given a catalogue in this folder, which is no folder.
    given.models = tmp_path / "kept.jsonl"
    assert await Bench(given, tmp_path, time.monotonic() + 1e6, lambda: None).run(part, store)


@pytest.mark.anyio
async def test_other_settings_are_another_measurement_and_what_does_not_fit_is_not_begun(
    tmp_path: Path,
) -> None:
    given, store = arguments(tmp_path), Store(tmp_path / "kept.jsonl")
    fill(store, given, "length")
    other = arguments(tmp_path, seed=1)
    assert not await Bench(other, tmp_path, time.monotonic() + 1.0, lambda: None).run("length", store)
    assert await Bench(given, tmp_path, time.monotonic() + 1.0, lambda: None).run("length", store)
