"""The figures of one group of requests. Pure: a frame of samples in, a record out.

Rules: latency and lateness are of requests that did not fail, unfinished ones as lower bounds; service
time likewise, of those that were sent; rates count answered requests over the run's whole makespan, so
that the groups of a run add up to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from loadtest.analysis.percentiles import percentile
from loadtest.report.bands import time_split
from loadtest.report.records import Distribution, Errors, Goodput, Group, Tokens

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loadtest.report.records import Mismatch, Quality

PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Over which time a run's rates are taken.

    ``makespan_s``: from the first intended instant to the last reply (or the end of the last wait), summed
    over runs. ``duration_s``: of the schedule, summed over runs; None where all was due at once.
    """

    makespan_s: float
    duration_s: float | None


def measure(
    frame: pl.DataFrame,
    window: Window,
    *,
    objective_s: float | None = None,
    quality: Quality | None = None,
    mismatch: Mismatch | None = None,
) -> Group:
    """Return the figures of the requests in ``frame`` (columns of ``frames.with_durations``)."""
    answered = frame.filter(pl.col("answered"))
    timed = frame.filter(~pl.col("failed"))
    tokens = answered["tokens"].fill_null(0)
    num_answered = answered.height
    return Group(
        n=frame.height,
        num_answered=num_answered,
        num_censored=int(frame["censored"].sum()),
        latency_s=distribution(timed, "latency_s"),
        service_s=distribution(timed.filter(pl.col("service_s").is_not_null()), "service_s"),
        lateness_s=distribution(
            frame.filter(pl.col("lateness_s").is_not_null()).with_columns(censored=pl.lit(value=False)),
            "lateness_s",
        ),
        throughput_per_s=_rate(num_answered, window.makespan_s),
        offered_per_s=_rate(frame.height, window.duration_s),
        inputs_per_s=_rate(num_answered, window.makespan_s),
        tokens_per_s=_rate(int(tokens.sum()), window.makespan_s),
        errors=_errors(frame),
        tokens=_tokens(answered),
        split=time_split(answered),
        goodput=None if objective_s is None else goodput(frame, window, objective_s),
        quality=quality,
        mismatch=mismatch,
    )


def distribution(frame: pl.DataFrame, column: str) -> Distribution:
    """Return the distribution of a duration; rows that are ``censored`` count as lower bounds."""
    seconds: NDArray[np.float64] = frame[column].to_numpy()
    censored: NDArray[np.bool_] = frame["censored"].to_numpy()
    if not seconds.size:
        return Distribution(n=0, mean=None, p50=None, p95=None, p99=None, max=None)
    found = {name: percentile(seconds, p, censored=censored) for name, p in PERCENTILES}
    bounds = [name for name, value in found.items() if value is not None and value.at_least]
    if censored.any():
        bounds += ["mean", "max"]
    return Distribution.model_validate(
        {
            "n": seconds.size,
            "mean": float(seconds.mean()),
            "max": float(seconds.max()),
            "lower_bounds": tuple(bounds),
            **{name: None if value is None else value.value for name, value in found.items()},
        }
    )


def goodput(frame: pl.DataFrame, window: Window, objective_s: float) -> Goodput:
    """Count the requests answered within ``objective_s`` of the instant when they were due."""
    within = int(frame.select((pl.col("answered") & (pl.col("latency_s") <= objective_s)).sum()).item())
    return Goodput(
        objective_s=objective_s,
        per_s=_rate(within, window.makespan_s),
        ratio=within / frame.height if frame.height else None,
    )


def _errors(frame: pl.DataFrame) -> Errors:
    failed = frame.filter(pl.col("failed"))
    kinds = failed.group_by("error").len().sort(["len", "error"], descending=[True, False])
    return Errors(
        num=failed.height,
        ratio=failed.height / frame.height if frame.height else None,
        by_kind=dict(kinds.iter_rows()),
    )


def _tokens(answered: pl.DataFrame) -> Tokens:
    known = answered["tokens"].drop_nulls()
    if not known.len():
        return Tokens(total=0, mean=None, max=None)
    total = int(known.sum())
    return Tokens(total=total, mean=total / known.len(), max=int(known.to_numpy().max()))


def _rate(num: int, seconds: float | None) -> float | None:
    return num / seconds if seconds else None
