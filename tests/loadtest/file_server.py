"""An HTTP server of a few files on 127.0.0.1 that can cut connections, change files and refuse."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True, kw_only=True)
class Served:
    """One file. ``cuts``: after how many bytes each of the next responses is cut; then none is."""

    content: bytes
    etag: str | None = '"v1"'
    cuts: list[int] = field(default_factory=list)
    status: int = 200
    ranges: bool = True


@dataclass(slots=True, kw_only=True)
class FileServer:
    """What is served by path, and the ``Range`` header of each request so far (None for none)."""

    files: dict[str, Served] = field(default_factory=dict)
    requests: dict[str, list[str | None]] = field(default_factory=lambda: defaultdict(list))
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    """Answers from ``state``, which ``serving`` sets on a subclass of its own."""

    state: FileServer

    def do_GET(self) -> None:
        served = self.state.files.get(self.path)
        self.state.requests[self.path].append(self.headers.get("Range"))
        if served is None or served.status != 200:
            self.send_error(404 if served is None else served.status)
            return
        start, size = self._start(served), len(served.content)
        if start and start >= size:
            self._head(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
            return
        headers = {"Content-Length": str(size - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        if served.etag:
            headers["ETag"] = served.etag
        self._head(206 if start else 200, headers)
        body = served.content[start:]
        if served.cuts:
            body = body[: served.cuts.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _start(self, served: Served) -> int:
        asked = self.headers.get("Range", "")
        same = self.headers.get("If-Range") == served.etag
        if not (served.ranges and same and asked.startswith("bytes=")):
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def log_message(self, *_: object) -> None:
        """Keep standard error quiet."""


@contextlib.contextmanager
def serving() -> Iterator[FileServer]:
    """Yield a running server."""
    state = FileServer()
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
