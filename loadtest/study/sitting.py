"""One sitting of a study at a time: two in one folder would end each other's servers.

The lock is the kernel's (flock), so that it is gone with the process that held it, however that ended. Rule:
a folder that is no study's is left as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from loadtest.study.study_file import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = "lock"
DECLARED = "declared.json"


@contextlib.contextmanager
def sole_sitting(root: Path) -> Iterator[None]:
    """Hold a study's folder, made where it is not there, until the block ends.

    Raises:
        StudyError: another process holds it, it holds other files, or it cannot be written.
    """
    _check_place(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{root} cannot be written ({error.strerror}); give another --out") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StudyError(
                f"{root} is in use by another process ({file.read().strip() or 'just begun'}); wait for its "
                "end, or give another --out"
            ) from None
        file.truncate(0)
        file.write(f"pid {os.getpid()}\n")
        file.flush()
        yield


def _check_place(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise StudyError(f"{root} is a file; give --out a folder")
    if root.is_dir() and not (root / DECLARED).is_file() and {path.name for path in root.iterdir()} - {LOCK}:
        raise StudyError(f"{root} holds other files; give --out a new folder")
