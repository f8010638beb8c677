"""Classify and its input, which embed shares: sequences, and probabilities by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.errors import EmptyTextError, EngineError, InputError, InvalidTextError, TooLongError
from service.tasks.classify import CLASSIFY
from service.tasks.parameters import Parameters
from service.tasks.task import Encoded, Usage
from service.tasks.text_input import TextInput

if TYPE_CHECKING:
    from service.tasks.tokenizer import Tokenizer
    from tests.service.fake_tokenizer import FakeTokenizer

PARAMETERS = Parameters(max_tokens=10)
LABELS = ("contradiction", "entailment", "neutral")


def encoded(parameters: Parameters, tokenizer: Tokenizer) -> Encoded[None]:
    return CLASSIFY.encode(TextInput(text="abc"), parameters, tokenizer)


def logits(*values: float) -> list[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    return [np.array(values, dtype=np.float32)]


def test_a_text_becomes_one_sequence(fake_tokenizer: FakeTokenizer) -> None:
    found = CLASSIFY.encode(TextInput(text="abcd e"), PARAMETERS, fake_tokenizer)
    (sequence,) = found.sequences
    assert fake_tokenizer.text_of(sequence) == ["<0>", "▁abc", "d", "▁e", "<2>"]
    assert found.usage == Usage(tokens=5, windows=1, truncated=False)


def test_a_pair_becomes_one_sequence(fake_tokenizer: FakeTokenizer) -> None:
    found = CLASSIFY.encode(TextInput(text="ab", text_pair="c d"), PARAMETERS, fake_tokenizer)
    (sequence,) = found.sequences
    assert fake_tokenizer.text_of(sequence) == ["<0>", "▁ab", "<2>", "<2>", "▁c", "▁d", "<2>"]
    assert found.usage == Usage(tokens=7, windows=1, truncated=False)


def test_what_is_too_long_is_cut_and_said_to_be(fake_tokenizer: FakeTokenizer) -> None:
    found = CLASSIFY.encode(TextInput(text="a " * 9), PARAMETERS, fake_tokenizer)
    assert found.usage == Usage(tokens=10, windows=1, truncated=True)
    found = CLASSIFY.encode(TextInput(text="a b", text_pair="c " * 9), PARAMETERS, fake_tokenizer)
    assert found.usage == Usage(tokens=10, windows=1, truncated=True)


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (TextInput(text=""), EmptyTextError, "`text` is empty"),
        (TextInput(text="a", text_pair=" "), EmptyTextError, "`text_pair` is empty"),
        (TextInput(text="\u200b"), EmptyTextError, "`text` holds only characters that the tokenizer drops"),
        (TextInput(text="a", text_pair="\u200b"), EmptyTextError, "`text_pair` holds only characters"),
        (TextInput(text="\ud800"), InvalidTextError, "`text` holds half of a surrogate pair"),
        (TextInput(text="a", text_pair="\ud800"), InvalidTextError, "`text_pair` holds half"),
        (TextInput(text="a " * 9), TooLongError, "takes 11 tokens and may take 10"),
        (TextInput(text="a " * 9, text_pair="b"), TooLongError, "takes 14 tokens and may take 10"),
    ],
)
def test_an_input_that_fails_says_why(
    fake_tokenizer: FakeTokenizer, item: TextInput, error: type[InputError], message: str
) -> None:
    strict = Parameters(max_tokens=10, truncate=False)
    with pytest.raises(error, match=message):
        CLASSIFY.encode(item, strict, fake_tokenizer)


def test_an_input_that_fails_leaves_the_others_alone(fake_tokenizer: FakeTokenizer) -> None:
    items = [
        TextInput(text="abc"),
        TextInput(text=""),
        TextInput(text="\u200b", text_pair="x"),
        TextInput(text="b", text_pair="c"),
        TextInput(text="\ud800"),
        TextInput(text="def"),
    ]
    results = CLASSIFY.encode_all(items, PARAMETERS, fake_tokenizer)
    assert [isinstance(result, InputError) for result in results] == [False, True, True, False, True, False]
    for item, result in zip(items, results, strict=True):
        if not isinstance(result, InputError):
            alone = CLASSIFY.encode(item, PARAMETERS, fake_tokenizer)
            assert [ids.tolist() for ids in result.sequences] == [ids.tolist() for ids in alone.sequences]


def test_no_inputs_no_results(fake_tokenizer: FakeTokenizer) -> None:
    assert CLASSIFY.encode_all([], PARAMETERS, fake_tokenizer) == []


def test_scores_are_the_softmax_by_hand(fake_tokenizer: FakeTokenizer) -> None:
    row = logits(math.log(1.0), math.log(3.0), math.log(4.0))
    answer = CLASSIFY.decode(encoded(PARAMETERS, fake_tokenizer), row, LABELS, PARAMETERS)
    assert answer.label == "neutral"
    assert dict(answer.scores) == pytest.approx(
        {"contradiction": 1 / 8, "entailment": 3 / 8, "neutral": 4 / 8}
    )
    assert list(answer.scores) == list(LABELS)


@pytest.mark.parametrize(("top_k", "kept"), [(1, ["neutral"]), (2, ["neutral", "entailment"]), (9, None)])
def test_top_k_keeps_the_best_first_and_their_probabilities(
    fake_tokenizer: FakeTokenizer, top_k: int, kept: list[str] | None
) -> None:
    parameters = Parameters(max_tokens=10, top_k=top_k)
    row = logits(math.log(1.0), math.log(3.0), math.log(4.0))
    answer = CLASSIFY.decode(encoded(parameters, fake_tokenizer), row, LABELS, parameters)
    assert list(answer.scores) == (kept or ["neutral", "entailment", "contradiction"])
    assert answer.scores["neutral"] == pytest.approx(0.5)


def test_a_single_label_is_read_by_the_logistic_function(fake_tokenizer: FakeTokenizer) -> None:
    row = logits(math.log(3.0))
    answer = CLASSIFY.decode(encoded(PARAMETERS, fake_tokenizer), row, ("relevant",), PARAMETERS)
    assert answer.label == "relevant"
    assert dict(answer.scores) == pytest.approx({"relevant": 0.75})


def test_equal_logits_give_the_first_label(fake_tokenizer: FakeTokenizer) -> None:
    answer = CLASSIFY.decode(encoded(PARAMETERS, fake_tokenizer), logits(1, 1, 1), LABELS, PARAMETERS)
    assert answer.label == "contradiction"


def test_large_logits_do_not_overflow(fake_tokenizer: FakeTokenizer) -> None:
    row = logits(3e38, -3e38, 0.0)
    answer = CLASSIFY.decode(encoded(PARAMETERS, fake_tokenizer), row, LABELS, PARAMETERS)
    assert list(answer.scores.values()) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("labels", [LABELS, ("one",)])
def test_logits_that_are_no_numbers_are_the_engines_failure(
    fake_tokenizer: FakeTokenizer, bad: float, labels: tuple[str, ...]
) -> None:
    row = logits(*[bad, 0.0, 0.0][: len(labels)])
    with pytest.raises(EngineError, match="not a number"):
        CLASSIFY.decode(encoded(PARAMETERS, fake_tokenizer), row, labels, PARAMETERS)


def test_a_label_too_few_is_a_bug(fake_tokenizer: FakeTokenizer) -> None:
    with pytest.raises(AssertionError, match="3 logits for 2 labels"):
        CLASSIFY.decode(encoded(PARAMETERS, fake_tokenizer), logits(1, 2, 3), LABELS[:2], PARAMETERS)
