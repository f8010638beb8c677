"""The bytes of an answer: to the last one what the documented models would have written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.api.native_answer import write_response
from service.api.question import Answered, Prediction
from service.api.schemas import (
    ChooseOutput,
    ClassifyOutput,
    EmbedOutput,
    FailedOutput,
    PredictResponse,
    SpanOutput,
    TagOutput,
)
from service.errors import InputError
from service.tasks.choose import ChooseAnswer
from service.tasks.classify import ClassifyAnswer
from service.tasks.embed import EmbedAnswer
from service.tasks.parameters import Encoding, Overrides, resolve
from service.tasks.span import Span, SpanAnswer
from service.tasks.tag import Tag, TagAnswer
from service.tasks.task import Usage
from tests.service.backend_world import card

if TYPE_CHECKING:
    from service.tasks.kinds import Answer

USAGE = Usage(tokens=7, windows=2, truncated=True)
VECTOR = np.array([0.1, -1e-30, 3.4e38, 0.0, 7.0], dtype=np.float32)
KINDS: dict[str, tuple[Answer, type[object]]] = {
    "classify": (ClassifyAnswer(label="b", scores={"b": 0.75, "a": 1 / 3, "ü": 1e-17}), ClassifyOutput),
    "choose": (ChooseAnswer(choice=1, scores=(0.25, 0.75)), ChooseOutput),
    "tag of tokens": (TagAnswer(tags=(Tag(tag="NOUN", score=0.5),)), TagOutput),
    "tag of text": (TagAnswer(tags=(Tag(tag="NOUN", score=1.0, word="día", start=0, end=3),)), TagOutput),
    "no tags": (TagAnswer(tags=()), TagOutput),
    "span": (SpanAnswer(answers=(Span(text='"ein\nTag"', start=0, end=9, score=0.1),)), SpanOutput),
    "embed": (EmbedAnswer(embedding=VECTOR), EmbedOutput),
}


def prediction(*results: Answered | InputError, encoding: Encoding = Encoding.FLOAT) -> Prediction:
    of = card("v", "embed")
    return Prediction(card=of, parameters=resolve(of, Overrides(encoding=encoding)), results=tuple(results))


def held_to_the_model(body: bytes) -> PredictResponse:
    read = PredictResponse.model_validate_json(body, strict=True)
    assert read.model_dump_json(exclude_none=True).encode() == body
    return read


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_what_its_documented_model_writes(kind: str, encoding: Encoding) -> None:
    answer, model = KINDS[kind]
    body = write_response(prediction(Answered(answer=answer, usage=USAGE), encoding=encoding))
    read = held_to_the_model(body)
    assert [type(output) for output in read.outputs] == [model]
    assert (read.variant, read.revision) == ("v", "r1")
    assert json.loads(body)["outputs"][0]["usage"] == {"tokens": 7, "windows": 2, "truncated": True}


def test_an_input_that_failed_stands_in_its_place() -> None:
    answered = Answered(answer=KINDS["choose"][0], usage=USAGE)
    body = write_response(prediction(answered, InputError("The text is empty."), answered))
    read = held_to_the_model(body)
    assert [type(output) for output in read.outputs] == [ChooseOutput, FailedOutput, ChooseOutput]
    assert json.loads(body)["outputs"][1]["error"]["detail"] == "The text is empty."
