"""The OpenAPI document, and the service against its own document."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.service.mini_catalogue import HEADS

if TYPE_CHECKING:
    from schemathesis import Case
    from schemathesis.checks import CheckFunction
    from schemathesis.schemas import BaseSchema

    from tests.service.serving import Served

# Not "positive data is accepted": what is right for one head is wrong for another, and an
# empty text is right in shape and refused all the same.
CHECKS: list[CheckFunction] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
BOUNDED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="session")
def document(server: Served) -> dict[str, Any]:
    body: dict[str, Any] = server.client.get("/openapi.json").json()
    return body


@pytest.fixture(scope="session")
def api_schema(document: dict[str, Any], server: Served) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


OPERATIONS = [
    ("/v1/variants/{variant}/predict", "POST"),
    ("/v1/variants", "GET"),
    ("/v1/variants/{variant}", "GET"),
    ("/health/live", "GET"),
    ("/health/ready", "GET"),
    ("/metrics", "GET"),
]


# Nothing about a GET can be wrong: its only parameter is any string.
CASES = [
    *((path, method, GenerationMode.POSITIVE) for path, method in OPERATIONS),
    ("/v1/variants/{variant}/predict", "POST", GenerationMode.NEGATIVE),
]


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_the_service_keeps_to_its_document(
    api_schema: BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    operation = api_schema[path][method]
    statuses: Counter[int] = Counter()

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def keeps_to_it(case: Case[Any]) -> None:
        if method == "POST":
            # Each example goes to one of the five, which a random name never would.
            case.path_parameters["variant"] = HEADS[len(str(case.body)) % len(HEADS)]
        response = case.call()
        statuses[response.status_code] += 1
        # 504 is right where an example allows a millisecond; 500 never is.
        assert response.status_code != 500, response.text
        case.validate_response(response, checks=CHECKS)

    keeps_to_it()
    # The examples must have been to the point: answered where they were right, refused where not.
    if mode is GenerationMode.NEGATIVE:
        assert 200 not in statuses
    elif path != "/v1/variants/{variant}":
        assert statuses[200] > 0


def test_every_path_is_documented(document: dict[str, Any]) -> None:
    paths = document["paths"].items()
    assert {(path, method.upper()) for path, item in paths for method in item} == set(OPERATIONS)


def test_errors_are_documented_as_problems_and_never_as_fastapis_own(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            if path != "/metrics":
                content = operation["responses"]["default"]["content"]
                assert content == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }
    assert "HTTPValidationError" not in str(document)


def test_the_body_of_predict_is_any_of_the_five_kinds(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/variants/{variant}/predict"]["post"]["requestBody"]
    names = [one["$ref"].rpartition("/")[2] for one in body["content"]["application/json"]["schema"]["anyOf"]]
    assert names == ["ClassifyRequest", "ChooseRequest", "TagRequest", "SpanRequest", "EmbedRequest"]
    for name in names:
        assert document["components"]["schemas"][name]["additionalProperties"] is False


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: object) -> list[str]:
        match node:
            case dict():
                own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
                return own + [found for value in node.values() for found in references(value)]
            case list():
                return [found for value in node for found in references(value)]
            case _:
                return []

    names = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert names
    assert names <= set(document["components"]["schemas"])


def test_the_headers_that_a_request_may_have_are_documented(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/v1/variants/{variant}/predict"]["post"]["parameters"]
    assert {one["name"] for one in parameters} == {"variant", "X-Request-Timeout-Ms", "X-Request-ID"}
