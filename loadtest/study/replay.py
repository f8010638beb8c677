"""One run of the study: a schedule replayed against the server under an arm, then summarised.

The dull part: everything goes through files, and a run that was begun and not finished, or was
stopped by the user, is thrown away before it is made again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from loadtest.driver.run import RunOptions, run
from loadtest.report.summary import write_summary
from loadtest.study.cores import pinned

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loadtest.driver.run import Show
    from loadtest.report.records import Summary
    from loadtest.study.folder import StudyFolder
    from loadtest.study.study_file import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A run to be made: its name, whose arm, on which schedule, as which replicate."""

    name: str
    arm: str
    trace: str
    replicate: int = 0


class Replay(Protocol):
    """Makes one run and returns what it found."""

    def __call__(self, wanted: Wanted, target: str, show: Show | None) -> Summary:
        """Replay ``wanted.trace`` against ``target``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayer:
    """Replays in one study: its folder, its arms' files, its load settings, its objective.

    ``objectives`` are kept with every run, so that goodput is counted against them.
    """

    study: Study
    folder: StudyFolder
    arms: Mapping[str, Path]
    cpus: frozenset[int] | None
    objectives: tuple[str, ...]
    command: tuple[str, ...]

    def __call__(self, wanted: Wanted, target: str, show: Show | None) -> Summary:
        """Make the run from scratch; its summary marks it as complete.

        Raises:
            KeyboardInterrupt: the user stopped it; what it measured is no run of the plan.
        """
        out = self.folder.run(wanted.name)
        shutil.rmtree(out, ignore_errors=True)
        load = self.study.declared.load
        with pinned(self.cpus):
            result = run(
                RunOptions(
                    trace=self.folder.trace(wanted.trace),
                    target=target,
                    arm=self.arms[wanted.arm],
                    out=out,
                    processes=load.processes,
                    replicate=wanted.replicate,
                    timeout_s=load.timeout_s,
                    max_inflight=load.max_inflight,
                    ready_timeout_s=self.study.declared.server.start_timeout_s,
                    index=self.folder.index(wanted.arm),
                    objectives=self.objectives,
                    command=self.command,
                    server_cpus=self.study.declared.server.cpus,
                ),
                show,
            )
        if result.stopped_by_user:
            raise KeyboardInterrupt
        return write_summary(out, self._reference(wanted.arm))

    def _reference(self, arm: str) -> Path | None:
        """Return the arm's unloaded run, once it is there."""
        name = unloaded_name(arm)
        return self.folder.run(name) if self.folder.is_complete(name) else None


def unloaded_name(arm: str) -> str:
    """Return the name of the run in which an arm answers one request at a time."""
    return f"unloaded-{arm}"
