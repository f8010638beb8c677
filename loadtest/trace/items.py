"""Items and their gold answers, one JSON object a line.

An item is one example of a data set, in the words of the service's API: its ``input``
and ``parameters`` go over the wire as they are. Gold answers live in a file of their
own, so that nothing that sends requests ever holds them. Writing is byte for byte
repeatable: keys in the order of the record, no spaces, UTF-8, LF.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

GoldAnswer = str | int | list[str]
"""A label (classify), an index (choose), tags a word (tag), accepted answers (span) or ids of
the right candidates (retrieval)."""


class TraceError(Exception):
    """A trace cannot be read or made; the message says which file and line, and what to do."""


class Role(StrEnum):
    """What a trace does with an item."""

    ITEM = "item"  # sent when the schedule says so, and scored by itself
    QUERY = "query"  # sent when the schedule says so, and scored against the candidates
    CANDIDATE = "candidate"  # embedded once before the schedule starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One input as the service takes it; ``input`` and ``parameters`` are sent unchanged."""

    id: str
    task: str
    language: str
    role: Role
    input: Mapping[str, Any]
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """The right answer of the item with this id."""

    id: str
    gold: GoldAnswer


def json_line(record: Mapping[str, Any]) -> bytes:
    """Return one line of JSON, LF included, the same bytes for the same record."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
