"""Choose: one sequence a choice, one softmax over the choices."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.errors import EmptyTextError, InputError, InvalidTextError, TooLongError
from service.tasks.choose import CHOOSE, ChooseInput
from service.tasks.parameters import Parameters
from service.tasks.task import Usage

if TYPE_CHECKING:
    from pathlib import Path

    import tokenizers

    from models.tokenizer import Tokenizer
    from tests.service.fake_tokenizer import FakeTokenizer

PARAMETERS = Parameters(max_tokens=12)


def test_each_choice_is_a_pair_with_context_and_question(fake_tokenizer: FakeTokenizer) -> None:
    item = ChooseInput(context="ab", question="why", choices=("x", "y z"))
    found = CHOOSE.encode(item, PARAMETERS, fake_tokenizer)
    assert [fake_tokenizer.text_of(sequence) for sequence in found.sequences] == [
        ["<0>", "▁ab", "▁why", "<2>", "<2>", "▁x", "<2>"],
        ["<0>", "▁ab", "▁why", "<2>", "<2>", "▁y", "▁z", "<2>"],
    ]
    assert found.usage == Usage(tokens=15, windows=1, truncated=False)


def test_without_a_question_the_context_stands_alone(fake_tokenizer: FakeTokenizer) -> None:
    found = CHOOSE.encode(ChooseInput(context="ab", choices=("x",)), PARAMETERS, fake_tokenizer)
    assert fake_tokenizer.text_of(found.sequences[0]) == ["<0>", "▁ab", "<2>", "<2>", "▁x", "<2>"]


def test_one_choice_that_is_cut_is_told(fake_tokenizer: FakeTokenizer) -> None:
    item = ChooseInput(context="a b c d", choices=("x", "y " * 20))
    found = CHOOSE.encode(item, PARAMETERS, fake_tokenizer)
    assert [len(sequence) for sequence in found.sequences] == [9, 12]
    assert found.usage == Usage(tokens=21, windows=1, truncated=True)


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (ChooseInput(context="a", choices=()), EmptyTextError, "`choices` is empty"),
        (ChooseInput(context=" ", choices=("x",)), EmptyTextError, "`context` is empty"),
        (ChooseInput(context="a", question="", choices=("x",)), EmptyTextError, "`question` is empty"),
        (ChooseInput(context="a", choices=("x", "")), EmptyTextError, r"`choices\[1\]` is empty"),
        (ChooseInput(context="a", choices=("x", "\u200b")), EmptyTextError, r"`choices\[1\]` holds only"),
        (ChooseInput(context="a", choices=("\udfff",)), InvalidTextError, r"`choices\[0\]` holds half"),
        (
            ChooseInput(context="a b c d", choices=("x", "y " * 20)),
            TooLongError,
            "takes 28 tokens and may take 12",
        ),
    ],
)
def test_an_input_that_fails_says_why(
    fake_tokenizer: FakeTokenizer, item: ChooseInput, error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        CHOOSE.encode(item, Parameters(max_tokens=12, truncate=False), fake_tokenizer)


def test_scores_are_the_softmax_over_choices_by_hand(fake_tokenizer: FakeTokenizer) -> None:
    encoded = CHOOSE.encode(ChooseInput(context="a", choices=("x", "y", "z")), PARAMETERS, fake_tokenizer)
    logits = [np.array([math.log(value)], dtype=np.float32) for value in (2.0, 5.0, 1.0)]
    answer = CHOOSE.decode(encoded, logits, (), PARAMETERS)
    assert answer.choice == 1
    assert answer.scores == pytest.approx((2 / 8, 5 / 8, 1 / 8))


def test_real_choices_are_the_librarys_pairs(
    real_tokenizer: Tokenizer, library: tokenizers.Tokenizer, xtreme_r_dir: Path
) -> None:
    asked = {"cause": "What was the cause?", "effect": "What happened as a result?"}
    for language in ("et", "ta", "th", "zh"):
        lines = (xtreme_r_dir / "xcopa" / language / f"test.{language}.jsonl").read_text(encoding="utf-8")
        for row in map(json.loads, lines.splitlines()[:40]):
            choices = (row["choice1"], row["choice2"])
            question = asked[row["question"]]
            item = ChooseInput(context=row["premise"], question=question, choices=choices)
            found = CHOOSE.encode(item, Parameters(max_tokens=128), real_tokenizer)
            expected = [library.encode(f"{row['premise']} {question}", choice).ids for choice in choices]
            assert [sequence.tolist() for sequence in found.sequences] == expected
