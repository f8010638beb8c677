"""The thin shell around laws of arrivals: reads the file that a replayed law names."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.trace.arrivals import Law, LawError, Replay, parse_law, parse_timestamps

if TYPE_CHECKING:
    from loadtest.trace.arrivals import Timestamps


def load_law(text: str, *, folder: Path | None = None) -> Law:
    """Return the law that a text names, its recorded arrivals read where it has any.

    ``folder``: what a relative file is relative to; None is the working directory.

    Raises:
        LawError: the text is not in the grammar, or the file cannot be read.
    """
    law = parse_law(text)
    if not isinstance(law, Replay):
        return law
    return law.loaded(read_timestamps(Path(folder or "") / law.file))


def read_timestamps(path: Path) -> Timestamps:
    """Return the arrivals recorded in a file, plain or gzip (``.gz``).

    Raises:
        LawError: the file is absent, not text, or in no known format.
    """
    try:
        with _open_text(path) as lines:
            return parse_timestamps(lines, source=str(path))
    except UnicodeDecodeError as error:
        raise LawError(f"{path} is not UTF-8 text; a replay needs a CSV, JSONL or access log.") from error
    except (OSError, EOFError) as error:
        raise LawError(f"{path} cannot be read: {error}.") from error


def _open_text(path: Path) -> io.TextIOWrapper:
    raw = gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")
    return io.TextIOWrapper(raw, encoding="utf-8")
