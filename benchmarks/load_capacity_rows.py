"""What probes of arms say of their capacities, beside the closed form of M/D/1. Pure.

Rules. The closed form knows no HTTP: a request has the objective's limit less what it costs beside the
server's own account of its queue and service. So a capacity is held against two closed forms, under the whole
limit and under what the mean cost leaves of it; the truth lies between them (they differ by about 1 %), and
an interval must reach it. The arms' service times differ by 1.25 and their capacities by more: the slower
server has fewer of its longer services within the same limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scipy import optimize

from benchmarks.load_record import markdown_table
from loadtest.analysis.capacity import Block, capacity, capacity_ratio
from loadtest.analysis.queueing import MD1

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtest.analysis.interval import Interval

STEAL_BOUND_RATIO = 0.01
HUB_BOUND_S = 0.020


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure, its 95 % interval, the two closed forms around the truth, and what it must exclude."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    closed: tuple[float, float]
    excludes: float | None = None
    num_blocks: int

    @property
    def word(self) -> str:
        """What it comes to."""
        if self.value is None or self.low is None or self.high is None:
            return "no interval"
        if self.low > max(self.closed) or self.high < min(self.closed):
            return "DOES NOT HOLD"
        if self.excludes is not None and self.low <= self.excludes <= self.high:
            return f"too wide: holds {self.excludes:g}"
        return "holds"


def closed_capacity_per_s(service_s: float, limit_s: float, share: float) -> float:
    """Return the rate at which a share of M/D/1's sojourns is within a limit."""

    def over(rate: float) -> float:
        return MD1(arrivals_per_s=rate, service_s=service_s).sojourn_cdf(limit_s) - share

    return float(optimize.brentq(over, 0.01 / service_s, 0.98 / service_s))


def quiet(row: Mapping[str, Any]) -> bool:
    """Whether the host left its cores to this probe."""
    steal = row["steal_ratio"]
    return steal is not None and steal <= STEAL_BOUND_RATIO and row["hub_delay_p99_s"] <= HUB_BOUND_S


def findings(
    blocks: Mapping[str, Sequence[Block]],
    service_s: Mapping[str, float],
    limit_s: float,
    share: float,
    cost_s: float,
) -> list[Finding]:
    """Return each arm's capacity, and its ratio to the first arm's; ``cost_s``: a request's, in the mean."""
    reference, *others = service_s
    closed = {
        arm: (closed_capacity_per_s(own, limit_s, share), closed_capacity_per_s(own, limit_s - cost_s, share))
        for arm, own in service_s.items()
    }
    found = []
    for arm in service_s:
        one = capacity(blocks[arm], target=share)
        low, high = _ends(one.interval)
        found.append(
            Finding(
                name=f"capacity of {arm}, requests a second",
                value=one.rate_per_s,
                low=low,
                high=high,
                closed=closed[arm],
                num_blocks=one.num_blocks,
            )
        )
    for arm in others:
        between = capacity_ratio(blocks[arm], blocks[reference], target=share)
        low, high = (None if end is None else math.exp(end) for end in _ends(between.interval))
        same = service_s[arm] == service_s[reference]
        found.append(
            Finding(
                name=f"capacity of {arm} over {reference}",
                value=None if between.log_ratio is None else math.exp(between.log_ratio),
                low=low,
                high=high,
                closed=(1.0, 1.0) if same else _ratios(closed[arm], closed[reference]),
                excludes=None if same else 1.0,
                num_blocks=between.num_pairs,
            )
        )
    return found


def _ratios(ours: tuple[float, float], theirs: tuple[float, float]) -> tuple[float, float]:
    return ours[0] / theirs[0], ours[1] / theirs[1]


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def table_of(found: Sequence[Finding]) -> str:
    """Return a line a figure."""
    return markdown_table(
        ["figure", "found", "95 % interval", "closed form", "less cost", "blocks", "verdict"],
        [
            [
                one.name,
                _written(one.value),
                f"{_written(one.low)} to {_written(one.high)}",
                *(_written(value) for value in one.closed),
                str(one.num_blocks),
                one.word,
            ]
            for one in found
        ],
    )


def probes_table(blocks: Mapping[str, Sequence[Block]]) -> str:
    """Return the attainment that every arm had at each rate of the sweep."""
    lines = []
    for arm, seen in blocks.items():
        for rate in sorted({block.rate_per_s for block in seen}):
            here = [block.attained_ratio for block in seen if block.rate_per_s == rate]
            lines.append([arm, f"{rate:.1f}", ", ".join(f"{share:.3f}" for share in sorted(here))])
    return markdown_table(["arm", "requests a second", "in time, each block"], lines)


def _written(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
