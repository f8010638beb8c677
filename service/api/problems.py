"""Errors on the wire: ONE table from error to status, and problem+json (RFC 9457).

Rules: a status is written here and nowhere else. A problem says what happened and what to
do; it never repeats what the client sent, since that may not even be encodable. ``type``
is a stable name for programs, ``title`` the same for every problem of a type, ``detail``
about this one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from service import errors
from service.domain import Result

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:xlmr:problem:"
# The same request may succeed later, so the client is told when to try again.
_RETRY_LATER = (429, 503)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What every problem of one kind has in common.

    ``slug``: the end of its type, and its name in metrics.
    """

    error: type[BaseException]
    status: int
    slug: str
    title: str
    result: Result


def _kind(error: type[BaseException], status: int, slug: str, title: str, result: Result) -> Kind:
    """Write a row of the table in one line."""
    return Kind(error=error, status=status, slug=slug, title=title, result=result)


KINDS = (
    _kind(errors.MalformedError, 400, "malformed", "The body is not JSON", Result.REJECTED),
    _kind(
        errors.UnknownVariantError, 404, "unknown-variant", "No such variant is served here", Result.REJECTED
    ),
    _kind(errors.TooLargeError, 413, "too-large", "The request is too large", Result.REJECTED),
    _kind(errors.ShapeError, 422, "shape", "The request has the wrong shape", Result.REJECTED),
    _kind(errors.AllInputsError, 422, "all-inputs", "No input can be answered", Result.REJECTED),
    _kind(errors.EmptyTextError, 422, "empty-text", "A text is empty", Result.REJECTED),
    _kind(errors.InvalidTextError, 422, "invalid-text", "A text is not valid Unicode", Result.REJECTED),
    _kind(errors.TooLongError, 422, "too-long", "An input is too long", Result.REJECTED),
    _kind(errors.InputError, 422, "input", "An input cannot be answered", Result.REJECTED),
    _kind(errors.QueueFullError, 429, "queue-full", "The queue is full", Result.OVERLOADED),
    _kind(errors.NotReadyError, 503, "not-ready", "The service takes no requests now", Result.UNAVAILABLE),
    _kind(errors.DeadlineError, 504, "deadline", "The deadline passed", Result.DEADLINE),
    # 499 is nginx's number; it is for the log, since nobody is there to read it.
    _kind(errors.ClientGoneError, 499, "client-gone", "The client hung up", Result.CANCELLED),
    _kind(errors.EngineError, 500, "engine", "The device failed", Result.ERROR),
    _kind(BaseException, 500, "internal", "The service failed", Result.ERROR),
)
_BY_ERROR = {kind.error: kind for kind in KINDS}
REASONS = tuple(kind.slug for kind in KINDS)

_INTERNAL_DETAIL = (
    "This is a bug in the service, not in the request. "
    "Its log tells more under this request_id; please report it."
)


class Where(BaseModel):
    """One place where a request has the wrong shape."""

    loc: list[str | int] = Field(description="Keys and indices from the top of the body.")
    msg: str
    type: str


class ItemError(BaseModel):
    """Why one input was not answered."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="A stable name for programs.", examples=[_TYPE_PREFIX + "empty-text"])
    title: str
    detail: str = Field(description="What happened, and what to do.")


class Problem(BaseModel):
    """An error as RFC 9457 wants it, with three members of our own."""

    type: str = Field(description="A stable name for programs.", examples=[_TYPE_PREFIX + "queue-full"])
    title: str
    status: int
    detail: str = Field(description="What happened, and what to do.")
    request_id: str | None = Field(
        default=None, description="The X-Request-ID under which the log tells more."
    )
    errors: list[Where] | None = Field(
        default=None, description="Where the shape is wrong, the first few places."
    )
    inputs: list[ItemError] | None = Field(default=None, description="Why each input failed, in order.")


def kind_of(error: BaseException) -> Kind:
    """Return the most specific row of the table for an error."""
    return next(_BY_ERROR[kind] for kind in type(error).__mro__ if kind in _BY_ERROR)


def item_error(error: errors.InputError) -> ItemError:
    """Say why one input failed."""
    kind = kind_of(error)
    return ItemError(type=_TYPE_PREFIX + kind.slug, title=kind.title, detail=str(error))


def problem_response(error: BaseException, *, request_id: str | None) -> Response:
    """Turn an error into the response that a client gets."""
    kind = kind_of(error)
    ours = isinstance(error, errors.ServiceError)
    problem = Problem(
        type=_TYPE_PREFIX + kind.slug,
        title=kind.title,
        status=kind.status,
        detail=str(error) if ours else _INTERNAL_DETAIL,
        request_id=request_id,
        errors=_places(error),
        inputs=_failures(error),
    )
    headers = {}
    if kind.status in _RETRY_LATER and isinstance(error, errors.BusyError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return _response(problem, headers)


def http_problem_response(
    status: int, *, title: str, detail: str, headers: dict[str, str], request_id: str | None
) -> Response:
    """Say what HTTP itself found wrong (no such path, no such method), in the same form."""
    slug = title.lower().replace(" ", "-")
    problem = Problem(
        type=_TYPE_PREFIX + slug, title=title, status=status, detail=detail, request_id=request_id
    )
    return _response(problem, headers)


def _places(error: BaseException) -> list[Where] | None:
    if not isinstance(error, errors.ShapeError) or not error.flaws:
        return None
    return [Where(loc=list(flaw.loc), msg=flaw.msg, type=flaw.type) for flaw in error.flaws]


def _failures(error: BaseException) -> list[ItemError] | None:
    if not isinstance(error, errors.AllInputsError):
        return None
    return [item_error(failure) for failure in error.failures]


def _response(problem: Problem, headers: dict[str, str]) -> Response:
    content = problem.model_dump_json(exclude_none=True)
    return Response(content, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)
