"""Items and their gold answers, one JSON object a line.

An item is one example of a data set, in the words of the service's API: its ``input``
and ``parameters`` are what a request carries. Gold answers live in a file of their
own, so that nothing that sends requests ever holds them. Writing is repeatable byte
for byte: keys in the order of the record, no spaces, UTF-8, LF.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

GoldAnswer = str | int | list[str]
"""A label (classify), an index (choose), tags a word (tag), accepted answers (span) or ids of
the right candidates (retrieval)."""

_ITEM_KEYS = frozenset({"id", "task", "language", "role", "input", "parameters"})


class TraceError(Exception):
    """A trace cannot be read or made; the message says which file and line, and what to do."""


class Role(StrEnum):
    """What a trace does with an item."""

    ITEM = "item"  # sent when the schedule says so, and scored by itself
    QUERY = "query"  # sent when the schedule says so, and scored against the candidates
    CANDIDATE = "candidate"  # embedded once before the schedule starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One input as the service takes it, with the parameters of its request."""

    id: str
    task: str
    language: str
    role: Role
    input: Mapping[str, Any]
    parameters: Mapping[str, Any]

    def to_line(self) -> bytes:
        """Return this item's line of ``items.jsonl``, LF included."""
        return json_line(
            {
                "id": self.id,
                "task": self.task,
                "language": self.language,
                "role": self.role.value,
                "input": self.input,
                "parameters": self.parameters,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """The right answer of the item with this id.

    ``unit``: what the translations of one example share within a task; empty where the data set does not say.
    """

    id: str
    gold: GoldAnswer
    unit: str = ""

    def to_line(self) -> bytes:
        """Return this answer's line of ``gold.jsonl``, LF included."""
        said = {"unit": self.unit} if self.unit else {}
        return json_line({"id": self.id, "gold": self.gold, **said})


def json_line(record: Mapping[str, Any]) -> bytes:
    """Return one line of JSON, LF included: the same bytes for the same record."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=dict)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        # Half a surrogate pair has no UTF-8; JSON can still carry it as an escape.
        return json.dumps(record, separators=(",", ":"), default=dict).encode() + b"\n"


def write_items(path: Path, items: Iterable[Item]) -> str:
    """Write ``items`` and return the file's sha256."""
    return _write_lines(path, (item.to_line() for item in items))


def write_gold(path: Path, gold: Iterable[Gold]) -> str:
    """Write gold answers and return the file's sha256."""
    return _write_lines(path, (answer.to_line() for answer in gold))


def read_items(path: Path) -> Iterator[Item]:
    """Yield the items of a file in its order.

    Raises:
        TraceError: a line is no item; it names file and line.
    """
    for number, record in read_records(path):
        yield item_from(record, path, number)


def read_gold(path: Path) -> dict[str, Gold]:
    """Return the gold answers of a file by item id.

    Raises:
        TraceError: a line is no answer, or an id comes twice; it names file and line.
    """
    answers: dict[str, Gold] = {}
    for number, record in read_records(path):
        key, gold, unit = record.get("id"), record.get("gold"), record.get("unit", "")
        if not isinstance(key, str) or not _is_gold(gold) or not isinstance(unit, str):
            raise TraceError(f'{path}:{number}: no gold answer; expected {{"id": .., "gold": ..}}.')
        if key in answers:
            raise TraceError(f"{path}:{number}: {key} has an answer already; build the trace again.")
        answers[key] = Gold(id=key, gold=cast(GoldAnswer, gold), unit=unit)
    return answers


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers, from 1, and the JSON object of each line.

    Raises:
        TraceError: the file cannot be read, or a line is no JSON object.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, parse_record(line, path, number)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror}).") from error


def parse_record(line: bytes, path: Path, number: int) -> dict[str, Any]:
    """Return the JSON object on one line.

    Raises:
        TraceError: there is none, or the line was cut.
    """
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}:{number}: not JSON ({error}); build the trace again.") from None
    if not isinstance(record, dict):
        raise TraceError(f"{path}:{number}: not a JSON object; build the trace again.")
    return record


def item_from(record: Mapping[str, Any], path: Path, number: int) -> Item:
    """Return the item of a parsed line.

    Raises:
        TraceError: a key is missing or has another type.
    """
    missing = sorted(_ITEM_KEYS - record.keys())
    if missing:
        raise TraceError(f"{path}:{number}: no item; it lacks {', '.join(missing)}.")
    try:
        role = Role(record["role"])
    except ValueError:
        raise TraceError(f"{path}:{number}: role {record['role']!r}; known are {', '.join(Role)}.") from None
    if not isinstance(record["input"], dict) or not isinstance(record["parameters"], dict):
        raise TraceError(f"{path}:{number}: input and parameters must be JSON objects.")
    return Item(
        id=str(record["id"]),
        task=str(record["task"]),
        language=str(record["language"]),
        role=role,
        input=record["input"],
        parameters=record["parameters"],
    )


def _is_gold(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(element, str) for element in value)
    return isinstance(value, str | int) and not isinstance(value, bool)


def _write_lines(path: Path, lines: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for line in lines:
            file.write(line)
            digest.update(line)
    return digest.hexdigest()
