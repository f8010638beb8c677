"""Writing a file whole or not at all, so that nobody ever reads half of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text in UTF-8 beside ``path``, then put it in its place in one step.

    Raises:
        OSError: it cannot be written; what stood there before stands there still.
    """
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
