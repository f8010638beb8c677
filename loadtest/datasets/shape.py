"""Typed access to parsed JSON: what is missing or of another type is named by file, line and place.

A JSON document keeps no line numbers once it is parsed, so the line is that of a text
known to stand near the fault, found in the file again. That search runs only for an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest.datasets.examples import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value stands: a file, and either a line or a path inside a document."""

    path: Path
    line: int | None = None
    inside: str = ""
    document: str = ""
    near: str = ""

    def fail(self, problem: str) -> DataError:
        """Return the error that says ``problem`` of this place."""
        line = self.line if self.line is not None else self._line_of_near()
        return DataError(self.path, f"{self.inside}: {problem}" if self.inside else problem, line=line)

    def within(self, step: str, near: str = "") -> Place:
        """Return the place one step further inside."""
        inside = f"{self.inside}.{step}" if self.inside else step
        return Place(
            path=self.path, line=self.line, inside=inside, document=self.document, near=near or self.near
        )

    def _line_of_near(self) -> int:
        for form in (json.dumps(self.near, ensure_ascii=False), json.dumps(self.near)):
            at = self.document.find(form)
            if at >= 0:
                return self.document.count("\n", 0, at) + 1
        return 1


def text_of(record: Mapping[str, Any], key: str, place: Place) -> str:
    """Return ``record[key]``, which must be text."""
    value = record.get(key)
    if not isinstance(value, str):
        raise place.fail(_expected(key, value, "text"))
    return value


def whole_of(record: Mapping[str, Any], key: str, place: Place) -> int:
    """Return ``record[key]``, which must be a whole number."""
    value = record.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise place.fail(_expected(key, value, "a whole number"))
    return value


def objects_of(record: Mapping[str, Any], key: str, place: Place) -> list[dict[str, Any]]:
    """Return ``record[key]``, which must be a list of objects."""
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
        raise place.fail(_expected(key, value, "a list of objects"))
    return value


def object_of(record: Mapping[str, Any], key: str, place: Place) -> dict[str, Any]:
    """Return ``record[key]``, which must be an object."""
    value = record.get(key)
    if not isinstance(value, dict):
        raise place.fail(_expected(key, value, "an object"))
    return value


def span_of(value: object, text: str, place: Place) -> tuple[int, int]:
    """Return ``[start, end]`` or ``{"start", "end"}`` as offsets inside ``text``."""
    pair = (value.get("start"), value.get("end")) if isinstance(value, dict) else value
    if isinstance(pair, list | tuple) and len(pair) == 2:  # noqa: PLR2004 - a span has two ends
        start, end = pair
        if isinstance(start, int) and isinstance(end, int) and 0 <= start <= end <= len(text):
            return start, end
    raise place.fail(f"{value!r} is no span inside a text of {len(text)} characters")


def _expected(key: str, value: object, kind: str) -> str:
    return f"no {key!r}" if value is None else f"{key!r} is not {kind}"
