"""What the checks of a run look at, what they allow, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtest.analysis.fit import Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is allowed. Ratios are shares in 0..1."""

    lateness_s: float = 0.005
    lateness_of_latency_ratio: float = 0.05
    rate_ratio: float = 0.01
    unusable_ratio: float = 0.01
    generator_cpu_ratio: float = 0.8
    steal_ratio: float = 0.01
    hub_delay_s: float = 0.020
    clock_drift_ratio: float = 0.001
    # Both must fail: a p-value alone condemns any long run for a deviation that matters to nobody,
    # a distance alone condemns any short one.
    fit_p: float = 1e-4
    fit_distance: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """What a run says of itself; None where it could not be measured or does not apply.

    ``lateness_p99_s``: sent - intended; None for closed and offline loops, as are the rates.
    ``offered_per_s``: scheduled arrivals over the schedule's span; ``achieved_per_s``: the
    same arrivals over the span in which they were sent. ``generator_cpu_ratio``: of one core,
    the busiest worker's. ``steal_ratio``: of the time of the cores used. ``hub_delay_p99_s``:
    how late the heartbeat ran. ``clock_drift_ratio``: wall time gained on monotonic time.
    ``unusable_ratio``: of the requests that were sent, those whose connection broke or whose
    answer was none of this API. ``target_answers``: whether it did after the last request.
    ``num_recorded``: rows of samples, one an arrival. ``arrivals``: sent instants against
    their law. ``changed_weights``: variants whose digest was another at the end; None where
    the server gives no digests.
    """

    num_scheduled: int
    num_recorded: int
    num_workers: int
    num_workers_lost: int
    lateness_p99_s: float | None = None
    latency_p50_s: float | None = None
    offered_per_s: float | None = None
    achieved_per_s: float | None = None
    generator_cpu_ratio: float | None = None
    steal_ratio: float | None = None
    hub_delay_p99_s: float | None = None
    clock_drift_ratio: float | None = None
    arrivals: Fit | None = None
    changed_weights: tuple[str, ...] | None = None
    unusable_ratio: float | None = None
    target_answers: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One test of the run itself. ``passed`` is None where it could not be measured.

    ``value``: what was held against a bound, as a number; None where the test is none of a number.
    """

    name: str
    passed: bool | None
    measured: str
    allowed: str
    sentence: str
    value: float | None = None
