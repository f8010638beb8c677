"""Whatever a client sends, it gets the status that fits and the others get their answers."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.serving import START_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

    from tests.service.serving import Served

GOOD = {"text": "Das ist ein Satz."}
SECRET = "keep-this-to-yourself"  # noqa: S105 - what must not come back in an error
MEBIBYTE = 1024 * 1024

# A body as bytes, the variant that it goes to, and the status and type of the problem.
WHOLE_REQUEST = {
    "empty body": (b"", "classify", 400, "malformed"),
    "not JSON": (b"{inputs", "classify", 400, "malformed"),
    "half of a body": (b'{"inputs": [{"text": "a', "classify", 400, "malformed"),
    "NaN": (b'{"inputs": [{"text": NaN}]}', "classify", 400, "malformed"),
    "infinity": (b'{"inputs": [{"text": -Infinity}]}', "classify", 400, "malformed"),
    "not UTF-8": (b'{"inputs": [{"text": "\xff"}]}', "classify", 400, "malformed"),
    "a surrogate in UTF-8": (b'{"inputs": [{"text": "\xed\xa0\x80"}]}', "classify", 400, "malformed"),
    "nested 50,000 deep": (b"[" * 50_000, "classify", 400, "malformed"),
    "a number of 5,000 digits": (b'{"inputs": ' + b"9" * 5000 + b"}", "classify", 400, "malformed"),
    "not an object": (b"[]", "classify", 422, "shape"),
    "null": (b"null", "classify", 422, "shape"),
    "no inputs": (b"{}", "classify", 422, "shape"),
    "an empty list": (b'{"inputs": []}', "classify", 422, "shape"),
    "inputs not a list": (b'{"inputs": {"text": "a"}}', "classify", 422, "shape"),
    "a string for an input": (b'{"inputs": ["a"]}', "classify", 422, "shape"),
    "a number for a text": (b'{"inputs": [{"text": 3}]}', "classify", 422, "shape"),
    "a huge number for a text": (b'{"inputs": [{"text": 1e999}]}', "classify", 422, "shape"),
    "a list for a text": (b'{"inputs": [{"text": ["a"]}]}', "classify", 422, "shape"),
    "an unknown key": (b'{"inputs": [{"text": "a", "txet": "b"}]}', "classify", 422, "shape"),
    "an unknown key at the top": (b'{"inputs": [{"text": "a"}], "input": 1}', "classify", 422, "shape"),
    "a surrogate for a key": (b'{"inputs": [{"text": "a", "\\ud800": 1}]}', "classify", 422, "shape"),
    "a surrogate for a value of a parameter": (
        b'{"inputs": [{"text": "a"}], "parameters": {"pooling": "\\ud800"}}',
        "embed",
        422,
        "shape",
    ),
    "an unknown parameter": (
        b'{"inputs": [{"text": "a"}], "parameters": {"max_length": 3}}',
        "classify",
        422,
        "shape",
    ),
    "true for a number": (
        b'{"inputs": [{"text": "a"}], "parameters": {"max_tokens": true}}',
        "classify",
        422,
        "shape",
    ),
    "a string for a number": (
        b'{"inputs": [{"text": "a"}], "parameters": {"max_tokens": "12"}}',
        "classify",
        422,
        "shape",
    ),
    "1 for a truth value": (
        b'{"inputs": [{"text": "a"}], "parameters": {"truncate": 1}}',
        "classify",
        422,
        "shape",
    ),
    "more tokens than positions": (
        b'{"inputs": [{"text": "a"}], "parameters": {"max_tokens": 513}}',
        "classify",
        422,
        "shape",
    ),
    "a layer that is not there": (
        b'{"inputs": [{"text": "a"}], "parameters": {"layer": 5}}',
        "embed",
        422,
        "shape",
    ),
    "a number past 64 bits": (
        b'{"inputs": [{"text": "a"}], "parameters": {"top_k": 99999999999999999999999999}}',
        "classify",
        422,
        "shape",
    ),
    "words and a text": (b'{"inputs": [{"text": "a", "tokens": ["a"]}]}', "tag", 422, "shape"),
    "neither words nor a text": (b'{"inputs": [{}]}', "tag", 422, "shape"),
    "a number among words": (b'{"inputs": [{"tokens": ["a", 1]}]}', "tag", 422, "shape"),
    "a text for a span": (b'{"inputs": [{"text": "a"}]}', "span", 422, "shape"),
    "a span for a text": (b'{"inputs": [{"question": "a", "context": "b"}]}', "classify", 422, "shape"),
    "choices for an embedding": (b'{"inputs": [{"context": "a", "choices": ["b"]}]}', "embed", 422, "shape"),
    "one input of another kind": (
        b'{"inputs": [{"text": "a"}, {"tokens": ["b"]}]}',
        "embed",
        422,
        "shape",
    ),
    "an unknown variant": (b'{"inputs": [{"text": "a"}]}', "nobody", 404, "unknown-variant"),
    "a variant that is a lone surrogate": (b"{}", "%ED%A0%80", 404, "unknown-variant"),
    "257 inputs": (json.dumps({"inputs": [GOOD] * 257}).encode(), "classify", 413, "too-large"),
    "1,000 inputs": (json.dumps({"inputs": [GOOD] * 1000}).encode(), "classify", 413, "too-large"),
    "1,000 inputs of another kind": (
        json.dumps({"inputs": [{"x": 1}] * 1000}).encode(),
        "classify",
        413,
        "too-large",
    ),
    "10 MB": (b'{"inputs": [{"text": "' + b"a" * 10_000_000 + b'"}]}', "classify", 413, "too-large"),
    "only empty texts": (b'{"inputs": [{"text": ""}, {"text": " "}]}', "classify", 422, "all-inputs"),
    "only lone surrogates": (b'{"inputs": [{"text": "\\ud800"}]}', "classify", 422, "all-inputs"),
    "no words": (b'{"inputs": [{"tokens": []}]}', "tag", 422, "all-inputs"),
    "no choices": (b'{"inputs": [{"context": "a", "choices": []}]}', "choose", 422, "all-inputs"),
}

# An input that fails alone, beside a good one: variant, the good input, the bad one, its type.
ALONE = {
    "empty text": ("classify", GOOD, {"text": ""}, "empty-text"),
    "white space": ("classify", GOOD, {"text": " \u3000\n"}, "empty-text"),
    "zero-width characters": ("classify", GOOD, {"text": "\u200b\u200b"}, "empty-text"),
    "lone surrogate": ("embed", GOOD, {"text": "a\ud800b"}, "invalid-text"),
    "lone low surrogate in a pair": ("classify", GOOD, {"text": "a", "text_pair": "\udc00"}, "invalid-text"),
    "empty question": (
        "span",
        {"question": "Wer?", "context": "Ich."},
        {"question": "", "context": "Ich."},
        "empty-text",
    ),
    "no choices": (
        "choose",
        {"context": "a", "choices": ["b", "c"]},
        {"context": "a", "choices": []},
        "empty-text",
    ),
    "no words": ("tag", {"tokens": ["a"]}, {"tokens": []}, "empty-text"),
    "a surrogate among words": ("tag", {"tokens": ["a"]}, {"tokens": ["a", "\udfff"]}, "invalid-text"),
}


@pytest.fixture(autouse=True)
def _healthy_after(server: Served) -> Iterator[None]:
    """After each of these the process is alive, ready and answers."""
    yield
    assert server.client.get("/health/live").status_code == 200
    assert server.client.get("/health/ready").status_code == 200
    assert server.predict("classify", [GOOD]).status_code == 200


def check_problem(response: httpx2.Response, status: int, slug: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["type"] == f"urn:xlmr:problem:{slug}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"].endswith(".")
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"[]", "This must be an object."), (b'{"inputs": []}', "This list is empty; give one at least.")],
)
def test_what_is_wrong_is_said_in_the_words_of_the_api(server: Served, body: bytes, says: str) -> None:
    reply = server.client.post("/v1/variants/classify/predict", content=body)
    assert [flaw["msg"] for flaw in reply.json()["errors"]] == [says]


@pytest.mark.parametrize("name", WHOLE_REQUEST)
def test_a_request_that_is_wrong_as_a_whole(server: Served, name: str) -> None:
    body, variant, status, slug = WHOLE_REQUEST[name]
    check_problem(server.client.post(f"/v1/variants/{variant}/predict", content=body), status, slug)


@pytest.mark.parametrize("name", ALONE)
def test_an_input_that_fails_alone(server: Served, name: str) -> None:
    variant, good, bad, slug = ALONE[name]
    before, after = server.outputs(variant, [good])[0], server.outputs(variant, [good, bad, good])
    assert [sorted(output) == ["error"] for output in after] == [False, True, False]
    error = after[1]["error"]
    assert sorted(error) == ["detail", "title", "type"]
    assert error["type"] == f"urn:xlmr:problem:{slug}"
    assert error["detail"].endswith(".")
    for output in (after[0], after[2]):
        assert output.keys() == before.keys()
        assert output["usage"] == before["usage"]


def test_too_long_without_truncation_fails_alone(server: Served) -> None:
    long = {"text": "lang " * 1000}
    outputs = server.outputs("classify", [GOOD, long], {"truncate": False})
    assert "label" in outputs[0]
    assert outputs[1]["error"]["type"] == "urn:xlmr:problem:too-long"


def test_a_text_of_100_000_characters_is_cut_and_says_so(server: Served) -> None:
    long = {"text": "ein sehr langer Satz " * 4762}
    outputs = server.outputs("classify", [long, GOOD])
    assert outputs[0]["usage"] == {"tokens": 512, "windows": 1, "truncated": True}
    assert outputs[1]["usage"]["truncated"] is False


def test_100_000_characters_without_a_space(server: Served) -> None:
    (output,) = server.outputs("embed", [{"text": "ก" * 100_000}])
    assert output["usage"]["tokens"] <= 512


def test_if_every_input_fails_each_is_told_why(server: Served) -> None:
    response = server.predict("classify", [{"text": ""}, {"text": "\ud800"}])
    problem = check_problem(response, 422, "all-inputs")
    assert [failure["type"].rpartition(":")[2] for failure in problem["inputs"]] == [
        "empty-text",
        "invalid-text",
    ]


def test_places_are_named_and_what_stood_there_is_not(server: Served) -> None:
    body = {
        "inputs": [{"text": SECRET, "pair": SECRET}, {"text": 7}],
        "parameters": {f"{SECRET} key": SECRET, "pooling": SECRET},
    }
    response = server.client.post("/v1/variants/embed/predict", content=json.dumps(body))
    problem = check_problem(response, 422, "shape")
    assert SECRET not in response.text
    assert [flaw["loc"] for flaw in problem["errors"]] == [
        ["parameters", "pooling"],
        ["parameters", "(a key that is not shown)"],
        ["inputs", 0, "pair"],
        ["inputs", 1, "text"],
    ]


def test_a_wrong_kind_is_told_which_kind_is_right(server: Served) -> None:
    problem = check_problem(server.predict("span", [{"text": "a"}]), 422, "shape")
    assert '{"question", "context"}' in problem["detail"]


def test_complaints_are_bounded(server: Served) -> None:
    problem = check_problem(server.predict("classify", [{"x": SECRET}] * 200), 422, "shape")
    assert len(problem["errors"]) == 10
    assert "400" in problem["detail"]


def test_a_chunked_body_is_held_to_the_limit_too(server: Served) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(10):
            yield b" " * MEBIBYTE

    response = server.client.post("/v1/variants/classify/predict", content=chunks())
    check_problem(response, 413, "too-large")


def test_a_body_that_never_ends_is_refused_at_the_limit(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=START_S) as connection:
        connection.sendall(
            b"POST /v1/variants/classify/predict HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        with contextlib.suppress(ConnectionError):  # it need not listen to the end of what it refuses
            for _ in range(33):  # one chunk of 64 KiB past the limit of 2 MiB, and the end is still to come
                connection.sendall(chunk)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_length_past_the_limit_is_refused_before_the_body(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=START_S) as connection:
        connection.sendall(
            b"POST /v1/variants/classify/predict HTTP/1.1\r\nHost: t\r\nContent-Length: 2097153\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "text/plain", "application/x-www-form-urlencoded"]
)
def test_the_content_type_is_not_looked_at(server: Served, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert server.predict("classify", [GOOD], headers=headers).status_code == 200


def test_a_compressed_body_is_told_to_come_plain(server: Served) -> None:
    response = server.predict("classify", [GOOD], headers={"Content-Encoding": "gzip"})
    assert "Content-Encoding" in check_problem(response, 400, "malformed")["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/v1/variants/classify/nothing", 404, "not-found"),
        ("GET", "/v1/variants/", 404, "not-found"),
        ("POST", "/v1/variants//predict", 404, "not-found"),
        ("GET", "/v1/variants/nobody", 404, "unknown-variant"),
        ("GET", "/v1/variants/classify/predict", 405, "method-not-allowed"),
        ("DELETE", "/v1/variants/classify", 405, "method-not-allowed"),
        ("POST", "/health/ready", 405, "method-not-allowed"),
    ],
)
def test_paths_and_methods(server: Served, method: str, path: str, status: int, slug: str) -> None:
    response = server.client.request(method, path)
    check_problem(response, status, slug)
    if status == 405:
        assert response.headers["allow"]


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "a", "", "1e3", "٣", "3600001", "9" * 5000])
def test_a_timeout_that_is_none(server: Served, value: str) -> None:
    response = server.predict("classify", [GOOD], headers={"X-Request-Timeout-Ms": value.encode()})
    assert "X-Request-Timeout-Ms" in check_problem(response, 422, "shape")["detail"]
