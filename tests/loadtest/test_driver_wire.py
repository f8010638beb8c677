"""Requests as bytes, targets as URLs."""

from __future__ import annotations

import json

import pytest

from loadtest.driver.errors import UsageError
from loadtest.driver.wire import encode_body, encode_request, parse_target, predict_path


@pytest.mark.parametrize(
    ("text", "authority", "url"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("127.0.0.1:8000", "127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://host/", "host", "http://host"),
        ("https://host:443/base/", "host", "https://host/base"),
        ("http://[::1]:9", "[::1]:9", "http://[::1]:9"),
    ],
)
def test_targets(text: str, authority: str, url: str) -> None:
    target = parse_target(text)
    assert (target.authority, target.url) == (authority, url)


@pytest.mark.parametrize(
    "text",
    ["", "ftp://host", "http://", "http://host:port", "http://host:99999", "http://host/?q=1", "http://me@h"],
)
def test_what_is_no_target_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"HTTP|http"):
        parse_target(text)


def test_a_request_is_one_piece_of_http() -> None:
    body = encode_body([{"text": "Habari ya dunia"}], {"layer": 14})
    request = encode_request(parse_target("http://h:1/base"), predict_path("en/a b"), body)
    head, _, sent = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /base/v1/variants/en%2Fa%20b/predict HTTP/1.1"
    assert f"Content-Length: {len(sent)}" in lines
    assert "Host: h:1" in lines
    assert json.loads(sent) == {"inputs": [{"text": "Habari ya dunia"}], "parameters": {"layer": 14}}


def test_text_goes_out_as_utf8_and_half_a_surrogate_as_an_escape() -> None:
    assert "ไทย".encode() in encode_body([{"text": "ไทย"}], {})
    assert encode_body([{"text": "\ud800"}], {}) == b'{"inputs":[{"text":"\\ud800"}]}'


def test_no_parameters_are_not_sent() -> None:
    assert encode_body([{"text": "a"}], {}) == b'{"inputs":[{"text":"a"}]}'
