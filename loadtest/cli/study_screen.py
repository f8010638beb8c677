"""What the terminal shows while a study runs: all of it as one bar, the current run under it.

Where nothing can be redrawn, such as in a CI job's log, a line a run and a wait stands for the bars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.datasets.tasks import TASKS

if TYPE_CHECKING:
    from rich.progress import TaskID

    from loadtest.datasets.tasks import Task
    from loadtest.driver.progress import Progress as Reading

_MS_PER_S = 1e3
_LOG_STEP_S = 10


class StudyScreen:
    """Two bars on standard error, or lines; use it in a ``with`` block."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._said = ""
        self._bars = Progress(
            TextColumn("{task.description:44}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._all = self._bars.add_task("reading the data", total=None, note="")
        self._run: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def building(self, task: Task, language: str) -> None:
        """Show which data are read."""
        self._line("reading the data")
        self._bars.update(self._all, description=f"reading {TASKS[task].title} {language}")

    def begin(self, name: str, number: int, total: int | None) -> Self:
        """Show that a run begins."""
        self._line(f"run {number}{'' if total is None else f' of {total}'}: {name}")
        self._bars.update(self._all, description="runs of the study", total=total, completed=number - 1)
        if self._run is None:
            self._run = self._bars.add_task(name, total=None, note="")
        self._bars.reset(self._run, description=name, total=None, note="")
        return self

    def reporting(self, what: str, done: int, total: int) -> None:
        """Show how far the report is."""
        self._line("writing the report")
        self._bars.update(self._all, description=what, total=total, completed=done)

    def waiting(self, said: str, left_s: float) -> None:
        """Show why the target is waited for."""
        key = f"{said} {left_s // _LOG_STEP_S}"
        self._line(f"waiting for the server, at most {left_s:.0f} s: {said}", key)
        self._note(f"waiting for the server: {said}; {left_s:.0f} s left")

    def indexing(self, task: str, done: int, total: int) -> None:
        """Show how far the candidates are."""
        self._note(f"candidates of {task}", done, total)

    def prepared(self, deviations: tuple[str, ...]) -> None:
        """Deviations are told in the report; a study would repeat them at every run."""
        del deviations

    def measuring(self, progress: Reading) -> None:
        """Show a reading."""
        late_s = progress.lateness_p99_s
        late = "" if late_s is None else f", lateness p99 now {late_s * _MS_PER_S:.1f} ms"
        failed = f", {progress.num_failed} failed" if progress.num_failed else ""
        self._note(
            f"{progress.num_inflight} in flight{late}{failed}", progress.num_done, progress.num_scheduled
        )

    def collecting(self, done: int, total: int) -> None:
        """Show how far the samples are."""
        self._note("making samples", done, total)

    def exporting(self, url: str) -> None:
        """Say where the run's own metrics are."""
        self._note(f"metrics: {url}")

    def waiting_for_scrape(self, timeout_s: float) -> None:
        """Say why the end takes a moment."""
        self._note(f"waiting for a last scrape, at most {timeout_s:.0f} s")

    def _line(self, said: str, key: str = "") -> None:
        """Print a line where there are no bars, unless the last one had the same key: else its own words."""
        if not self._console.is_terminal and (key or said) != self._said:
            self._said = key or said
            self._console.print(said, highlight=False, markup=False, soft_wrap=True)

    def _note(self, note: str, done: int = 0, total: int | None = None) -> None:
        if self._run is not None:
            self._bars.update(self._run, note=note, completed=done, total=total)
