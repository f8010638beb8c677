"""What tasks rely on, held against the fake, the bundled and XLM-R's own tokenizer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from service.tasks.tokenizer import Tokenizer

TEXTS = [
    "Hello  world. Paris!",
    "你好，世界 再见",  # noqa: RUF001 - the fullwidth comma is the point
    "ภาษาไทยง่าย นิดเดียว",
    "नमस्ते दुनिया",
    "مرحبا بالعالم",
    "e\u0301te\u0301 ok",
    "👩\u200d👩\u200d👧 family 😀",
    "\u3000全角\u3000 ½ cup ﷽",
    "zero\u200bwidth",
    " lead and trail ",
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_lie_in_the_text_in_order(any_tokenizer: Tokenizer, text: str) -> None:
    (pieces,) = any_tokenizer.encode([text])
    assert len(pieces.ids) > 0
    for column in (pieces.ids, pieces.starts, pieces.ends, pieces.words):
        assert column.dtype == np.int32
        assert column.shape == pieces.ids.shape
    assert (pieces.starts >= 0).all()
    assert (pieces.starts < pieces.ends).all()
    assert (pieces.ends <= len(text)).all()
    assert (np.diff(pieces.starts) >= 0).all()


@pytest.mark.parametrize("text", TEXTS)
def test_a_piece_belongs_to_the_whitespace_word_that_it_starts_in(
    any_tokenizer: Tokenizer, text: str
) -> None:
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    (pieces,) = any_tokenizer.encode([text])
    for start, word in zip(pieces.starts.tolist(), pieces.words.tolist(), strict=True):
        assert spans[word][0] <= start < spans[word][1]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=50,
)
@given(batch=st.lists(texts, max_size=5))
def test_a_text_is_cut_alike_alone_and_among_others(any_tokenizer: Tokenizer, batch: list[str]) -> None:
    together = any_tokenizer.encode(batch)
    assert len(together) == len(batch)
    for text, pieces in zip(batch, together, strict=True):
        (alone,) = any_tokenizer.encode([text])
        assert pieces.ids.tolist() == alone.ids.tolist()
        assert pieces.starts.tolist() == alone.starts.tolist()
        assert pieces.words.tolist() == alone.words.tolist()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=50,
)
@given(batch=st.lists(texts, max_size=5))
def test_ids_alone_are_the_ids_of_the_pieces(any_tokenizer: Tokenizer, batch: list[str]) -> None:
    alone = any_tokenizer.encode_ids(batch)
    assert [ids.tolist() for ids in alone] == [pieces.ids.tolist() for pieces in any_tokenizer.encode(batch)]
    assert all(ids.dtype == np.int32 for ids in alone)


def test_no_special_tokens_and_nothing_for_an_empty_text(any_tokenizer: Tokenizer) -> None:
    specials = {any_tokenizer.bos_id, any_tokenizer.eos_id}
    (empty, full) = any_tokenizer.encode(["", "Hello world"])
    assert len(empty.ids) == 0
    assert not specials & set(full.ids.tolist())


def test_words_are_cut_one_by_one(any_tokenizer: Tokenizer) -> None:
    words = ["Hello", "你好", "", "10 000", "مرحبا"]
    pieces = any_tokenizer.encode_words(words)
    assert set(pieces.words.tolist()) == {0, 1, 3, 4}
    assert (np.diff(pieces.words) >= 0).all()
    for index, word in enumerate(words):
        alone = any_tokenizer.encode_words([word])
        mine = pieces.words == index
        assert pieces.ids[mine].tolist() == alone.ids.tolist()
        assert (pieces.ends[mine] <= len(word)).all()


def test_a_word_reads_as_if_after_a_space(any_tokenizer: Tokenizer) -> None:
    (text,) = any_tokenizer.encode(["Hello world"])
    assert any_tokenizer.encode_words(["Hello", "world"]).ids.tolist() == text.ids.tolist()
