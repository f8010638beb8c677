"""A reading of a run while it runs, as one line of JSON between processes and one for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from loadtest.driver.tally import Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Counts since the start. ``duration_s``: of the schedule; None where it has no instants of its own.

    ``num_due``: arrivals whose intended instant has come. ``lateness_p99_s``: of what was sent last,
    the worst worker's. ``num_failed`` counts those given up too, which ``num_censored`` counts alone.
    ``latency``: of all but failures. ``started_at_s``: seconds of the epoch.
    """

    elapsed_s: float
    duration_s: float | None
    num_scheduled: int
    num_due: int
    num_sent: int
    num_done: int
    num_failed: int
    lateness_p99_s: float | None
    num_lost: int
    num_censored: int = 0
    latency: Distribution = field(default_factory=Distribution)
    lateness: Distribution = field(default_factory=Distribution)
    started_at_s: float | None = None

    @property
    def num_inflight(self) -> int:
        """Requests sent and not ended."""
        return self.num_sent - self.num_done

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the last request is sent, as far as can be told."""
        if self.duration_s is not None:
            return max(0.0, self.duration_s - self.elapsed_s)
        if not self.num_done or not self.elapsed_s:
            return None
        return (self.num_scheduled - self.num_done) * self.elapsed_s / self.num_done

    def to_line(self) -> str:
        """Return one line of JSON, LF included."""
        return json.dumps(asdict(self)) + "\n"

    def sentence(self) -> str:
        """Return the reading for a log."""
        late = "-" if self.lateness_p99_s is None else f"{1e3 * self.lateness_p99_s:.1f} ms"
        return (
            f"{self.elapsed_s:.0f} s: {self.num_due} offered, {self.num_sent} sent, "
            f"{self.num_inflight} in flight, {self.num_done} ended, {self.num_failed} failed, "
            f"lateness p99 now {late}"
        )


def progress_from(line: str) -> Progress:
    """Return the reading on a line of JSON."""
    values = json.loads(line)
    for name in ("latency", "lateness"):
        values[name] = Distribution.from_json(values[name])
    return Progress(**values)
