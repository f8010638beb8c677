"""A note on runs in which latency rose or fell from start to end.

Rule: only open schedules have a course; what is sent all at once or one by one is as late as its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from loadtest.analysis.steadiness import Course, steadiness
from loadtest.report import formats
from loadtest.report.frames import with_durations
from loadtest.report.run_files import OPEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loadtest.analysis.steadiness import Steadiness
    from loadtest.report.run_files import RunFiles


def course_notes(runs: Sequence[RunFiles]) -> Iterator[str]:
    """Say in how many runs latency rose, and in how many it fell, with the worst one's figures."""
    found = {run.folder.name: seen for run in runs if (seen := course_of(run)) is not None}
    rising = {name: seen for name, seen in found.items() if seen.course is Course.RISING}
    falling = {name: seen for name, seen in found.items() if seen.course is Course.FALLING}
    if rising:
        yield (
            f"Latency rose {_where(rising, len(runs))}: the median of the last quarter of requests was "
            f"{max(one.growth for one in rising.values()):.2g} times the first quarter's. The queue was "
            "growing, and percentiles depend on how long the run was."
        )
    if falling:
        yield (
            f"Latency fell {_where(falling, len(runs))}: the median of the last quarter of requests was "
            f"{min(one.growth for one in falling.values()):.2g} times the first quarter's. About the first "
            f"{max(one.warm_up_ratio for one in falling.values()):.0%} of requests look like a warm-up."
        )


def course_of(run: RunFiles) -> Steadiness | None:
    """Judge one run; None where its law is not open, or its requests are too few."""
    if run.mode != OPEN:
        return None
    timed = with_durations(run.samples).filter(~pl.col("failed"))
    return steadiness(timed["intended_us"].to_numpy() / 1e6, timed["latency_s"].to_numpy())


def _where(found: Mapping[str, Steadiness], num_runs: int) -> str:
    if num_runs == 1:
        return "over the run"
    named = ", ".join(list(found)[:3]) + (", .." if len(found) > 3 else "")  # noqa: PLR2004 - as many as a line holds
    return f"over {len(found)} of {formats.plural(num_runs, 'run')} ({named})"
