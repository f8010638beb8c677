"""What two arms are compared in. Pure.

A measure reads one figure of a group of requests; it is None where too few requests allow none. Rule: a
request that failed has no latency, and an arm that fails its slow requests would look fast; where as many
failed as lie beyond a percentile, that percentile is not compared.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from loadtest.analysis.equivalence import Direction, Margins

if TYPE_CHECKING:
    from loadtest.report.records import Group
    from loadtest.study.study_file import MarginsTable


class Measure(StrEnum):
    """The figures that a study compares."""

    P50 = "p50 latency"
    P95 = "p95 latency"
    P99 = "p99 latency"
    GOODPUT = "goodput"
    OFFLINE_INPUTS = "offline inputs/s"
    OFFLINE_TOKENS = "offline tokens/s"
    CAPACITY = "capacity"

    def of(self, group: Group) -> float | None:
        """Read the figure of a group of requests; capacities are of searches, not of groups."""
        latency = group.latency_s
        match self:
            case Measure.P50 | Measure.P95 | Measure.P99:
                name = self.value[:3]
                # A percentile that unfinished requests reach into is known to be at least so much: no figure.
                num_beyond = (100 - int(name[1:])) * group.n / 100
                hidden = name in latency.lower_bounds or 0 < num_beyond <= group.errors.num
                found = None if hidden else getattr(latency, name)
            case Measure.GOODPUT:
                found = None if group.goodput is None else group.goodput.per_s
            case Measure.OFFLINE_INPUTS:
                found = group.inputs_per_s
            case Measure.OFFLINE_TOKENS:
                found = group.tokens_per_s
            case Measure.CAPACITY:
                found = None
            case _:
                assert_never(self)
        return found

    @property
    def direction(self) -> Direction:
        """Whether more of it is slower or faster."""
        is_latency = self in (Measure.P50, Measure.P95, Measure.P99)
        return Direction.LARGER_IS_SLOWER if is_latency else Direction.LARGER_IS_FASTER

    def margins(self, declared: MarginsTable) -> Margins:
        """Return the log ratios that were declared too small to matter."""
        match self:
            case Measure.P50:
                ratio = declared.p50
            case Measure.P95:
                ratio = declared.p95
            case Measure.P99:
                ratio = declared.p99
            case Measure.GOODPUT:
                ratio = declared.goodput
            case Measure.OFFLINE_INPUTS | Measure.OFFLINE_TOKENS:
                ratio = declared.offline
            case Measure.CAPACITY:
                ratio = declared.capacity
            case _:
                assert_never(self)
        return Margins.symmetric(ratio)
