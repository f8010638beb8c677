"""Writing a trace's folder: whole or not at all, hashed while it is written."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import uuid
from typing import TYPE_CHECKING

from loadtest.trace.items import Role, TraceError
from loadtest.trace.schedule import GOLD_FILE, ITEMS_FILE, SCHEDULE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.trace.items import Gold, Item


class LinesWriter:
    """A file that is hashed while lines are added to it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """Append a line, LF included."""
        self._file.write(line)
        self._digest.update(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def sha256(self) -> str:
        """The hash of all lines so far."""
        return self._digest.hexdigest()


class TraceWriter:
    """Items and gold of a trace in the making, in the folder that will become it."""

    def __init__(self, folder: Path) -> None:
        self.items = LinesWriter(folder / ITEMS_FILE)
        self.gold = LinesWriter(folder / GOLD_FILE)
        self.num_candidates = 0
        self._ids: set[str] = set()

    @property
    def num_items(self) -> int:
        """How many items were written, candidates among them."""
        return len(self._ids)

    def add(self, item: Item) -> None:
        """Write an item.

        Raises:
            TraceError: its id was written before.
        """
        if item.id in self._ids:
            raise TraceError(f"{item.id} comes twice in the data; every candidate needs a name of its own.")
        self._ids.add(item.id)
        self.num_candidates += item.role is Role.CANDIDATE
        self.items.add(item.to_line())

    def add_gold(self, gold: Gold | None) -> None:
        """Write a right answer, nothing where there is none."""
        if gold is not None:
            self.gold.add(gold.to_line())

    def close(self) -> None:
        """Close both files."""
        self.items.close()
        self.gold.close()


@contextlib.contextmanager
def new_folder(out: Path, *, replace: bool) -> Iterator[Path]:
    """Yield a folder beside ``out`` that takes its place when the block ends well, and vanishes otherwise.

    Raises:
        TraceError: ``out`` exists and may not be replaced, or cannot be written.
    """
    _check_place(out, replace=replace)
    partial = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        if out.is_dir():
            shutil.rmtree(out)
        partial.rename(out)
    except OSError as error:
        raise TraceError(f"{out}: cannot be written ({error.strerror}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_place(out: Path, *, replace: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise TraceError(f"{out}: is a file; give --out a folder.")
    files = {path.name for path in out.iterdir()}
    if files and not replace:
        raise TraceError(f"{out}: exists already; give another --out, or --force to replace a trace.")
    if files - {ITEMS_FILE, GOLD_FILE, SCHEDULE_FILE}:
        raise TraceError(f"{out}: holds other files than a trace; give another --out.")
