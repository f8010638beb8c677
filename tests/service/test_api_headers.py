"""The headers that come in and go out."""

from __future__ import annotations

import re

import pytest

from service.api.headers import request_id, server_timing, timeout_s
from service.domain import Stages
from service.errors import ShapeError


@pytest.mark.parametrize("given", ["a", "0f3c-11", "a/b+c=d@e_f.g:h", "x" * 128])
def test_a_plain_request_id_is_kept(given: str) -> None:
    assert request_id(given) == given


@pytest.mark.parametrize("given", [None, "", " ", "a b", "x" * 129, "a\n", "é", '"'])
def test_any_other_is_replaced_by_a_new_one(given: str | None) -> None:
    first, second = request_id(given), request_id(given)
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


@pytest.mark.parametrize(("given", "seconds"), [(None, 30.0), ("1", 0.001), ("1500", 1.5), ("60000", 60.0)])
def test_a_timeout_is_milliseconds(given: str | None, seconds: float) -> None:
    assert timeout_s(given, default_s=30.0, max_s=60.0) == seconds


@pytest.mark.parametrize("given", ["0", "60001", "-1", "+1", " 1", "1.0", "", "x", "²", "٣", "1" * 10_000])
def test_a_timeout_out_of_range_is_refused_and_told_the_range(given: str) -> None:
    with pytest.raises(ShapeError, match="from 1 to 60000") as refusal:
        timeout_s(given, default_s=30.0, max_s=60.0)
    assert len(str(refusal.value)) < 200


def test_server_timing_is_in_milliseconds_and_adds_up() -> None:
    stages = Stages(tokenize_s=0.0011114, queue_s=0.0, infer_s=1.5, decode_s=0.0002226)
    assert server_timing(stages) == (
        "tokenize;dur=1.111, queue;dur=0.000, infer;dur=1500.000, decode;dur=0.223, total;dur=1501.334"
    )
