"""The native protocol: predict, and what is served.

Rules: whatever becomes of a predict request, the observer is told once; an answer is
serialised once, and its documented model is what was serialised.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.body import parse_json, read_body
from service.api.disconnect import unless_gone
from service.api.headers import SERVER_TIMING, TIMEOUT, header, server_timing, timeout_s
from service.api.native_answer import write_response
from service.api.native_request import read_request
from service.api.openapi import ANSWER_HEADERS, PREDICT_BODY, PROBLEM, REQUEST_HEADERS
from service.api.problems import kind_of
from service.api.question import Question
from service.api.schemas import PredictResponse, VariantInfo, VariantList
from service.api.variants import variant_info
from service.domain import RequestReport, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import Receive, Scope

    from service.api.predictor import Predictor
    from service.api.question import Reply
    from service.domain import Observer, TraceContext
    from service.tasks.kinds import Input

PROTOCOL = "native"
_SERVER_TIMING = SERVER_TIMING.lower().encode()

# Bodies whose texts are cut on the event loop: half a millisecond of work at the most, where a thread that
# has to be woken for it, and to wake the loop, costs 0.1 to 0.2 ms of CPU time.
_SHORT_BYTES = 2048
# A client that hangs up is noticed after this long; a request that is answered sooner is not watched.
_GRACE_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """What one request may be, and how long it may take."""

    max_body_bytes: int
    max_inputs: int
    timeout_s: float
    max_timeout_s: float


class NativeProtocol:
    """Answers native requests through a predictor."""

    def __init__(  # noqa: PLR0913 - what it joins, by keyword
        self,
        *,
        predictor: Predictor,
        observer: Observer,
        clock: Callable[[], float],
        limits: RequestLimits,
        current_trace: Callable[[], TraceContext | None] = lambda: None,
        count_inputs: Callable[[Sequence[Input]], object] | None = None,
    ) -> None:
        """Answer within limits.

        ``current_trace``: tells the trace of the request that the task serves. ``count_inputs``: told of
        every request's inputs once they are read, where somebody wants to know more of them.
        """
        self._predictor = predictor
        self._observer = observer
        self._clock = clock
        self._limits = limits
        self._current_trace = current_trace
        self._count_inputs = count_inputs

    async def predict(self, variant: str, scope: Scope, receive: Receive) -> Reply:
        """Answer a predict request, given as ASGI has it, and tell the observer how it ended."""
        try:
            reply = await self._reply(variant, scope["headers"], receive)
        except BaseException as error:
            self._observer.request_ended(self._refusal(variant, error))
            raise
        self._observer.request_ended(
            RequestReport(
                variant=variant,
                protocol=PROTOCOL,
                result=Result.PARTIAL if reply.num_failed else Result.OK,
                stages=reply.stages,
                num_inputs=reply.num_inputs,
                num_tokens=reply.num_tokens,
                num_truncated=reply.num_truncated,
                began_at=reply.began_at,
                trace=self._current_trace(),
            )
        )
        return reply

    async def _reply(self, variant: str, headers: Sequence[tuple[bytes, bytes]], receive: Receive) -> Reply:
        served = self._predictor.served(variant)
        limits = self._limits
        allowed_s = timeout_s(
            header(headers, TIMEOUT), default_s=limits.timeout_s, max_s=limits.max_timeout_s
        )
        body = await read_body(headers, receive, max_bytes=limits.max_body_bytes)
        began_at = self._clock()
        parsed = read_request(parse_json(body), served.card, max_inputs=limits.max_inputs)
        if self._count_inputs is not None:
            self._count_inputs(parsed.inputs)
        question = Question(
            served=served,
            inputs=parsed.inputs,
            overrides=parsed.overrides,
            began_at=began_at,
            deadline=began_at + allowed_s,
            is_short=len(body) <= _SHORT_BYTES,
            trace=self._current_trace(),
        )
        answer = self._predictor.answer(question, write_response)
        return await unless_gone(receive, answer, grace_s=_GRACE_S)

    def _refusal(self, variant: str, error: BaseException) -> RequestReport:
        known = variant if self._predictor.serves(variant) else None
        if isinstance(error, asyncio.CancelledError):
            return RequestReport(variant=known, protocol=PROTOCOL, result=Result.CANCELLED)
        kind = kind_of(error)
        return RequestReport(variant=known, protocol=PROTOCOL, result=kind.result, reason=kind.slug)


def answer_headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers, as ASGI has them."""
    return [
        (_SERVER_TIMING, server_timing(reply.stages).encode()),
        (b"content-length", str(len(reply.body)).encode()),
        (b"content-type", b"application/json"),
    ]


def native_router(protocol: NativeProtocol, predictor: Predictor) -> APIRouter:
    """Return the routes of the native protocol."""
    router = APIRouter(prefix="/v1", tags=["native"])

    @router.post(
        "/variants/{variant}/predict",
        response_model=PredictResponse,
        responses={200: {"headers": ANSWER_HEADERS}, "default": PROBLEM},
        openapi_extra={"requestBody": PREDICT_BODY, "parameters": REQUEST_HEADERS},
        summary="Answer inputs with one variant",
    )
    async def predict(variant: str, request: Request) -> Response:
        """Answer a list of inputs; the kind of each is that of the variant's head.

        An input that fails alone (empty, not Unicode, too long) has an `error` in its place; if all
        of them do, the request is refused with 422. The body is JSON whatever its Content-Type says.
        """
        reply = await protocol.predict(variant, request.scope, request.receive)
        response = Response(reply.body)
        response.raw_headers = answer_headers(reply)
        return response

    @router.get("/variants", responses={"default": PROBLEM}, summary="List what is served")
    async def list_variants() -> VariantList:
        """Describe every variant that is served here."""
        return VariantList(variants=[variant_info(card) for card in predictor.cards()])

    @router.get("/variants/{variant}", responses={"default": PROBLEM}, summary="Describe one variant")
    async def describe_variant(variant: str) -> VariantInfo:
        """Describe one variant."""
        return variant_info(predictor.served(variant).card)

    return router
