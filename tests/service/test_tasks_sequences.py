"""Special tokens and truncation, by hand and against the tokenizer library's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import TooLongError
from service.tasks.parameters import Parameters
from service.tasks.sequences import fitted, longest_first, pair, single
from service.tasks.text_input import TextInput
from tests.service.fake_tokenizer import FakeTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    import tokenizers

    from models.tokenizer import Tokenizer

FAKE = FakeTokenizer()


def ids(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(numbers, dtype=np.int32)


def test_one_text_by_hand() -> None:
    sequence = single(ids(7, 8), FAKE)
    assert sequence.tolist() == [0, 7, 8, 2]
    assert sequence.dtype == np.int32


def test_two_texts_by_hand() -> None:
    sequence = pair(ids(7, 8), ids(9), FAKE)
    assert sequence.tolist() == [0, 7, 8, 2, 2, 9, 2]
    assert sequence.dtype == np.int32


@pytest.mark.parametrize(
    ("first", "second", "room", "kept"),
    [
        (3, 4, 7, (3, 4)),  # fits
        (3, 9, 7, (3, 4)),  # the longer one is cut
        (9, 3, 7, (4, 3)),
        (9, 9, 8, (4, 4)),  # both are
        (9, 9, 7, (3, 4)),  # the odd token goes to the second of equals
        (9, 8, 7, (4, 3)),  # and to the longer of two
        (5, 100, 4, (2, 2)),
        (100, 5, 4, (2, 2)),
        (1, 1, 2, (1, 1)),
    ],
)
def test_longest_first_by_hand(first: int, second: int, room: int, kept: tuple[int, int]) -> None:
    assert longest_first(first, second, room) == kept


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(first=st.integers(1, 40), second=st.integers(1, 40), max_tokens=st.integers(6, 60))
def test_longest_first_is_the_librarys(
    library: tokenizers.Tokenizer, first: int, second: int, max_tokens: int
) -> None:
    # "a" is one token in XLM-R wherever it stands.
    library.enable_truncation(max_tokens, strategy="longest_first")
    encoding = library.encode("a " * first, "a " * second)
    kept = longest_first(first, second, max_tokens - 4)
    assert (encoding.sequence_ids.count(0), encoding.sequence_ids.count(1)) == kept


def xnli_pairs(xtreme_r_dir: Path, language: str, count: int) -> list[tuple[str, str]]:
    lines = (xtreme_r_dir / "xnli" / f"test-{language}.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines[:: max(1, len(lines) // count)]]
    return [(row[0], row[1]) for row in rows[:count]]


@pytest.mark.parametrize("language", ["en", "th", "zh", "ar", "hi", "sw", "el"])
@pytest.mark.parametrize("max_tokens", [12, 31, 128])
def test_real_pairs_are_cut_as_the_library_cuts_them(
    real_tokenizer: Tokenizer,
    library: tokenizers.Tokenizer,
    xtreme_r_dir: Path,
    language: str,
    max_tokens: int,
) -> None:
    library.enable_truncation(max_tokens)
    pairs = xnli_pairs(xtreme_r_dir, language, 60)
    parameters = Parameters(max_tokens=max_tokens)
    whole = library.encode_batch(pairs)
    inputs = [TextInput(text=first, text_pair=second) for first, second in pairs]
    for (first, second), expected, item in zip(pairs, whole, inputs, strict=True):
        pieces = real_tokenizer.encode([first, second])
        sequence, cut = fitted(pieces[0].ids, pieces[1].ids, parameters, real_tokenizer)
        assert sequence.tolist() == expected.ids, item
        assert cut == bool(expected.overflowing)
        sequence, cut = fitted(pieces[0].ids, None, parameters, real_tokenizer)
        alone = library.encode(first)
        assert sequence.tolist() == alone.ids
        assert cut == bool(alone.overflowing)


@pytest.mark.parametrize(
    ("second", "num_tokens"),
    [(None, 8), (ids(*range(10)), 20)],
)
def test_too_long_is_refused_when_nothing_may_be_cut(
    second: np.ndarray[tuple[int], np.dtype[np.int32]] | None, num_tokens: int
) -> None:
    parameters = Parameters(max_tokens=7, truncate=False)
    with pytest.raises(TooLongError, match=f"takes {num_tokens} tokens and may take 7"):
        fitted(ids(*range(6)), second, parameters, FAKE)


def test_what_fits_exactly_is_not_cut() -> None:
    parameters = Parameters(max_tokens=8, truncate=False)
    sequence, cut = fitted(ids(*range(6)), None, parameters, FAKE)
    assert len(sequence) == 8
    assert not cut
