"""What a run says of its own validity: gauges from its record, the rest measured again from the samples.

Rules: lateness, rates and the law of arrivals come from the samples, so that they can be recomputed by
anyone; what only the generator could see (its processor, its heartbeat, steal, clocks, workers, digests)
comes from the run's record. Bounds are the analysis's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from loadtest.analysis.fit import fit
from loadtest.analysis.percentiles import rank
from loadtest.analysis.validity import check
from loadtest.analysis.validity_terms import Bounds, Check, Measurements
from loadtest.report.frames import with_durations
from loadtest.report.run_files import COMPLETE, OPEN
from loadtest.trace.arrivals import LawError, parse_law
from loadtest.trace.samples import BAD_ANSWER, CUT_SHORT

if TYPE_CHECKING:
    from loadtest.analysis.fit import Fit
    from loadtest.report.run_files import RunFiles
    from loadtest.trace.schedule import Header

MICRO = 1_000_000
FOR_LOAD = (429, 503, 504)  # queue full, draining, deadline passed


def check_run(run: RunFiles, bounds: Bounds | None = None) -> tuple[Check, ...]:
    """Return every check of a run, in the order in which a reader should see them."""
    return (_ending(run), *check(measurements_of(run, bounds or Bounds()), bounds))


def measurements_of(run: RunFiles, bounds: Bounds) -> Measurements:
    """Gather what the checks look at."""
    frame, gauges = with_durations(run.samples), run.info.gauges
    is_open = run.mode == OPEN
    num_scheduled = run.header.num_arrivals if run.header else gauges.num_scheduled
    offered, achieved = _rates(frame) if is_open else (None, None)
    return Measurements(
        num_scheduled=frame.height if num_scheduled is None else num_scheduled,
        num_recorded=frame.filter(~pl.col("error").fill_null("").is_in(CUT_SHORT)).height,
        num_workers=gauges.num_workers,
        num_workers_lost=gauges.num_workers_lost,
        lateness_p99_s=_percentile(frame["lateness_s"], 0.99) if is_open else None,
        latency_p50_s=_percentile(frame.filter(pl.col("answered"))["latency_s"], 0.5),
        offered_per_s=offered,
        achieved_per_s=achieved,
        generator_cpu_ratio=gauges.generator_cpu_ratio,
        steal_ratio=gauges.steal_ratio,
        hub_delay_p99_s=gauges.hub_delay_p99_s,
        clock_drift_ratio=gauges.clock_drift_ratio,
        arrivals=_fit(run.header, frame, bounds) if is_open else None,
        changed_weights=gauges.changed_weights,
        unusable_ratio=_unusable_ratio(run.samples),
        target_answers=gauges.target_answers,
    )


def _ending(run: RunFiles) -> Check:
    """Say whether the run went to its end; one that was stopped did not ask what its schedule says."""
    outcome = run.info.outcome
    complete = outcome.status == COMPLETE
    said = f" {outcome.message}" if outcome.message else ""
    return Check(
        name="ending",
        passed=complete,
        measured=outcome.status,
        allowed=COMPLETE,
        sentence=(
            "The run went to its end."
            if complete
            else f"The run did not go to its end ({outcome.status}).{said} Run it again."
        ),
    )


def _percentile(seconds: pl.Series, p: float) -> float | None:
    """Return what a share ``p`` of this run's own requests did not exceed, however few they were.

    It is no estimate of a tail, for which few requests would say nothing: it describes the run that was made.
    """
    known = np.sort(seconds.drop_nulls().to_numpy())
    return float(known[rank(known.size, p)]) if known.size else None


def _rates(frame: pl.DataFrame) -> tuple[float | None, float | None]:
    """Return arrivals a second as scheduled and as sent, over the spans of the same requests."""
    sent = frame.filter(pl.col("sent_us").is_not_null())
    return _rate_over(sent["intended_us"]), _rate_over(sent["sent_us"])


def _rate_over(instants_us: pl.Series) -> float | None:
    instants = instants_us.to_numpy()
    span_us = int(np.ptp(instants)) if instants.size else 0
    return (instants.size - 1) / (span_us / MICRO) if span_us else None


def _unusable_ratio(samples: pl.DataFrame) -> float | None:
    """Return the share of what was sent that broke, or was answered with something else than was asked for.

    A timeout and a refusal for load are a service's own word on its speed; other refusals count only where
    nothing was answered, since then there is nothing to time.
    """
    sent = samples.filter(pl.col("sent_us").is_not_null() & ~pl.col("error").fill_null("").is_in(CUT_SHORT))
    failed = sent.filter(pl.col("error").is_not_null() & ~pl.col("censored"))
    unusable = pl.col("status").is_null() | pl.col("error").str.starts_with(BAD_ANSWER)
    if sent["error"].null_count() == 0:
        unusable |= ~pl.col("status").is_in(FOR_LOAD)
    return failed.filter(unusable).height / sent.height if sent.height else None


def _fit(header: Header | None, frame: pl.DataFrame, bounds: Bounds) -> Fit | None:
    """Test the instants of sending against the law; None where the law has no randomness or is not known."""
    if header is None:
        return None
    try:
        law = parse_law(header.law)
    except LawError:
        return None
    sent_us = frame["sent_us"].drop_nulls().sort().to_numpy()
    uniforms = law.uniforms(sent_us, resolution_us=int(bounds.lateness_s * MICRO))
    return None if uniforms is None else fit(uniforms)
