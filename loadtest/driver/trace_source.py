"""The trace of one process, read when first needed and then shared by what runs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.driver.plan import digest
from loadtest.trace.items import TraceError
from loadtest.trace.schedule import SCHEDULE_FILE, load_trace

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.trace.schedule import Trace


class TraceSource:
    """A trace folder; ``load`` reads and checks it once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._trace: Trace | None = None

    @property
    def schedule_sha256(self) -> str:
        """Hash of the schedule, which names the hashes of the items and the gold answers.

        Raises:
            TraceError: there is no schedule.
        """
        path = self.folder / SCHEDULE_FILE
        try:
            return digest(path)
        except OSError as error:
            raise TraceError(f"{path}: cannot be read ({error.strerror}).") from error

    def load(self) -> Trace:
        """Return the trace.

        Raises:
            TraceError: a file is missing or damaged, or a hash differs.
        """
        if self._trace is None:
            self._trace = load_trace(self.folder)
        return self._trace
