"""Control calls: waiting for a target, its variants, embedding."""

from __future__ import annotations

import socket

import pytest

from loadtest.driver.errors import TargetError
from loadtest.driver.service_client import Refusal, ServiceClient
from loadtest.driver.wire import parse_target
from tests.loadtest.driver_world import CARD, null_server


def test_a_target_that_wakes_up_late_is_waited_for() -> None:
    said: list[str] = []
    with null_server(not_ready=2) as world, ServiceClient(parse_target(world.url)) as client:
        client.wait_until_ready(10.0, lambda words, _: said.append(words))
        assert client.variants() == [CARD]
    assert said == ["/health/ready answers 503"] * 2


def test_nobody_there_is_told_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    said: list[str] = []
    with (
        ServiceClient(parse_target(f"http://127.0.0.1:{port}")) as client,
        pytest.raises(TargetError, match=r"not ready after 0\.3 s: nobody accepts connections there\. Start"),
    ):
        client.wait_until_ready(0.3, lambda words, _: said.append(words))
    assert said


@pytest.mark.parametrize("body", ["<html>", "{}", "[]", '{"variants": 3}', '{"variants": ["a"]}'])
def test_a_list_of_variants_that_is_none_is_told(body: str) -> None:
    with (
        null_server(variants_body=body) as world,
        ServiceClient(parse_target(world.url)) as client,
        pytest.raises(TargetError, match="no list of variants"),
    ):
        client.variants()


def test_a_refusal_says_its_status_and_when_to_come_back() -> None:
    with (
        null_server(fault="busy") as world,
        ServiceClient(parse_target(world.url)) as client,
        pytest.raises(Refusal) as caught,
    ):
        client.predict("v.xnli", [{"text": "a"}], {})
    assert (caught.value.status, caught.value.retry_after_s) == (429, 1.0)


@pytest.mark.parametrize(("fault", "words"), [("garbage", "no outputs"), ("close", "stopped answering")])
def test_garbage_is_told(fault: str, words: str) -> None:
    with (
        null_server(fault=fault) as world,
        ServiceClient(parse_target(world.url)) as client,
        pytest.raises(TargetError, match=words),
    ):
        client.predict("v.xnli", [{"text": "a"}], {})
