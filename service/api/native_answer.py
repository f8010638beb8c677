"""Answers into the bytes of a native response.

Rules: plain values, in the form and order of the documented models (``schemas.py``), serialised once and not
validated, since the parts come from our own records; a model for each of them would cost six times as much.
The tests hold the bytes against the models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

from pydantic import TypeAdapter

from service.api.problems import item_error
from service.errors import InputError
from service.tasks.choose import ChooseAnswer
from service.tasks.classify import ClassifyAnswer
from service.tasks.embed import EmbedAnswer, embedding_base64
from service.tasks.parameters import Encoding
from service.tasks.span import SpanAnswer
from service.tasks.tag import TagAnswer

if TYPE_CHECKING:
    from service.api.question import Answered, Prediction
    from service.tasks.span import Span
    from service.tasks.tag import Tag
    from service.tasks.task import Usage


# JSON as pydantic writes it, of whatever values.
_SERIALIZER: Final = TypeAdapter(Any).serializer

Plain = dict[str, object]


def write_response(prediction: Prediction) -> bytes:
    """Return the JSON of a prediction: one output an input, in order."""
    encoding = prediction.parameters.encoding
    response = {
        "variant": prediction.card.name,
        "revision": prediction.card.revision,
        "outputs": [_output(result, encoding) for result in prediction.results],
    }
    return _SERIALIZER.to_json(response)


def _output(result: Answered | InputError, encoding: Encoding) -> Plain:
    if isinstance(result, InputError):
        return {"error": item_error(result)}
    answer, usage = result.answer, _usage(result.usage)
    match answer:
        case ClassifyAnswer():
            return {"label": answer.label, "scores": dict(answer.scores), "usage": usage}
        case ChooseAnswer():
            return {"choice": answer.choice, "scores": list(answer.scores), "usage": usage}
        case TagAnswer():
            return {"tags": [_tag(tag) for tag in answer.tags], "usage": usage}
        case SpanAnswer():
            return {"answers": [_span(span) for span in answer.answers], "usage": usage}
        case EmbedAnswer():
            return {"embedding": _embedding(answer, encoding), "usage": usage}
        case _:
            assert_never(answer)


def _usage(usage: Usage) -> Plain:
    return {"tokens": usage.tokens, "windows": usage.windows, "truncated": usage.truncated}


def _tag(tag: Tag) -> Plain:
    plain: Plain = {"tag": tag.tag, "score": tag.score}
    # A word that the client gave by itself has no place in a text.
    place = {"word": tag.word, "start": tag.start, "end": tag.end}
    return plain | {key: value for key, value in place.items() if value is not None}


def _span(span: Span) -> Plain:
    return {"text": span.text, "start": span.start, "end": span.end, "score": span.score}


def _embedding(answer: EmbedAnswer, encoding: Encoding) -> list[float] | str:
    match encoding:
        case Encoding.FLOAT:
            numbers: list[float] = answer.embedding.tolist()
            return numbers
        case Encoding.BASE64:
            return embedding_base64(answer.embedding)
        case _:
            assert_never(encoding)
