"""What broke, in a few words: the same for the same kind of failure, so that they can be counted."""

from __future__ import annotations

import errno
import ssl

from geventhttpclient.response import HTTPParseError

from loadtest.driver.connection import BodyTooLargeError, ClosedByPeerError

_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (BodyTooLargeError, "answer too large"),
    (ClosedByPeerError, "connection closed"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (BrokenPipeError, "connection reset"),
    (HTTPParseError, "not http"),
    (ssl.SSLError, "tls failure"),
)
_ERRNOS = {
    errno.EMFILE: "no file descriptors left",
    errno.ENFILE: "no file descriptors left",
    errno.EADDRNOTAVAIL: "no local ports left",
    errno.ETIMEDOUT: "connect timeout",
}


def describe(broken: BaseException) -> str:
    """Return the words for an error of a connection."""
    for kind, words in _KINDS:
        if isinstance(broken, kind):
            return words
    number = broken.errno if isinstance(broken, OSError) else None
    return _ERRNOS.get(number or 0, "network failure")
