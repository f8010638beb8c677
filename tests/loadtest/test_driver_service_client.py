"""Control calls: waiting for a target, its variants, embedding."""

from __future__ import annotations

import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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


@pytest.mark.parametrize(
    "body",
    ["<html>", "{}", "[]", '{"variants": 3}', '{"variants": ["a"]}', "[" * 9_000],
)
def test_a_list_of_variants_that_is_none_is_told(body: str) -> None:
    with (
        null_server(variants_body=body) as world,
        ServiceClient(parse_target(world.url)) as client,
        pytest.raises(TargetError, match="no list of variants"),
    ):
        client.variants()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ["x"]}, "0.name: Input should be a valid string"),
        ({"head": None}, "0.head: Input should be a valid string"),
        ({"labels": 5}, "0.labels: Input should be a valid list"),
        ({"labels": "abc"}, "0.labels: Input should be a valid list"),
        ({"dtype": 7}, "0.dtype: Input should be a valid string"),
        ({"revision": [1]}, "0.revision: Input should be a valid string"),
        ({"num_layers": 0}, "0.num_layers: Input should be greater than 0"),
        ({"digest": "\ud800"}, "no list of variants"),
        ({"more": "\ud800"}, "no list of variants"),
    ],
)
def test_a_variant_that_is_none_is_told_before_anything_is_sent(change: dict[str, Any], words: str) -> None:
    """Left to be found out later, each would end in a traceback, or in a run without a report."""
    with (
        null_server(variants=[{**CARD, **change}]) as world,
        ServiceClient(parse_target(world.url)) as client,
        pytest.raises(TargetError, match=f"/v1/variants answered .*{re.escape(words)}"),
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


@pytest.mark.parametrize("outputs", [b"5", b'["a"]', b"[[]]", b'{"a": 1}', b"null", b"[" * 9_000])
def test_outputs_that_are_none_are_told(outputs: bytes) -> None:
    class Odd(Silent):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"outputs": ' + outputs + b"}"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with (
                ServiceClient(parse_target(f"http://127.0.0.1:{server.server_port}")) as client,
                pytest.raises(TargetError, match="answered with no outputs"),
            ):
                client.predict("v.xnli", [{"text": "a"}], {})
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("fault", "words"), [("garbage", "no outputs"), ("close", "stopped answering")])
def test_garbage_is_told(fault: str, words: str) -> None:
    with (
        null_server(fault=fault) as world,
        ServiceClient(parse_target(world.url)) as client,
        pytest.raises(TargetError, match=words),
    ):
        client.predict("v.xnli", [{"text": "a"}], {})
