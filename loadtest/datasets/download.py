"""One file over HTTP: resumed where it was cut, checked, and in its place only when whole.

What has come stays in ``NAME.part``; beside it ``NAME.part.json`` says of which version
of which address it is part. A later attempt, of this call or another, asks for the rest
with ``If-Range``, so that bytes of two versions are never joined; where the server names
no version, the file begins anew. Nothing waits: a cut connection is taken up at once, a
server that asks for patience is reported.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import httpx2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loadtest.datasets.sources import Checksum

MAX_FRUITLESS_ATTEMPTS = 3
"""Attempts that bring no byte before giving up; those that bring some are not counted."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class DownloadError(Exception):
    """A file could not be fetched; the message says what to do. What came is kept for the next attempt."""


class Progress(Protocol):
    """Is told how far a download is."""

    def __call__(self, num_bytes: int, total_bytes: int | None) -> None:
        """Take note that ``num_bytes`` of ``total_bytes`` are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The incomplete file and the note beside it."""

    path: Path
    url: str

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def resume_from(self) -> tuple[int, str | None]:
        """Return how many bytes are there of a version that the server can still recognise, and its name."""
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
            size = self.path.stat().st_size
        except (OSError, ValueError):
            return 0, None
        if not isinstance(noted, dict) or noted.get("url") != self.url or not noted.get("version"):
            return 0, None
        return size, str(noted["version"])

    def remember(self, version: str | None) -> None:
        self.note.write_text(json.dumps({"url": self.url, "version": version}), encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(
    client: httpx2.Client, url: str, target: Path, *, checksum: Checksum | None, progress: Progress
) -> None:
    """Fetch ``url`` into ``target``, taking up what an earlier attempt left.

    Raises:
        DownloadError: the server refuses, keeps cutting the connection, or sends other bytes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(path=target.with_name(target.name + ".part"), url=url)
    fruitless = 0
    while True:
        before = _size(part.path)
        try:
            _fetch_rest(client, part, progress)
            break
        except httpx2.TransportError as error:
            fruitless = fruitless + 1 if _size(part.path) <= before else 0
            if fruitless >= MAX_FRUITLESS_ATTEMPTS:
                raise DownloadError(
                    f"{url}: the connection was lost {fruitless} times in a row "
                    f"({type(error).__name__}: {error}). Run the command again; "
                    f"{_size(part.path)} bytes are kept."
                ) from error
    _check(part, checksum)
    part.path.replace(target)
    part.note.unlink(missing_ok=True)


def _fetch_rest(client: httpx2.Client, part: _Part, progress: Progress) -> None:
    """Ask once for what is missing and append what comes.

    Raises:
        httpx2.TransportError: the connection was cut.
        DownloadError: the server refuses.
    """
    offset, version = part.resume_from()
    headers = {"Accept-Encoding": "identity"}
    if offset and version:
        headers |= {"Range": f"bytes={offset}-", "If-Range": version}
    try:
        with client.stream("GET", part.url, headers=headers) as response:
            if response.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE:
                if response.headers.get("Content-Range") == f"bytes */{offset}":
                    return  # all of it came before, and only the renaming was missed
                part.discard()
                raise httpx2.ReadError("the server has no such part of this file")
            _refuse(response)
            offset, total = _place(response, offset)
            part.remember(_version(response.headers))
            _append(response, part.path, offset, total, progress)
    except httpx2.TransportError:
        raise
    except httpx2.HTTPError as error:
        raise DownloadError(f"{part.url}: {error}.") from error
    except OSError as error:
        raise DownloadError(f"{part.path}: cannot be written ({error.strerror}).") from error


def _append(
    response: httpx2.Response, path: Path, offset: int, total: int | None, progress: Progress
) -> None:
    have = offset
    with path.open("r+b" if offset else "wb") as file:
        file.seek(offset)
        file.truncate()
        for chunk in response.iter_raw():
            file.write(chunk)
            have += len(chunk)
            progress(have, total)
    if total is not None and have < total:
        raise httpx2.ReadError(f"{total - have} bytes are missing")


def _place(response: httpx2.Response, offset: int) -> tuple[int, int | None]:
    """Return where the bytes of a response begin, and the length of the whole file where it is told."""
    length = response.headers.get("Content-Length")
    if response.status_code != httpx2.codes.PARTIAL_CONTENT:
        return 0, int(length) if length is not None else None
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != offset:
        raise DownloadError(f"{response.url}: sent another part than asked for; delete the .part file.")
    return offset, None if match[2] == "*" else int(match[2])


def _refuse(response: httpx2.Response) -> None:
    """Raise what a status means to the user, nothing for a success."""
    status = response.status_code
    if status in (httpx2.codes.OK, httpx2.codes.PARTIAL_CONTENT):
        return
    if status in (httpx2.codes.NOT_FOUND, httpx2.codes.GONE):
        advice = "it is no longer there; see 'xlmr-load data check' for its page"
    elif status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
        advice = "the server wants a person to sign in or agree first; download it in a browser"
    elif status == httpx2.codes.TOO_MANY_REQUESTS or status >= httpx2.codes.INTERNAL_SERVER_ERROR:
        advice = "the server is busy or broken; run the command again later, what came is kept"
    else:
        advice = "not what was expected; download it in a browser"
    raise DownloadError(f"{response.url}: HTTP {status}: {advice}.")


def _version(headers: Mapping[str, str]) -> str | None:
    """Return a name of the server's version that ``If-Range`` accepts: no weak tag."""
    tag = headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    return headers.get("Last-Modified")


def _check(part: _Part, checksum: Checksum | None) -> None:
    if checksum is None:
        return
    with part.path.open("rb") as file:
        found = hashlib.file_digest(file, checksum.algorithm).hexdigest()
    if found != checksum.hexdigest:
        part.discard()
        raise DownloadError(
            f"{part.url}: {checksum.algorithm} is {found[:12]}.., expected {checksum.hexdigest[:12]}..; "
            "what came was deleted. Run the command again; if it stays so, the file was changed upstream."
        )


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
