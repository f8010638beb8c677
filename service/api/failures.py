"""Every exception that reaches FastAPI, turned into a problem."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service.api.problems import http_problem_response, problem_response
from service.errors import Flaw, ServiceError, ShapeError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_WHAT_TO_DO = {
    HTTPStatus.NOT_FOUND: "There is nothing at this path. /openapi.json lists every path.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This path takes other methods; the Allow header names them.",
}


def install_failures(app: FastAPI) -> None:
    """Let an app answer every failure with problem+json."""
    app.add_exception_handler(ServiceError, _of_service)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)


async def _of_service(request: Request, error: Exception) -> Response:
    return problem_response(error, request_id=request.state.request_id)


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    return http_problem_response(
        status,
        title=status.phrase,
        detail=_WHAT_TO_DO.get(status, status.description or status.phrase),
        headers=dict(error.headers or {}),
        request_id=request.state.request_id,
    )


async def _of_validation(request: Request, error: Exception) -> Response:
    """Say what FastAPI found wrong, without its echo of the input (which may not be encodable)."""
    assert isinstance(error, RequestValidationError)
    flaws = tuple(Flaw(loc=tuple(flaw["loc"]), msg=flaw["msg"], type=flaw["type"]) for flaw in error.errors())
    refusal = ShapeError("The request has the wrong shape; `errors` says where.", flaws=flaws)
    return problem_response(refusal, request_id=request.state.request_id)
