"""Files that are damaged or written otherwise: an error that names file and line."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from loadtest.datasets.examples import DataError
from loadtest.datasets.files import JsonLines, read_json_file, read_lines_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _lines(path: Path) -> object:
    return read_lines_file(path)


def _json(path: Path) -> object:
    return read_json_file(path)


def _jsonl(path: Path) -> object:
    return list(JsonLines(path))


@pytest.mark.parametrize(
    ("read", "content", "line", "words"),
    [
        (_lines, b"\xef\xbb\xbfa\n", 1, "byte order mark"),
        (_json, b"\xef\xbb\xbf{}", 1, "byte order mark"),
        (_jsonl, b"\xef\xbb\xbf{}\n", 1, "byte order mark"),
        (_lines, b"a\nb\r\nc\n", 2, "line ends are mixed"),
        (_lines, b"a\r\nb\nc\r\n", 2, "line ends are mixed"),
        (_lines, b"a\r\nb\rc\r\n", 2, "line ends are mixed"),
        (_lines, b"a\nb\rc", 2, "line ends are mixed"),
        (_jsonl, b"{}\n{}\r\n", 2, "line ends are mixed"),
        (_lines, b"a\nb\nc\xff\n", 3, "not UTF-8"),
        (_json, b'{"a":\n "\xff"}', 2, "not UTF-8"),
        (_jsonl, b'{}\n{"a": "\xff"}\n', 2, "not UTF-8"),
        (_json, b'{"data": [\n{"a": 1},\n', 3, "ends too early"),
        (_json, b'{"data": [\n{"a": "b', 2, "ends too early"),
        (_json, b"", 1, "ends too early"),
        (_json, b'{"a": 1,\n b}', 2, "not JSON"),
        (_jsonl, b'{"a": 1}\n{"a": \n', 2, "ends too early"),
        (_jsonl, b'{"a": 1}\n[1]\n', 2, "not a JSON object"),
    ],
)
def test_damage_is_named_by_file_and_line(
    tmp_path: Path, read: Callable[[Path], object], content: bytes, line: int, words: str
) -> None:
    path = tmp_path / "damaged.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert caught.value.line == line


@pytest.mark.parametrize("read", [_lines, _json, _jsonl])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt: cannot be read"):
        read(tmp_path / "nowhere.txt")


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\r\nb", ["a", "b"]),
        (b"a\n\n", ["a", ""]),
        ("one\u2028still one\x85still\n".encode(), ["one\u2028still one\x85still"]),
    ],
)
def test_lines_end_with_lf_or_crlf_and_nothing_else(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(content)
    file = read_lines_file(path)
    assert file.lines() == lines
    assert file.sha256 == hashlib.sha256(content).hexdigest()


def test_json_lines_give_numbers_and_in_the_end_the_hash_of_the_file(tmp_path: Path) -> None:
    content = b'{"a": 1}\r\n{"a": 2}\r\n'
    path = tmp_path / "records.jsonl"
    path.write_bytes(content)
    lines = JsonLines(path)
    assert list(lines) == [(1, {"a": 1}), (2, {"a": 2})]
    assert lines.sha256 == hashlib.sha256(content).hexdigest()
