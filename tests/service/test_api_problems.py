"""One table from error to status, whole and without gaps."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import ValidationError

from service import errors
from service.api.problems import KINDS, REASONS, item_error, kind_of, problem_response
from service.api.schemas import RequestParameters
from service.domain import Result


def every_error(root: type[BaseException]) -> list[type[BaseException]]:
    return [root, *(error for child in root.__subclasses__() for error in every_error(child))]


STATUSES = {
    errors.MalformedError: 400,
    errors.UnknownVariantError: 404,
    errors.TooLargeError: 413,
    errors.ShapeError: 422,
    errors.AllInputsError: 422,
    errors.EmptyTextError: 422,
    errors.InvalidTextError: 422,
    errors.TooLongError: 422,
    errors.InputError: 422,
    errors.QueueFullError: 429,
    errors.NotReadyError: 503,
    errors.DeadlineError: 504,
    errors.EngineError: 500,
    errors.ClientGoneError: 499,
}
# Roots, which are not raised, and what ends the program before there is a client.
NOT_FOR_CLIENTS = {errors.ServiceError, errors.RequestError, errors.BusyError, errors.StartupError}


def test_every_error_of_the_tree_has_a_row() -> None:
    assert set(every_error(errors.ServiceError)) - NOT_FOR_CLIENTS == set(STATUSES)
    assert {kind.error for kind in KINDS} == {*STATUSES, BaseException}


@pytest.mark.parametrize(("error", "status"), STATUSES.items())
def test_statuses_are_those_of_the_design(error: type[BaseException], status: int) -> None:
    row = next(kind for kind in KINDS if kind.error is error)
    assert row.status == status


def test_slugs_are_unique_since_programs_tell_problems_apart_by_them() -> None:
    assert len(set(REASONS)) == len(KINDS)


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (errors.QueueFullError("a"), "queue-full"),
        (errors.EmptyTextError("a"), "empty-text"),
        (KeyError("a"), "internal"),
        (asyncio.CancelledError(), "internal"),
        (errors.BusyError("a"), "internal"),
    ],
)
def test_the_most_specific_row_speaks(error: BaseException, slug: str) -> None:
    assert kind_of(error).slug == slug


def test_outcomes_for_operators_follow_the_status() -> None:
    by_status = {kind.status: kind.result for kind in KINDS}
    assert by_status == {
        400: Result.REJECTED,
        404: Result.REJECTED,
        413: Result.REJECTED,
        422: Result.REJECTED,
        429: Result.OVERLOADED,
        499: Result.CANCELLED,
        500: Result.ERROR,
        503: Result.UNAVAILABLE,
        504: Result.DEADLINE,
    }


def test_a_problem_says_what_happened_under_the_request_id() -> None:
    response = problem_response(errors.MalformedError("Say it better."), request_id="r1")
    assert response.media_type == "application/problem+json"
    assert json.loads(bytes(response.body)) == {
        "type": "urn:xlmr:problem:malformed",
        "title": "The body is not JSON",
        "status": 400,
        "detail": "Say it better.",
        "request_id": "r1",
    }


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (90.0, "90")]
)
@pytest.mark.parametrize("error", [errors.QueueFullError, errors.NotReadyError])
def test_retry_after_is_whole_seconds_rounded_up(
    error: type[errors.BusyError], seconds: float, header: str
) -> None:
    response = problem_response(error("Later.", retry_after_s=seconds), request_id=None)
    assert response.headers["retry-after"] == header


def test_what_will_not_get_better_has_no_retry_after() -> None:
    for error in (errors.DeadlineError("a"), errors.ShapeError("a"), errors.EngineError("a")):
        assert "retry-after" not in problem_response(error, request_id=None).headers


def test_an_unexpected_error_keeps_its_message_to_itself() -> None:
    body = bytes(problem_response(ValueError("secret"), request_id="r1").body)
    assert b"secret" not in body
    assert json.loads(body)["type"] == "urn:xlmr:problem:internal"


def test_places_and_failures_are_told() -> None:
    flaw = errors.Flaw(loc=("inputs", 0, "text"), msg="This key is missing.", type="missing")
    shape = json.loads(bytes(problem_response(errors.ShapeError("a", flaws=(flaw,)), request_id=None).body))
    assert shape["errors"] == [
        {"loc": ["inputs", 0, "text"], "msg": "This key is missing.", "type": "missing"}
    ]
    failures = (errors.EmptyTextError("one"), errors.TooLongError("two"))
    refusal = errors.AllInputsError("a", failures=failures)
    told = json.loads(bytes(problem_response(refusal, request_id=None).body))["inputs"]
    assert told == [item_error(failure).model_dump() for failure in failures]
    assert [one["detail"] for one in told] == ["one", "two"]


@pytest.mark.parametrize("name", ["max_tokens", "stride", "max_answer_tokens", "top_k", "layer"])
def test_a_number_that_is_too_large_is_refused_before_any_sentence_repeats_it(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RequestParameters.model_validate({name: int("9" * 400)})
    assert caught.value.errors()[0]["type"] == "less_than_equal"
