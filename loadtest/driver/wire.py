"""Requests as bytes: all of them are encoded before the run starts, none during it.

Pure. A request's bytes depend on the item, the variant and the target alone, so an item
that is sent twice is encoded once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from loadtest.driver.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a service listens; ``base`` is a path before its own, without a slash at the end."""

    scheme: str
    host: str
    port: int
    base: str

    @property
    def secure(self) -> bool:
        """Whether connections are encrypted."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port; for the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The target as one string."""
        return f"{self.scheme}://{self.authority}{self.base}"


def parse_target(text: str) -> Target:
    """Read a URL such as ``http://127.0.0.1:8000``; the scheme may be left out.

    Raises:
        UsageError: it is no http or https URL of a host.
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as error:
        raise UsageError(f"The target {text!r} is no URL ({error}); write http://HOST:PORT.") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise UsageError(f"The target {text!r} is no http or https URL; write http://HOST:PORT.")
    if parts.query or parts.fragment or parts.username:
        raise UsageError(
            f"The target {text!r} holds more than scheme, host, port and path; leave the rest out."
        )
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    return Target(scheme=parts.scheme, host=parts.hostname, port=port, base=parts.path.rstrip("/"))


def predict_path(variant: str) -> str:
    """Return the path at which a variant answers."""
    return f"/v1/variants/{quote(variant, safe='')}/predict"


def encode_body(inputs: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]) -> bytes:
    """Return the JSON body of a request; ``parameters`` are left out where there are none."""
    body: dict[str, Any] = {"inputs": list(inputs)}
    if parameters:
        body["parameters"] = dict(parameters)
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair has no UTF-8; JSON can carry it as an escape
        return json.dumps(body, separators=(",", ":")).encode()


def encode_request(target: Target, path: str, body: bytes) -> bytes:
    """Return head and body of a POST over a connection that is kept open."""
    head = (
        f"POST {quote(target.base)}{path} HTTP/1.1\r\n"
        f"Host: {target.authority}\r\n"
        "User-Agent: xlmr-load\r\n"
        "Accept: application/json\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def encode_greeting(target: Target) -> bytes:
    """Return a GET that asks for nothing but a live connection."""
    head = f"GET {quote(target.base)}/health/live HTTP/1.1\r\nHost: {target.authority}\r\n"
    return (head + "User-Agent: xlmr-load\r\n\r\n").encode("ascii")
