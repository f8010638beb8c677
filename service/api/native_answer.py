"""Answers into the bytes of a native response.

Rules: built without validation, since the parts come from our own records, and serialised
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from service.api.problems import item_error
from service.api.schemas import (
    ChooseOutput,
    ClassifyOutput,
    EmbedOutput,
    FailedOutput,
    Output,
    PredictResponse,
    SpanInfo,
    SpanOutput,
    TagInfo,
    TagOutput,
    UsageInfo,
)
from service.errors import InputError
from service.tasks.choose import ChooseAnswer
from service.tasks.classify import ClassifyAnswer
from service.tasks.embed import EmbedAnswer, embedding_base64
from service.tasks.parameters import Encoding
from service.tasks.span import SpanAnswer
from service.tasks.tag import TagAnswer

if TYPE_CHECKING:
    from service.api.question import Answered, Prediction
    from service.tasks.task import Usage


def write_response(prediction: Prediction) -> bytes:
    """Return the JSON of a prediction: one output an input, in order."""
    encoding = prediction.parameters.encoding
    response = PredictResponse.model_construct(
        variant=prediction.card.name,
        revision=prediction.card.revision,
        outputs=[_output(result, encoding) for result in prediction.results],
    )
    return response.__pydantic_serializer__.to_json(response, exclude_none=True)


def _output(result: Answered | InputError, encoding: Encoding) -> Output:
    if isinstance(result, InputError):
        return FailedOutput.model_construct(error=item_error(result))
    answer, usage = result.answer, _usage(result.usage)
    match answer:
        case ClassifyAnswer():
            return ClassifyOutput.model_construct(label=answer.label, scores=dict(answer.scores), usage=usage)
        case ChooseAnswer():
            return ChooseOutput.model_construct(choice=answer.choice, scores=list(answer.scores), usage=usage)
        case TagAnswer():
            return _tags(answer, usage)
        case SpanAnswer():
            return _spans(answer, usage)
        case EmbedAnswer():
            return _embedding(answer, usage, encoding)
        case _:
            assert_never(answer)


def _usage(usage: Usage) -> UsageInfo:
    return UsageInfo.model_construct(tokens=usage.tokens, windows=usage.windows, truncated=usage.truncated)


def _tags(answer: TagAnswer, usage: UsageInfo) -> TagOutput:
    tags = [
        TagInfo.model_construct(tag=tag.tag, score=tag.score, word=tag.word, start=tag.start, end=tag.end)
        for tag in answer.tags
    ]
    return TagOutput.model_construct(tags=tags, usage=usage)


def _spans(answer: SpanAnswer, usage: UsageInfo) -> SpanOutput:
    answers = [
        SpanInfo.model_construct(text=span.text, start=span.start, end=span.end, score=span.score)
        for span in answer.answers
    ]
    return SpanOutput.model_construct(answers=answers, usage=usage)


def _embedding(answer: EmbedAnswer, usage: UsageInfo, encoding: Encoding) -> EmbedOutput:
    match encoding:
        case Encoding.FLOAT:
            return EmbedOutput.model_construct(embedding=answer.embedding.tolist(), usage=usage)
        case Encoding.BASE64:
            return EmbedOutput.model_construct(embedding=embedding_base64(answer.embedding), usage=usage)
        case _:
            assert_never(encoding)
