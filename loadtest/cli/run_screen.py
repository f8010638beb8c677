"""What the terminal shows while a run is prepared, sent and collected. Everything goes to standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import TaskID

    from loadtest.driver.progress import Progress as Reading

_MS_PER_S = 1e3
_UNBOUNDED = 10_000  # columns, to ask a table for its natural width
_LOG_INTERVAL_S = 10.0  # where nothing can be redrawn, a line now and then stands for the bar


class RunScreen:
    """A bar a phase, and under it the readings of the generator; use it in a ``with`` block."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:24}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._readings: Table | Text = Text()
        self._logged_at_s = 0.0
        self._shown: dict[str, TaskID] = {}
        self._live = Live(Group(self._bars, self._readings), console=self._console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            self._console.line()

    def waiting(self, said: str, left_s: float) -> None:
        """Show why the target is waited for."""
        self._bar("waiting for the target", None, 0, f"{said}; {left_s:.0f} s left")

    def indexing(self, task: str, done: int, total: int) -> None:
        """Show how far the index phase is."""
        self._bar(f"candidates of {task}", total, done, f"{done:,} of {total:,}")

    def prepared(self, deviations: tuple[str, ...]) -> None:
        """Say what is sent otherwise than the benchmark does."""
        if "waiting for the target" in self._shown:
            self._bar("waiting for the target", 1, 1, "ready")
        for sentence in deviations:
            self._console.print(f"note: {sentence}", highlight=False, markup=False, soft_wrap=True)
        self._bar("starting the generator", None, 0, "")

    def measuring(self, reading: Reading) -> None:
        """Show a reading: offered, achieved, in flight, lateness, errors and the time left."""
        self._bar("starting the generator", 1, 1, "")
        left_s = reading.remaining_s
        ended = reading.num_done >= reading.num_scheduled
        note = "" if left_s is None or ended else f"{left_s:.0f} s left"
        if left_s == 0 and reading.num_inflight:
            note = "waiting for the last answers"
        self._bar("sending", reading.num_scheduled, reading.num_done, note)
        if not self._console.is_terminal and reading.elapsed_s - self._logged_at_s >= _LOG_INTERVAL_S:
            self._logged_at_s = reading.elapsed_s
            self._console.print(reading.sentence(), highlight=False, markup=False, soft_wrap=True)
        self._readings = self._fitting(reading)
        self._live.update(Group(self._bars, self._readings))

    def _fitting(self, reading: Reading) -> Table | Text:
        """Return a table, or a sentence that wraps where the terminal is too narrow for one."""
        table = _table(reading)
        needed = Measurement.get(self._console, self._console.options.update(max_width=_UNBOUNDED), table)
        return table if needed.maximum <= self._console.width else Text(reading.sentence())

    def collecting(self, done: int, total: int) -> None:
        """Show how far the samples are."""
        self._bar("making samples", total, done, f"{done:,} of {total:,}")

    def exporting(self, url: str) -> None:
        """Say where the run's own metrics are."""
        self._console.print(f"metrics: {url}", highlight=False, markup=False, soft_wrap=True)

    def waiting_for_scrape(self, timeout_s: float) -> None:
        """Say why the end takes a moment."""
        self._bar("waiting for a last scrape", None, 0, f"at most {timeout_s:.0f} s")

    def _bar(self, name: str, total: int | None, done: int, note: str) -> None:
        if name not in self._shown:
            self._shown[name] = self._bars.add_task(name, total=total, note=note)
        self._bars.update(self._shown[name], total=total, completed=done, note=note)


def _table(reading: Reading) -> Table:
    """Return the generator's readings as one row."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    late_s, elapsed_s = reading.lateness_p99_s, reading.elapsed_s
    cells = {
        "offered": f"{reading.num_due:,}",
        "sent": f"{reading.num_sent:,}",
        "sent/s": f"{reading.num_sent / elapsed_s:.1f}" if elapsed_s else "-",
        "in flight": f"{reading.num_inflight:,}",
        "failed": f"{reading.num_failed:,}",
        "lateness p99 now": "-" if late_s is None else f"{late_s * _MS_PER_S:.1f} ms",
    }
    if reading.num_lost:
        cells["workers lost"] = str(reading.num_lost)
    for head in cells:
        table.add_column(head, justify="right")
    table.add_row(*cells.values())
    return table
