"""Whether a run measured the server, or itself.

Every check gives what was measured and what is allowed; a run is INVALID when one
fails. What could not be measured (a host that tells no steal, a law without
randomness) is said and does not fail. Bounds are values that a user may change:
the reasons then name the bound that was used.

Lateness, offered against achieved and the clock follow MLPerf LoadGen's own checks;
processor time, steal and the heartbeat come from measurements of the dispatcher,
whose lateness grows past 65 % of a core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.analysis.validity_terms import Bounds, Check

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadtest.analysis.validity_terms import Measurements


def check(found: Measurements, bounds: Bounds | None = None) -> tuple[Check, ...]:
    """Return every check of a run, in the order in which a reader should see them."""
    allowed = bounds or Bounds()
    return (
        _complete(found),
        _workers(found),
        _target(found),
        _ANSWERS.check(found.unusable_ratio, allowed.unusable_ratio),
        _lateness(found, allowed),
        _rate(found, allowed),
        _law(found, allowed),
        _GENERATOR.check(found.generator_cpu_ratio, allowed.generator_cpu_ratio),
        _HUB.check(found.hub_delay_p99_s, allowed.hub_delay_s),
        _STEAL.check(found.steal_ratio, allowed.steal_ratio),
        _clock(found, allowed),
        _weights(found),
    )


def reasons(checks: Iterable[Check]) -> tuple[str, ...]:
    """Return why a run is invalid, a sentence a failed check; empty where it is valid."""
    return tuple(one.sentence for one in checks if one.passed is False)


def _complete(found: Measurements) -> Check:
    missing = found.num_scheduled - found.num_recorded
    return Check(
        name="samples",
        passed=missing == 0,
        measured=f"{found.num_recorded} of {found.num_scheduled}",
        allowed="one an arrival",
        sentence=(
            "Every scheduled arrival has its sample."
            if missing == 0
            else f"{found.num_recorded} samples for {found.num_scheduled} scheduled arrivals: what became of "
            "the others is not known. Look for a worker that ended early, and run again."
        ),
    )


def _workers(found: Measurements) -> Check:
    lost = found.num_workers_lost
    return Check(
        name="workers",
        passed=lost == 0,
        measured=f"{found.num_workers - lost} of {found.num_workers} finished",
        allowed="all",
        sentence=(
            "Every worker finished."
            if lost == 0
            else f"{lost} of {found.num_workers} workers died or fell silent: part of the load was not sent. "
            "Read their logs, and run again."
        ),
    )


def _target(found: Measurements) -> Check:
    name, allowed = "target", "answers to the end"
    if found.target_answers is None:
        return _unknown(name, allowed)
    return Check(
        name=name,
        passed=found.target_answers,
        measured=allowed if found.target_answers else "gone",
        allowed=allowed,
        sentence=(
            "The target still answered after the last request."
            if found.target_answers
            else "The target no longer answered after the last request: it ended during the run. "
            "Read its log, start it, and run again."
        ),
    )


def _lateness(found: Measurements, bounds: Bounds) -> Check:
    share = bounds.lateness_of_latency_ratio * (found.latency_p50_s or 0.0)
    return _LATENESS.check(found.lateness_p99_s, max(bounds.lateness_s, share))


def _rate(found: Measurements, bounds: Bounds) -> Check:
    offered, achieved = found.offered_per_s, found.achieved_per_s
    apart = None if not offered or achieved is None else abs(achieved / offered - 1)
    return _RATE.check(apart, bounds.rate_ratio)


def _law(found: Measurements, bounds: Bounds) -> Check:
    name, allowed = "law of arrivals", f"p >= {bounds.fit_p:g} or distance <= {bounds.fit_distance:g}"
    fit = found.arrivals
    if fit is None:
        return _unknown(name, allowed)
    apart = min(fit.distance_p, fit.anderson_p) < bounds.fit_p and fit.distance > bounds.fit_distance
    tied = fit.correlation_p < bounds.fit_p and abs(fit.correlation) > 2 * bounds.fit_distance
    measured = f"distance {fit.distance:.3f} (p {fit.distance_p:.2g}), correlation {fit.correlation:.3f}"
    return Check(
        name=name,
        passed=not (apart or tied),
        measured=measured,
        allowed=allowed,
        sentence=(
            "The instants of sending follow the law that was asked for."
            if not (apart or tied)
            else f"The instants of sending do not follow the law that was asked for ({measured}). "
            "Look at lateness, and at gaps that workers repeat."
        ),
    )


def _clock(found: Measurements, bounds: Bounds) -> Check:
    drift = found.clock_drift_ratio
    return _CLOCK.check(None if drift is None else abs(drift), bounds.clock_drift_ratio)


def _weights(found: Measurements) -> Check:
    changed = found.changed_weights
    if changed is None:
        return _unknown("weights", "unchanged")
    return Check(
        name="weights",
        passed=not changed,
        measured=", ".join(changed) or "unchanged",
        allowed="unchanged",
        sentence=(
            "The server kept its weights."
            if not changed
            else f"The weights of {', '.join(changed)} changed during the run: two models share these "
            "samples. Deploy nothing while measuring, and run again."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gate:
    """A quantity that must not pass a bound: how it is written, and what is said of it either way."""

    name: str
    unit: str
    good: str
    bad: str

    def check(self, value: float | None, bound: float) -> Check:
        """Hold a value against a bound, both in seconds or as shares."""
        per_unit = {"ms": 1e3, "%": 1e2}[self.unit]
        allowed = f"<= {bound * per_unit:.3g} {self.unit}"
        if value is None:
            return _unknown(self.name, allowed)
        measured = f"{value * per_unit:.3g} {self.unit}"
        broken = f"{self.name.capitalize()}: {measured} ({allowed} allowed) {self.bad}"
        return Check(
            name=self.name,
            passed=value <= bound,
            measured=measured,
            allowed=allowed,
            sentence=self.good if value <= bound else broken,
            value=value,
        )


def _unknown(name: str, allowed: str) -> Check:
    return Check(
        name=name,
        passed=None,
        measured="not measured",
        allowed=allowed,
        sentence=f"{name.capitalize()}: not measured.",
    )


_LATENESS = _Gate(
    name="lateness",
    unit="ms",
    good="Requests were sent when they were due.",
    bad="is how late requests were sent (99th percentile): the load was not the one scheduled. "
    "Use more processes or a quieter machine, or lower the rate.",
)
_RATE = _Gate(
    name="offered rate",
    unit="%",
    good="The load sent was the load offered.",
    bad="is how far the rate sent is from the rate scheduled. "
    "Use more processes or a quieter machine, or lower the rate.",
)
_ANSWERS = _Gate(
    name="answers",
    unit="%",
    good="The target answered as this API does.",
    bad="of the requests got a broken connection, or an answer that is none of this API: the others say "
    "nothing of a service that works. Read the errors and the target's log, and run again.",
)
_GENERATOR = _Gate(
    name="generator's core",
    unit="%",
    good="The load generator had processor time to spare.",
    bad="of a core went into the busiest generator process: too much to send and time well. "
    "Use more processes, or lower the rate.",
)
_HUB = _Gate(
    name="heartbeat",
    unit="ms",
    good="The generator's event loop ran on time.",
    bad="is how late the generator's event loop ran (99th percentile): replies were timed late by as much. "
    "Use more processes or a quieter machine.",
)
_STEAL = _Gate(
    name="steal",
    unit="%",
    good="The host left its cores to the run.",
    bad="of the cores' time was taken by the host for others. Use a dedicated machine, or run again.",
)
_CLOCK = _Gate(
    name="clocks",
    unit="%",
    good="Wall and monotonic clocks agree.",
    bad="is how far wall and monotonic clocks parted: one of them was set or slewed. Run again.",
)
