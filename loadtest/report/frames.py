"""Samples with the durations that the report is about, derived once.

Rules: latency = done - intended, service = done - sent, lateness = sent - intended, all in seconds. A
request is *answered* (a reply without an error), *failed* (an error) or *censored* (unfinished: how long
it was waited for is a lower bound). A sample is exactly one of the three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from loadtest.analysis.split import STAGES, Split, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

MICRO = 1e-6


def pool(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put the samples of runs under each other, numbered by ``row`` over all and by ``run``."""
    numbered = [frame.with_columns(run=pl.lit(number, pl.Int32)) for number, frame in enumerate(frames)]
    return with_durations(pl.concat(numbered)).with_row_index("row")


def with_durations(samples: pl.DataFrame) -> pl.DataFrame:
    """Add ``latency_s``, ``service_s``, ``lateness_s``, ``answered`` and ``failed``."""
    has_error = pl.col("error").is_not_null()
    return samples.with_columns(
        latency_s=_elapsed("intended_us", "done_us"),
        service_s=_elapsed("sent_us", "done_us"),
        lateness_s=_elapsed("intended_us", "sent_us"),
        answered=~pl.col("censored") & ~has_error,
        failed=~pl.col("censored") & has_error,
    )


def split_of(answered: pl.DataFrame) -> Split:
    """Return the parts of answered requests, in their order."""
    return split(
        intended_us=answered["intended_us"].to_numpy(),
        sent_us=answered["sent_us"].to_numpy(),
        done_us=answered["done_us"].to_numpy(),
        server_ms={name: _milliseconds(answered, f"{name}_ms") for name in (*STAGES, "total")},
    )


def _milliseconds(frame: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return frame[column].fill_null(float("nan")).to_numpy()


def _elapsed(start: str, end: str) -> pl.Expr:
    return (pl.col(end) - pl.col(start)).cast(pl.Float64) * MICRO
