"""A parsed body of the native protocol into records.

Rules: what is wrong is said place by place, and never with what stood there; even a key
that nobody asked for is named only where it looks like a key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from service.api.schemas import (
    ChooseItem,
    ChooseRequest,
    ClassifyRequest,
    EmbedRequest,
    RequestParameters,
    SpanItem,
    SpanRequest,
    TagItem,
    TagRequest,
    TextItem,
)
from service.domain import Pooling
from service.errors import Flaw, ShapeError, TooLargeError
from service.tasks.choose import ChooseInput
from service.tasks.parameters import Encoding, Overrides
from service.tasks.span import SpanInput
from service.tasks.tag import TagInput
from service.tasks.text_input import TextInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.domain import VariantCard
    from service.tasks.kinds import Input

AnyRequest = ClassifyRequest | ChooseRequest | TagRequest | SpanRequest | EmbedRequest

# A thousand inputs of the wrong kind would give a thousand complaints of one kind.
MAX_FLAWS: Final = 10
_LIKE_A_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")

REQUESTS: Final[Mapping[str, type[AnyRequest]]] = MappingProxyType(
    {
        "classify": ClassifyRequest,
        "choose": ChooseRequest,
        "tag": TagRequest,
        "span": SpanRequest,
        "embed": EmbedRequest,
    }
)
_FORMS: Final = MappingProxyType(
    {
        "classify": '{"text", "text_pair" (optional)}',
        "choose": '{"context", "question" (optional), "choices": [..]}',
        "tag": '{"tokens": [..]} or {"text"}',
        "span": '{"question", "context"}',
        "embed": '{"text", "text_pair" (optional)}',
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeRequest:
    """The inputs, and what was asked of all of them."""

    inputs: tuple[Input, ...]
    overrides: Overrides


def read_request(payload: object, card: VariantCard, *, max_inputs: int) -> NativeRequest:
    """Check a parsed body against what the variant's head needs.

    Raises:
        TooLargeError: there are too many inputs.
        ShapeError: types, keys or values are wrong, or the inputs are for another head.
    """
    inputs = payload.get("inputs") if isinstance(payload, dict) else None
    if isinstance(inputs, list) and len(inputs) > max_inputs:
        raise TooLargeError(
            f"The request has {len(inputs)} inputs and may have {max_inputs}. Split it into smaller requests."
        )
    try:
        request = REQUESTS[card.head].model_validate(payload)
    except ValidationError as error:
        raise _shape_error(error, card) from error
    return NativeRequest(
        inputs=tuple(_input(item) for item in request.inputs), overrides=_overrides(request.parameters)
    )


def _input(item: TextItem | ChooseItem | TagItem | SpanItem) -> Input:
    match item:
        case TextItem():
            return TextInput(text=item.text, text_pair=item.text_pair)
        case ChooseItem():
            return ChooseInput(context=item.context, question=item.question, choices=tuple(item.choices))
        case TagItem():
            return TagInput(tokens=None if item.tokens is None else tuple(item.tokens), text=item.text)
        case SpanItem():
            return SpanInput(question=item.question, context=item.context)


def _overrides(parameters: RequestParameters) -> Overrides:
    return Overrides(
        truncate=parameters.truncate,
        max_tokens=parameters.max_tokens,
        stride=parameters.stride,
        max_answer_tokens=parameters.max_answer_tokens,
        top_k=parameters.top_k,
        pooling=None if parameters.pooling is None else Pooling(parameters.pooling),
        layer=parameters.layer,
        normalize=parameters.normalize,
        encoding=None if parameters.encoding is None else Encoding(parameters.encoding),
    )


def _shape_error(error: ValidationError, card: VariantCard) -> ShapeError:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    flaws = tuple(
        Flaw(loc=tuple(map(_plain, flaw["loc"])), msg=_message(flaw), type=flaw["type"])
        for flaw in found[:MAX_FLAWS]
    )
    more = f" The first {MAX_FLAWS} of {len(found)} places are named." if len(found) > MAX_FLAWS else ""
    return ShapeError(
        f"Variant {card.name} has the head {card.head}: send "
        f'{{"inputs": [..], "parameters": {{..}} (optional)}}, each input {_FORMS[card.head]}.{more}',
        flaws=flaws,
    )


def _message(flaw: Any) -> str:
    match flaw["type"]:
        case "extra_forbidden":
            return "This key is unknown here; leave it out."
        case "missing":
            return "This key is missing."
        case "model_type" | "model_attributes_type":
            return "This must be an object."
        case "too_short":
            return "This list is empty; give one at least."
        case _:
            message: str = flaw["msg"]
            return message.removeprefix("Value error, ")


def _plain(part: str | int) -> str | int:
    if isinstance(part, int) or _LIKE_A_KEY.fullmatch(part):
        return part
    return "(a key that is not shown)"
