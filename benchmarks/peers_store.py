"""What was measured so far, a line of JSON each, so that a benchmark goes on where it was stopped.

Rules: a line is written when its measurement has ended, whole, and never changed; of two lines for the same
thing the later one counts. A line that a kill cut off at the end of the file is left out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Key = tuple[str, ...]


class StoreError(Exception):
    """The file holds something else; the message names the line and says what to do."""


class Store:
    """A file of JSON lines, each with a key."""

    def __init__(self, path: Path) -> None:
        """Read what is there.

        Raises:
            StoreError: a line that is not the last is no record.
        """
        self._path = path
        self._records: dict[Key, dict[str, Any]] = {}
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                record = json.loads(line)
                self._records[tuple(record["key"])] = record
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):  # no newline after it: it was being written
                    self._cut(lines[:-1])
                    break
                raise StoreError(f"{path}:{number}: no record; move the file away to start anew") from error

    def __contains__(self, key: Key) -> bool:
        return key in self._records

    def get(self, *key: str) -> dict[str, Any] | None:
        """Return one record; None where there is none."""
        return self._records.get(key)

    def under(self, *first: str) -> list[dict[str, Any]]:
        """Return all records whose keys begin so, in the order of their first writing."""
        return [record for key, record in self._records.items() if key[: len(first)] == first]

    def put(self, key: Key, **values: Any) -> dict[str, Any]:
        """Add a record, on the disk when this returns."""
        record = {"key": list(key), **values}
        line = json.dumps(record, ensure_ascii=False) + "\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
        self._records[key] = record
        return record

    def _cut(self, lines: list[str]) -> None:
        self._path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
