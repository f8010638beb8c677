"""Taking named files out of a zip or tar archive; each appears whole or not at all.

Only files that a pattern names are read, and each goes to a folder of ours under its
last name, so that no path inside an archive can lead elsewhere.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import zipfile
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from loadtest.datasets.examples import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from loadtest.datasets.sources import Member


def unpack(archive: Path, members: Sequence[Member], folder: Path) -> list[Path]:
    """Take what ``members`` name out of an archive into ``folder`` and return the files.

    Raises:
        DataError: it is no archive, is damaged, or lacks a member.
    """
    written: list[Path] = []
    found: set[str] = set()
    try:
        for name, content in _files(archive):
            for member in members:
                if fnmatchcase(name, member.pattern):
                    target = folder / member.folder / PurePosixPath(name).name
                    _write(target, content)
                    written.append(target)
                    found.add(member.pattern)
                    break
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise DataError(archive, f"is a damaged archive ({error}); delete it and fetch it again") from error
    missing = [member.pattern for member in members if member.pattern not in found]
    if missing:
        raise DataError(archive, f"holds no {missing[0]}; its publisher may have changed it")
    return written


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    with zipped.open(info) as content:
                        yield info.filename, content
        return
    with tarfile.open(archive) as packed:
        for entry in packed:
            packed_file = packed.extractfile(entry) if entry.isfile() else None
            if packed_file is not None:
                with packed_file:
                    yield entry.name, packed_file


def _write(target: Path, content: IO[bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    try:
        with partial.open("wb") as file:
            shutil.copyfileobj(content, file)
        partial.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
