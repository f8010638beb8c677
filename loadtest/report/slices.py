"""The course of a run in slices of equal length. Pure: a frame of samples in, slices out.

Rules: a request belongs to the slice in which it was due; in flight is the mean number of requests that
were due and not yet done over the slice, so that it is exact whatever the length of a slice; several runs
of an arm are laid over each other from their starts and averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from loadtest.report.chart_time import Slice

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SLICES = 90
LEAST_PER_SLICE = 5  # requests, on average: fewer would draw single requests as if they were a course
MICRO = 1e-6


def time_slices(frame: pl.DataFrame, num_runs: int = 1, max_slices: int = MAX_SLICES) -> tuple[Slice, ...]:
    """Cut the requests of one arm into slices from the first intended instant to the last reply."""
    if not frame.height:
        return ()
    due = frame["intended_us"].to_numpy() * MICRO
    done = frame["done_us"].to_numpy() * MICRO
    end = max(float(done.max()), float(due.max()), 1e-3)
    num = int(np.clip(frame.height / num_runs // LEAST_PER_SLICE, 1, max_slices))
    edges = np.linspace(0.0, end, num + 1)
    in_flight = mean_in_flight(due, done, edges) / num_runs
    place = np.clip(np.searchsorted(edges, due, side="right") - 1, 0, num - 1)
    by_slice = (
        frame.with_columns(slice=pl.Series(place))
        .group_by("slice")
        .agg(
            num_due=pl.len(),
            num_failed=pl.col("failed").sum(),
            median_s=pl.col("latency_s").filter(pl.col("answered")).quantile(0.5, "lower"),
            slowest_s=pl.col("latency_s").filter(pl.col("answered")).max(),
        )
    )
    rows = {row["slice"]: row for row in by_slice.iter_rows(named=True)}
    return tuple(
        Slice(
            start_s=float(edges[k]),
            end_s=float(edges[k + 1]),
            num_due=rows[k]["num_due"] if k in rows else 0,
            num_failed=int(rows[k]["num_failed"]) if k in rows else 0,
            median_s=rows[k]["median_s"] if k in rows else None,
            slowest_s=rows[k]["slowest_s"] if k in rows else None,
            in_flight=float(in_flight[k]),
        )
        for k in range(num)
    )


def mean_in_flight(
    due: NDArray[np.float64], done: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean number in flight between consecutive ``edges`` [k + 1] -> [k].

    The time spent in the system up to an instant t, summed over requests, is sum(min(t, done) - min(t, due));
    its growth over a slice, divided by the slice's length, is the mean number in flight.
    """
    spent = np.array([np.minimum(t, done).sum() - np.minimum(t, due).sum() for t in edges])
    mean: NDArray[np.float64] = np.maximum(np.diff(spent) / np.diff(edges), 0.0)
    return mean
