"""Replies as they came, and what a sample keeps of them."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from loadtest.datasets.tasks import Head
from loadtest.driver.answers import read_answer, read_timing, read_vector, whole

USAGE = {"tokens": 42, "windows": 1, "truncated": False}


def reply(*outputs: Any, **more: Any) -> bytes:
    return json.dumps({"variant": "v", "revision": "r1", "outputs": list(outputs), **more}).encode()


@pytest.mark.parametrize(
    ("head", "output"),
    [
        (Head.CLASSIFY, {"label": "neutral", "scores": {"neutral": 1.0}}),
        (Head.CHOOSE, {"choice": 1, "scores": [0.2, 0.8]}),
        (Head.TAG, {"tags": [{"tag": "NOUN", "score": 0.9}]}),
        (Head.SPAN, {"answers": [{"text": "ไทย", "start": 0, "end": 3, "score": 0.5}]}),
    ],
)
def test_an_answer_is_kept_without_its_usage(head: Head, output: dict[str, Any]) -> None:
    answer = read_answer(reply({**output, "usage": USAGE}), head)
    assert answer.error is None
    assert answer.text is not None
    assert json.loads(answer.text) == output
    assert (answer.tokens, answer.revision) == (42, "r1")


def test_text_is_kept_compact_and_readable() -> None:
    answer = read_answer(reply({"answers": [{"text": "ไทย"}], "usage": USAGE}), Head.SPAN)
    assert answer.text == '{"answers":[{"text":"ไทย"}]}'


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_an_embedding_keeps_its_bits(encoding: str) -> None:
    vector = np.random.default_rng(1).normal(size=8).astype(np.float32)
    sent: Any = [float(x) for x in vector]
    if encoding == "base64":
        sent = base64.b64encode(vector.astype("<f4").tobytes()).decode()
    answer = read_answer(reply({"embedding": sent, "usage": USAGE}), Head.EMBED)
    assert answer.vector is not None
    assert np.array_equal(answer.vector, vector)
    assert answer.text is None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "bad answer: not json"),
        (b"not json!", "bad answer: not json"),
        (b"[" * 100_000, "bad answer: not json"),
        (b"null", "bad answer: not one output"),
        (b'{"unexpected":1}', "bad answer: not one output"),
        (reply(), "bad answer: not one output"),
        (reply({"label": "a"}, {"label": "b"}), "bad answer: not one output"),
        (reply("a"), "bad answer: not one output"),
        (reply({"scores": {}}), "bad answer: no label"),
        (reply({"label": 3}), "bad answer: no label"),
        (reply({"error": {"type": "t", "title": "Empty text", "detail": "d"}}), "input refused: Empty text"),
        (reply({"error": "odd"}), "input refused: no title"),
    ],
)
def test_what_is_no_answer_is_an_error(body: bytes, error: str) -> None:
    answer = read_answer(body, Head.CLASSIFY)
    assert answer.error == error
    assert answer.text is None


@pytest.mark.parametrize(
    ("output", "head"),
    [
        ({"label": "\ud800"}, Head.CLASSIFY),
        ({"answers": [{"text": "a\udfff", "start": 0}]}, Head.SPAN),
        ({"tags": [{"tag": "\ud800"}]}, Head.TAG),
    ],
)
def test_half_a_surrogate_pair_can_be_written_down_and_read_back(output: dict[str, Any], head: Head) -> None:
    """JSON can name it, UTF-8 cannot: one such answer must not cost the samples of all others."""
    answer = read_answer(reply(output, revision="\ud800"), head)
    assert answer.revision is None
    assert answer.text is not None
    assert json.loads(answer.text.encode()) == output
    refused = read_answer(reply({"error": {"title": "no \ud800"}}), head)
    assert (refused.error or "").encode() == b"input refused: no ?"


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [(0, 0), (2**31 - 1, 2**31 - 1), (2**31, None), (10**30, None), (-1, None), (True, None), ("7", None)],
)
def test_tokens_are_kept_as_far_as_a_sample_can_hold_them(tokens: Any, kept: int | None) -> None:
    assert read_answer(reply({"label": "a", "usage": {"tokens": tokens}}), Head.CLASSIFY).tokens == kept


@pytest.mark.parametrize("value", [12.0, 1e300, None])
def test_tokens_of_a_header_too(value: float | None) -> None:
    assert whole(value) == (12 if value == 12.0 else None)


@pytest.mark.parametrize(
    "value",
    [None, 3, "?", "AAA=", [], [[1.0]], [float("nan")], ["x"], {}, [10**400], [1e39]],
)
def test_what_is_no_vector_is_none(value: Any) -> None:
    assert read_vector(value) is None


def test_server_timing_is_read_in_milliseconds() -> None:
    text = (
        "tokenize;dur=0.41, queue;dur=1.5;desc=waiting, infer; dur = 7, decode;dur=.09,total;dur=9, db;dur=3"
    )
    assert read_timing(text) == {"tokenize": 0.41, "queue": 1.5, "infer": 7.0, "decode": 0.09, "total": 9.0}


def test_headers_of_text_embeddings_inference_stand_in() -> None:
    text = "x-total-time=7;x-tokenization-time=1;x-queue-time=0;x-inference-time=5;x-compute-tokens=12"
    assert read_timing(text) == {"tokenize": 1, "queue": 0, "infer": 5, "total": 7, "tokens": 12}


@pytest.mark.parametrize(
    "text", ["", "total", "total;dur=", "total;dur=-1", "total;dur=nan", "x-total-time=abc", ";;,,=="]
)
def test_a_broken_timing_says_nothing(text: str) -> None:
    assert read_timing(text) == {}
