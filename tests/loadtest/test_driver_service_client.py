"""Control calls: waiting for a target, its variants, embedding."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtest.driver.errors import TargetError
from loadtest.driver.service_client import Refusal, ServiceClient
from loadtest.driver.wire import parse_target
from tests.loadtest.driver_world import CARD, null_server


class Silent(BaseHTTPRequestHandler):
    """A server of plain HTTP that says nothing on the console."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Leave out."""


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


def test_a_name_that_nobody_has_is_told_as_such() -> None:
    """``.invalid`` never resolves (RFC 6761)."""
    with (
        ServiceClient(parse_target("http://nobody.invalid")) as client,
        pytest.raises(TargetError, match="no machine of this name is known"),
    ):
        client.variants()


def test_a_server_that_speaks_no_tls_is_told_as_such() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with (
            ServiceClient(parse_target(f"https://127.0.0.1:{server.server_port}")) as client,
            pytest.raises(TargetError, match="no TLS connection comes about"),
        ):
            client.variants()
        server.shutdown()
        thread.join()


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
