"""The texts that service and peers get, from the bundled sample."""

from __future__ import annotations

import pytest

from benchmarks.peers_grid import Kind, Mix
from benchmarks.peers_systems import systems
from benchmarks.peers_trace import MAX_TOKENS, SEPARATOR, Item, build, digest_of
from loadtest.datasets.library import BUNDLED, open_library
from models.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.bundled()


@pytest.mark.parametrize("mix", list(Mix))
def test_the_same_seed_gives_the_same_texts_and_another_seed_others(mix: Mix, tokenizer: Tokenizer) -> None:
    library = open_library(BUNDLED)
    first, again, other = (build(mix, library, tokenizer, seed) for seed in (0, 0, 1))
    assert first
    assert digest_of(first) == digest_of(again) != digest_of(other)
    assert max(item.num_tokens for item in first) <= MAX_TOKENS


def test_each_three_of_the_mix_have_one_single_text(tokenizer: Tokenizer) -> None:
    items = build(Mix.MIXED, open_library(BUNDLED), tokenizer, seed=0)
    assert len(items) % 3 == 0
    for start in range(0, len(items), 3):
        three = items[start : start + 3]
        assert [item.text_pair for item in three].count(None) == 1


def test_a_pair_reaches_a_server_that_knows_none_as_the_same_tokens(tokenizer: Tokenizer) -> None:
    (infinity,) = [system for system in systems() if system.name == "infinity"]
    for item in build(Mix.XNLI, open_library(BUNDLED), tokenizer, seed=0):
        joined = infinity.ask(Kind.CLASSIFY, item)["input"][0]
        assert joined == f"{item.text}{SEPARATOR}{item.text_pair}"
        assert len(tokenizer.encode([joined])[0]) + 2 == item.num_tokens


def test_a_single_text_has_no_separator_and_no_second_text() -> None:
    item = Item(text="Guten Tag", text_pair=None, num_tokens=4)
    asked = {system.name: system.ask(Kind.EMBED, item) for system in systems()}
    assert asked["infinity"] == {"model": "embed", "input": ["Guten Tag"]}
    assert asked["float32"] == {"inputs": [{"text": "Guten Tag"}]}
    assert asked["ray"] == {"text": "Guten Tag"}
