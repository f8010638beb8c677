"""Text files as they come: checked, decoded, hashed. What is wrong is named by file and line.

Lines end with LF or with CRLF, one of the two throughout a file; csv writers and the
publishers of some sets use CRLF. ``str.splitlines`` is never used: it also splits at
characters such as U+2028 and U+0085, which occur inside sentences.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest.datasets.examples import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BOM = b"\xef\xbb\xbf"
_BOM_PROBLEM = "starts with a byte order mark; save it as UTF-8 without one"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A decoded file; its lines end with LF whatever the file's did."""

    path: Path
    text: str
    sha256: str

    def lines(self) -> list[str]:
        """Return the lines without their ends; a last line end starts no further line."""
        lines = self.text.split("\n")
        if lines[-1] == "":
            lines.pop()
        return lines


def read_lines_file(path: Path) -> TextFile:
    """Read a file that is made of lines.

    Raises:
        DataError: unreadable, not UTF-8, with a byte order mark, or with mixed line ends.
    """
    raw = _read(path)
    text = _decode(raw, path)
    if "\r" in text:
        _check_ends(text, path)
        text = text.replace("\r\n", "\n")
    return TextFile(path=path, text=text, sha256=hashlib.sha256(raw).hexdigest())


def read_json_file(path: Path) -> tuple[TextFile, Any]:
    """Read a file that is one JSON document.

    Raises:
        DataError: unreadable, not UTF-8, with a byte order mark, or no complete JSON.
    """
    raw = _read(path)
    text = _decode(raw, path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(path, _json_problem(error, len(text.rstrip())), line=error.lineno) from None
    return TextFile(path=path, text=text, sha256=hashlib.sha256(raw).hexdigest()), document


class JsonLines:
    """A file with one JSON object a line, read line by line; ``sha256`` is known after the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of what was read so far; of the file once it was read to its end."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield line numbers, from 1, and objects.

        Raises:
            DataError: unreadable, not UTF-8, with a byte order mark, mixed line ends, or a line is no object.
        """
        ends_crlf: bool | None = None
        try:
            with self.path.open("rb") as file:
                for number, raw in enumerate(file, start=1):
                    self._digest.update(raw)
                    if number == 1:
                        if raw.startswith(_BOM):
                            raise DataError(self.path, _BOM_PROBLEM, line=1)
                        ends_crlf = raw.endswith(b"\r\n")
                    if raw.endswith(b"\n") and raw.endswith(b"\r\n") is not ends_crlf:
                        raise DataError(self.path, _ends_problem(crlf=bool(ends_crlf)), line=number)
                    yield number, self._parse(raw, number)
        except OSError as error:
            raise DataError(self.path, f"cannot be read ({error.strerror})") from error

    def _parse(self, raw: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(raw.decode())
        except UnicodeDecodeError:
            raise DataError(self.path, "not UTF-8; convert the file", line=number) from None
        except json.JSONDecodeError as error:
            problem = _json_problem(error, len(raw.decode().rstrip()))
            raise DataError(self.path, problem, line=number) from None
        if not isinstance(record, dict):
            raise DataError(self.path, "not a JSON object; expected one object a line", line=number)
        return record


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error


def _decode(raw: bytes, path: Path) -> str:
    if raw.startswith(_BOM):
        raise DataError(path, _BOM_PROBLEM, line=1)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(path, "not UTF-8; convert the file", line=line) from None


def _check_ends(text: str, path: Path) -> None:
    """Refuse a file whose lines do not all end alike."""
    num_crlf = text.count("\r\n")
    if text.count("\n") == num_crlf == text.count("\r"):
        return
    crlf = text.split("\n", maxsplit=1)[0].endswith("\r")
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        if line.endswith("\r") is not crlf or "\r" in line[:-1]:
            raise DataError(path, _ends_problem(crlf=crlf), line=number)
    raise DataError(path, _ends_problem(crlf=crlf), line=text.count("\n") + 1)


def _ends_problem(*, crlf: bool) -> str:
    first = "CRLF" if crlf else "LF"
    return f"line ends are mixed (the first is {first}, this one is not); convert the file to one kind"


def _json_problem(error: json.JSONDecodeError, length: int) -> str:
    if error.pos >= length or error.msg.startswith("Unterminated string"):
        return "the JSON ends too early; the file was cut, fetch it again"
    return f"not JSON ({error.msg} at column {error.colno})"
