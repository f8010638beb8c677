"""Samples held against objectives: met, missed, or too few to tell.

A percentile that unfinished requests reach into is a lower bound: it can miss an
objective, and it cannot meet one. Errors and unfinished requests count in
``error_rate``; answers are what goodput and throughput count, over the makespan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from loadtest.analysis.objectives import Objective, What, latency_limit_s
from loadtest.analysis.percentiles import Percentile, least, population

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtest.analysis.percentiles import Population


class Scores(Protocol):
    """Quality by metric name and selection; None where it was not scored."""

    def __call__(self, metric: str, where: Mapping[str, str]) -> float | None:
        """Return the score in 0..1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What objectives are held against.

    ``samples``: rows with the columns of ``samples.parquet``. ``makespan_s``: from the first intended
    instant to the last answer, summed over runs. ``scores``, ``unloaded_scores``: of the answers
    under load, and of the same items by an idle server.
    """

    samples: pl.DataFrame
    makespan_s: float
    scores: Scores | None = None
    unloaded_scores: Scores | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attainment:
    """Whether one objective was met: ``met`` is None where it cannot be told.

    ``measured`` and ``allowed`` are in ``unit``: seconds (``s``), ``/s`` or ``ratio``.
    """

    objective: str
    met: bool | None
    measured: float | None
    allowed: float
    unit: str
    sentence: str


def attain(objectives: Sequence[Objective], evidence: Evidence) -> tuple[Attainment, ...]:
    """Hold samples against each objective, in order."""
    every = tuple(objectives)
    return tuple(_attain(objective, evidence, latency_limit_s(every, objective.where)) for objective in every)


def _attain(objective: Objective, evidence: Evidence, limit_s: float | None) -> Attainment:
    if objective.what is What.QUALITY:
        return _quality(objective, evidence)
    chosen = _select(objective, evidence.samples)
    if not chosen.height:
        return _unknown(objective, "no request was of this kind")
    return _of_requests(objective, chosen, evidence.makespan_s, limit_s)


def _of_requests(
    objective: Objective, chosen: pl.DataFrame, makespan_s: float, limit_s: float | None
) -> Attainment:
    match objective.what:
        case What.ERROR_RATE:
            return _decide(objective, 1 - _answered(chosen).height / chosen.height)
        case What.THROUGHPUT:
            return _rate(objective, _answered(chosen).height, makespan_s)
        case What.GOODPUT:
            return _goodput(objective, _answered(chosen), makespan_s, limit_s)
        case _:
            return _duration(objective, chosen)


def _duration(objective: Objective, chosen: pl.DataFrame) -> Attainment:
    group = _population(objective.what, chosen)
    found = _statistic(objective, group)
    if found is None:
        return _unknown(objective, _too_few(objective, group.values.size))
    if found.at_least and objective.operator.holds(found.value, objective.allowed):
        return _unknown(objective, "unfinished requests reach into it", measured=found.value)
    return _decide(objective, found.value, at_least=found.at_least)


def _too_few(objective: Objective, n: int) -> str:
    if objective.percentile is None:
        return "no request of this kind was answered"
    answers = "answer is" if n == 1 else "answers are"
    return f"{n:,} {answers} too few, a {objective.statistic} takes {least(objective.percentile):,}"


def _population(what: What, chosen: pl.DataFrame) -> Population:
    start, end = {
        What.LATENCY: ("intended_us", "done_us"),
        What.SERVICE: ("sent_us", "done_us"),
        What.LATENESS: ("intended_us", "sent_us"),
    }[what]
    timed = chosen.filter(pl.col(start).is_not_null() & pl.col(end).is_not_null())
    seconds = timed.select(_elapsed(start, end)).to_series().to_numpy()
    if what is What.LATENESS:
        # The instant of sending is known whatever became of the request.
        nothing = np.zeros(seconds.size, dtype=np.bool_)
        return population(seconds, failed=nothing, censored=nothing)
    failed = timed["error"].is_not_null().to_numpy()
    return population(seconds, failed=failed, censored=timed["censored"].to_numpy())


def _statistic(objective: Objective, group: Population) -> Percentile | None:
    if objective.percentile is not None:
        return group.percentile(objective.percentile)
    if not group.values.size:
        return None
    value = group.values.mean() if objective.statistic == "mean" else group.values.max()
    return Percentile(value=float(value), at_least=bool(group.censored.any()))


def _goodput(
    objective: Objective, answered: pl.DataFrame, makespan_s: float, limit_s: float | None
) -> Attainment:
    if limit_s is None:
        return _unknown(objective, "goodput needs a latency objective beside it, such as p95<200ms")
    in_time = answered.filter(_elapsed("intended_us", "done_us") <= limit_s)
    return _rate(objective, in_time.height, makespan_s)


def _rate(objective: Objective, count: int, makespan_s: float) -> Attainment:
    if not makespan_s > 0:
        return _unknown(objective, "the run has no duration")
    return _decide(objective, count / makespan_s)


def _quality(objective: Objective, evidence: Evidence) -> Attainment:
    measured = _score(evidence.scores, objective)
    if measured is None:
        return _unknown(objective, f"no {objective.statistic} was scored there")
    allowed = objective.allowed
    if objective.of_unloaded:
        unloaded = _score(evidence.unloaded_scores, objective)
        if unloaded is None:
            return _unknown(objective, "the unloaded server was not scored", measured=measured)
        allowed *= unloaded
    return _decide(objective, measured, allowed=allowed)


def _score(scores: Scores | None, objective: Objective) -> float | None:
    return None if scores is None else scores(objective.statistic, objective.where)


def _select(objective: Objective, samples: pl.DataFrame) -> pl.DataFrame:
    return samples.filter(*(pl.col(name) == value for name, value in objective.where.items()))


def _answered(samples: pl.DataFrame) -> pl.DataFrame:
    return samples.filter(~pl.col("censored") & pl.col("error").is_null())


def _elapsed(start: str, end: str) -> pl.Expr:
    return (pl.col(end) - pl.col(start)).cast(pl.Float64) / 1e6


def _decide(
    objective: Objective, measured: float, *, allowed: float | None = None, at_least: bool = False
) -> Attainment:
    bound = objective.allowed if allowed is None else allowed
    met = objective.operator.holds(measured, bound)
    shown = f"at least {_write(measured, objective.what)}" if at_least else _write(measured, objective.what)
    limit = f" ({_write(bound, objective.what)} allowed)" if allowed is not None else ""
    return Attainment(
        objective=objective.text,
        met=met,
        measured=measured,
        allowed=bound,
        unit=objective.what.unit,
        sentence=f"{objective.text} {'met' if met else 'missed'}: {shown}{limit}.",
    )


def _unknown(objective: Objective, why: str, *, measured: float | None = None) -> Attainment:
    return Attainment(
        objective=objective.text,
        met=None,
        measured=measured,
        allowed=objective.allowed,
        unit=objective.what.unit,
        sentence=f"{objective.text} cannot be told: {why}.",
    )


def _write(value: float, what: What) -> str:
    match what.unit:
        case "s":
            return f"{value * 1e3:.3g} ms" if value < 1 and math.isfinite(value) else f"{value:.3g} s"
        case "/s":
            return f"{value:.3g}/s"
        case _:
            return f"{value:.2%}" if what is What.ERROR_RATE else f"{value:.4g}"
