"""Keep-alive HTTP/1.1 connections on gevent sockets, parsed by geventhttpclient's llhttp.

The library's own pool asks ``select()`` whether an idle socket is alive, which fails past
1,024 descriptors, and resolves the host anew for each connection; both would be charged
to the service. Here an address is resolved once, a socket is taken newest first, its death
is seen by peeking one byte, and one that was idle for long is not used again: a request is
never sent twice, so none may go out on a connection that is just being closed. Nothing
waits for a free connection: an open loop that ran out of them would be closed.
"""

from __future__ import annotations

import socket as plain_socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket
from gevent import ssl as gevent_ssl
from geventhttpclient.response import HTTPParseError, HTTPResponse

from loadtest.driver.errors import TargetError

if TYPE_CHECKING:
    from loadtest.driver.wire import Target

BLOCK_BYTES = 65_536
MAX_BODY_BYTES = 16 * 2**20  # a service that streams without end must not fill the generator's memory
MAX_IDLE_S = 4.0  # uvicorn closes what was idle for 5 s, other servers later
_FIRST_FINAL_STATUS = 200
_TEI_TIMING = ("x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time", "x-compute-tokens")


class ClosedByPeerError(ConnectionError):
    """The other end closed the connection before an answer was complete."""


class BodyTooLargeError(ConnectionError):
    """An answer went past ``MAX_BODY_BYTES``."""


class Reply(HTTPResponse):
    """One answer, fed from a socket until it is complete."""

    @property
    def complete(self) -> bool:
        """Whether a final (not 1xx) answer has been read to its end."""
        return bool(self.message_complete) and self.get_code() >= _FIRST_FINAL_STATUS

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.get_code())

    @property
    def body(self) -> bytes:
        """The body, de-chunked."""
        return bytes(self._body_buffer)

    @property
    def num_body_bytes(self) -> int:
        """Length of the body so far."""
        return len(self._body_buffer)

    @property
    def timing(self) -> str:
        """Server-Timing, or Text Embeddings Inference's headers as ``name=value`` pairs, or nothing."""
        index = self._headers_index
        timing = index.get("server-timing")
        if timing is not None:
            return timing if isinstance(timing, str) else ", ".join(timing)
        if "x-total-time" not in index:
            return ""
        return ";".join(f"{name}={index[name]}" for name in _TEI_TIMING if name in index)


class Connections:
    """The open connections of one process to one target."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._address: tuple[Any, ...] | None = None
        self._family = socket.AF_INET
        self._idle: list[tuple[float, socket.socket]] = []  # since when, oldest first
        self._context = ssl_context() if target.secure else None
        self.num_opened = 0
        self.num_stale = 0

    def resolve(self) -> None:
        """Look the host up, and keep the first address that accepts a connection.

        Raises:
            TargetError: the name is unknown, or nobody listens at any of its addresses.
        """
        host, port = self._target.host, self._target.port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise TargetError(f"The host {host!r} of the target is unknown here ({error}).") from error
        reasons = []
        for family, _, _, _, address in found:
            self._family, self._address = family, address
            try:
                self.give(self.open())
            except OSError as error:
                reasons.append(f"{address[0]}: {error.strerror or error}")
            else:
                return
        raise TargetError(f"Nobody answers at {self._target.url} ({'; '.join(reasons)}).")

    def open(self) -> socket.socket:
        """Connect; blocks this greenlet. Raises OSError."""
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(self._address)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_hostname=self._target.host)
        except BaseException:
            sock.close()
            raise
        self.num_opened += 1
        return sock

    def take(self) -> socket.socket | None:
        """Return an idle connection that is still alive, the one used last; None where there is none."""
        oldest = time.monotonic() - MAX_IDLE_S
        while self._idle:
            since, sock = self._idle.pop()
            if since > oldest and _alive(sock):
                return sock
            self.num_stale += 1
            sock.close()
        return None

    def give(self, sock: socket.socket) -> None:
        """Put a connection back whose answer was read to its end."""
        self._idle.append((time.monotonic(), sock))

    def warm(self, count: int, greeting: bytes, timeout_s: float) -> int:
        """Have ``count`` connections that each answered ``greeting``; return how many there are."""

        def greet() -> None:
            try:
                sock = self.open()
            except OSError:
                return
            try:
                reply = exchange(sock, greeting)
            except (OSError, HTTPParseError):
                sock.close()
                return
            if reply.should_close():
                sock.close()
            else:
                self.give(sock)

        greenlets = [gevent.spawn(greet) for _ in range(count - len(self._idle))]
        gevent.joinall(greenlets, timeout=timeout_s)
        gevent.killall(greenlets)
        return len(self._idle)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop()[1].close()


def ssl_context() -> ssl.SSLContext:
    """Return the platform's trust in a context whose sockets yield to the hub."""
    context: ssl.SSLContext = gevent_ssl.create_default_context()
    return context


def exchange(sock: socket.socket, request: bytes) -> Reply:
    """Send a request and read its answer to the end.

    Raises:
        OSError, HTTPParseError: the connection broke, or what came is no HTTP.
    """
    sock.sendall(request)
    reply = Reply("POST")
    while not reply.complete:
        data = sock.recv(BLOCK_BYTES)
        if not data:
            _end(reply)
            break
        reply.feed(data)
        if reply.num_body_bytes > MAX_BODY_BYTES:
            raise BodyTooLargeError
    return reply


def _end(reply: Reply) -> None:
    """Tell the parser that nothing more comes, which ends an answer without a length and breaks any other."""
    try:
        reply.feed(b"")
    except HTTPParseError as error:
        raise ClosedByPeerError from error
    if not reply.complete:
        raise ClosedByPeerError


def _alive(sock: socket.socket) -> bool:
    if isinstance(sock, ssl.SSLSocket):
        return True  # an encrypted socket cannot be peeked into; a dead one shows when used
    sock.settimeout(0.0)
    try:
        sock.recv(1, plain_socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        sock.settimeout(None)
    return False  # readable while idle: closed by its other end, or out of step
