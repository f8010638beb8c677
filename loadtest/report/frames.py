"""Samples with the durations that the report is about, derived once.

Rules: latency = done - intended, service = done - sent, lateness = sent - intended, all in seconds. A
request is *answered* (a reply without an error), *failed* (an error) or *censored* (unfinished: how long
it was waited for is a lower bound). A sample is exactly one of the three.
"""

from __future__ import annotations

import polars as pl

STAGES = ("tokenize", "queue", "infer", "decode")
MICRO = 1e-6
MILLI = 1e-3


def with_durations(samples: pl.DataFrame) -> pl.DataFrame:
    """Add ``latency_s``, ``service_s``, ``lateness_s``, the split in seconds, ``answered`` and ``failed``.

    ``network_s`` is service without the server's own total; ``server_other_s`` the total without its
    stages; both are null where the answer carried no split.
    """
    censored = pl.col("censored")
    has_error = pl.col("error").is_not_null()
    return samples.with_columns(
        latency_s=_elapsed("intended_us", "done_us"),
        service_s=_elapsed("sent_us", "done_us"),
        lateness_s=_elapsed("intended_us", "sent_us"),
        server_s=pl.col("total_ms") * MILLI,
        answered=~censored & ~has_error,
        failed=~censored & has_error,
        **{f"{stage}_s": pl.col(f"{stage}_ms").fill_null(0.0) * MILLI for stage in STAGES},
    ).with_columns(
        network_s=pl.col("service_s") - pl.col("server_s"),
        server_other_s=pl.col("server_s") - pl.sum_horizontal(f"{stage}_s" for stage in STAGES),
        has_split=pl.col("server_s").is_not_null(),
    )


def _elapsed(start: str, end: str) -> pl.Expr:
    return (pl.col(end) - pl.col(start)).cast(pl.Float64) * MICRO
