"""What repeats of one queue say beside its closed form: intervals, and a word. Pure.

Rules. A request's *cost* is its latency less the server's own account of its queue and service: how late it
was sent, and HTTP at both ends. No closed form has it, so that an interval may lie above its closed form by
the measured cost and by nothing else: its lower end is lowered by that, its upper end stays.

- For the mean that is the mean cost, exactly: the mean of a sum is the sum of the means. (The median cost
  lies below it, since some requests are slow.)
- A cost that were constant would shift every quantile by itself. One that varies shifts the 95th percentile
  by the mean cost *of the requests that lie there*, in first order: the derivative of the q-th quantile of
  X + eC in e is E[C | X = q]. So the requests in the band of 2.5 % of ranks on either side of the account's
  p95 are asked what they cost.

An interval that, so lowered, is wider than half the closed form answers nothing, and says so.

Source: Hong, "Estimating quantile sensitivities", Operations Research 57 (2009), for the derivative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.load_record import markdown_table
from loadtest.analysis.interval import student_interval
from loadtest.analysis.queueing import MD1, MM1

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEVEL = 0.999
STEAL_BOUND_RATIO = 0.01
HUB_BOUND_S = 0.020
WIDEST_RATIO = 0.5  # an interval wider than half the closed form could hold anything
TAIL_RANKS = (0.925, 0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One run; times in seconds.

    ``cost_mean_s``, ``cost_median_s``: what a request took beside the server's own account; ``cost_tail_s``:
    the mean of those at the account's 95th percentile. A cost is lateness and HTTP: ``lateness_p99_s`` and
    ``http_p99_s`` are the slowest hundredth of each.
    """

    queue: str
    utilisation: float
    service_s: float
    repeat: int
    seed: int
    mean_s: float
    p95_s: float
    recursion_mean_s: float
    recursion_p95_s: float
    lateness_p99_s: float
    cost_mean_s: float
    cost_median_s: float
    cost_tail_s: float
    http_p99_s: float
    steal_ratio: float | None
    hub_delay_p99_s: float
    num_requests: int

    @property
    def quiet(self) -> bool:
        """Whether the host left its cores to this run."""
        steal = self.steal_ratio
        return steal is not None and steal <= STEAL_BOUND_RATIO and self.hub_delay_p99_s <= HUB_BOUND_S

    @property
    def off_s(self) -> float:
        """How far the p95 is from the recursion's."""
        return abs(self.p95_s - self.recursion_p95_s)

    @property
    def agrees(self) -> bool:
        """Whether the p95 is that of the recursion, but for the slowest hundredths of lateness and HTTP."""
        return self.off_s <= self.lateness_p99_s + self.http_p99_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Mean or p95 over the repeats, in seconds: its interval, its cost, and the closed form."""

    low_s: float
    high_s: float
    cost_s: float
    closed_s: float

    @property
    def holds(self) -> bool:
        """Whether the closed form lies in the interval, whose lower end is lowered by the cost."""
        return self.low_s - self.cost_s <= self.closed_s <= self.high_s

    @property
    def decides(self) -> bool:
        """Whether the interval is narrow enough to say anything."""
        return self.high_s - self.low_s + self.cost_s <= WIDEST_RATIO * self.closed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One queue at one utilisation, over its repeats."""

    queue: str
    utilisation: float
    service_s: float
    mean: Figure
    p95: Figure
    repeats: tuple[Repeat, ...]

    @property
    def word(self) -> str:
        """What the row says."""
        if not all(repeat.quiet for repeat in self.repeats):
            return "not quiet"
        holds = self.mean.holds and self.p95.holds
        if holds and not (self.mean.decides and self.p95.decides):
            return "too few"
        return "holds" if holds and all(repeat.agrees for repeat in self.repeats) else "DOES NOT HOLD"


def tail_cost_s(accounts_s: NDArray[np.float64], costs_s: NDArray[np.float64]) -> float:
    """Return the mean cost of the requests whose accounts lie about their 95th percentile, both ``[n]``."""
    first, last = (round(rank * accounts_s.size) for rank in TAIL_RANKS)
    at = np.argsort(accounts_s, kind="stable")[first : max(last, first + 1)]
    return float(costs_s[at].mean())


def p95_of(values: NDArray[np.float64]) -> float:
    """Return the smallest value that 95 % do not exceed."""
    return float(np.quantile(values, 0.95, method="inverted_cdf"))


def row_of(repeats: Sequence[Repeat]) -> Row:
    """Hold the repeats of one queue against its closed form.

    Raises:
        ValueError: they are of different queues, or of other service times: those cannot be put together.
    """
    kinds = {(one.queue, one.utilisation, one.service_s) for one in repeats}
    if len(kinds) != 1:
        raise ValueError(f"Repeats of {len(kinds)} queues ({sorted(kinds)}) cannot be put together.")
    ((queue, utilisation, service_s),) = kinds
    rate = utilisation / service_s
    exact = (
        MM1(arrivals_per_s=rate, served_per_s=1 / service_s)
        if queue == "M/M/1"
        else MD1(arrivals_per_s=rate, service_s=service_s)
    )
    return Row(
        queue=queue,
        utilisation=utilisation,
        service_s=service_s,
        mean=_figure(
            [one.mean_s for one in repeats], [one.cost_mean_s for one in repeats], exact.mean_sojourn_s
        ),
        p95=_figure(
            [one.p95_s for one in repeats],
            [one.cost_tail_s for one in repeats],
            exact.sojourn_percentile(0.95),
        ),
        repeats=tuple(repeats),
    )


def _figure(values_s: list[float], costs_s: list[float], closed_s: float) -> Figure:
    found = student_interval(values_s, LEVEL)
    return Figure(low_s=found.low, high_s=found.high, cost_s=float(np.mean(costs_s)), closed_s=closed_s)


def table_of(rows: Sequence[Row]) -> str:
    """Return every queue as a line, times in milliseconds."""
    heads = ["queue", "load", "service", "repeats", "requests", "closed mean", "99.9 % interval", "mean cost"]
    heads += ["closed p95", "99.9 % interval", "cost at p95", "p95 off recursion", "late p99", "HTTP p99"]
    return markdown_table(
        [*heads, "verdict"],
        [
            [
                row.queue,
                f"{row.utilisation:g}",
                f"{1e3 * row.service_s:g}",
                str(len(row.repeats)),
                f"{sum(one.num_requests for one in row.repeats):,}",
                *_cells(row.mean),
                *_cells(row.p95),
                *(f"{1e3 * max(values):.2f}" for values in _worst(row)),
                row.word,
            ]
            for row in rows
        ],
    )


def _cells(figure: Figure) -> tuple[str, str, str]:
    interval = " to ".join(f"{1e3 * end:.2f}" for end in (figure.low_s, figure.high_s))
    return f"{1e3 * figure.closed_s:.2f}", interval, f"{1e3 * figure.cost_s:.2f}"


def _worst(row: Row) -> tuple[list[float], list[float], list[float]]:
    return (
        [one.off_s for one in row.repeats],
        [one.lateness_p99_s for one in row.repeats],
        [one.http_p99_s for one in row.repeats],
    )
