"""Embed: the head's vector, scaled or not, and its bytes."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.errors import EngineError
from service.tasks.embed import EMBED, embedding_base64
from service.tasks.parameters import Parameters
from service.tasks.text_input import TextInput

if TYPE_CHECKING:
    from tests.service.fake_tokenizer import FakeTokenizer


def decoded(
    tokenizer: FakeTokenizer, values: list[float], *, normalize: bool
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    parameters = Parameters(max_tokens=10, normalize=normalize)
    encoded = EMBED.encode(TextInput(text="abc"), parameters, tokenizer)
    return EMBED.decode(encoded, [np.array(values, dtype=np.float32)], (), parameters).embedding


def test_a_pair_is_one_sequence_as_for_classify(fake_tokenizer: FakeTokenizer) -> None:
    found = EMBED.encode(TextInput(text="ab", text_pair="c"), Parameters(max_tokens=10), fake_tokenizer)
    assert fake_tokenizer.text_of(found.sequences[0]) == ["<0>", "▁ab", "<2>", "<2>", "▁c", "<2>"]


def test_without_normalize_the_vector_is_the_heads_own(fake_tokenizer: FakeTokenizer) -> None:
    vector = decoded(fake_tokenizer, [3.0, 4.0], normalize=False)
    assert vector.tolist() == [3.0, 4.0]
    assert vector.dtype == np.float32


def test_normalize_by_hand(fake_tokenizer: FakeTokenizer) -> None:
    vector = decoded(fake_tokenizer, [3.0, -4.0], normalize=True)
    assert vector.tolist() == pytest.approx([0.6, -0.8])
    assert vector.dtype == np.float32


def test_a_vector_of_zeros_has_no_direction_and_stays(fake_tokenizer: FakeTokenizer) -> None:
    assert decoded(fake_tokenizer, [0.0, 0.0], normalize=True).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_lengths_at_the_ends_of_float32_are_scaled_too(fake_tokenizer: FakeTokenizer, scale: float) -> None:
    vector = decoded(fake_tokenizer, [3.0 * scale, 4.0 * scale], normalize=True)
    assert vector.tolist() == pytest.approx([0.6, 0.8])


def test_vectors_that_are_no_numbers_are_the_engines_failure(fake_tokenizer: FakeTokenizer) -> None:
    with pytest.raises(EngineError, match="not a number"):
        decoded(fake_tokenizer, [float("nan"), 1.0], normalize=False)


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_base64_is_little_endian_float32(dtype: str) -> None:
    text = embedding_base64(np.array([1.0, -2.5, 1e-20], dtype=dtype))
    assert struct.unpack("<3f", base64.b64decode(text)) == pytest.approx((1.0, -2.5, 1e-20))
    assert base64.b64decode(text)[:4] == b"\x00\x00\x80\x3f"
