"""Which rate to probe next: bracket, then bisect; and the rates of the sweep after it. No clock, no I/O.

::

    search = Search(plan=Plan(start_per_s=20, target=0.95))
    while isinstance(step := search.next_step(), Probe):
        search = search.observe(run(step))        # one block at step.rate_per_s
    sweep = [run(step.middle_per_s * ratio) for ratio in sweep_order(plan, rng)]     # where it is Found
    capacity(sweep, target=0.95)

*Bracket*: double the rate until the objective is missed (or halve it until it is met). An arm that is
searched after another (``Plan.after``) starts at that arm's bracket, and its steps get longer, up to
doubling: an equal arm takes two rates, one that is a third slower four.
*Bisect* (geometrically) until both ends are within ``precision_ratio``. A rate meets the
objective when the mean attainment of its ``num_blocks`` blocks reaches the target.
*Sweep*: fresh blocks at fixed rates around the middle, in random order, from which the
capacity and its interval are computed; a search's own blocks would be biased, since it
stops where their luck says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

    from loadtest.analysis.capacity import Block

# Wide enough to hold the crossing although a search of few blocks errs by a tenth, and no wider, since
# log-odds are straight only near it. In virtual time (tests/loadtest/study/test_study_capacity_power.py, 200
# studies) 1 to 2 % of sweeps missed the crossing; with 15 % either way it was 10 %.
SWEEP_RATIOS = (0.8, 0.88, 0.96, 1.04, 1.12, 1.2)
MAX_STEP = 2.0  # further away, a guess may be an overload that takes minutes to drain


class Stage(StrEnum):
    """What a probe is for."""

    BRACKET = "bracket"
    BISECT = "bisect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Run one drained block at this rate and tell what came of it."""

    rate_per_s: float
    stage: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The capacity lies between these rates; sweep around their middle."""

    met_per_s: float
    missed_per_s: float

    @property
    def middle_per_s(self) -> float:
        """The geometric middle."""
        return math.sqrt(self.met_per_s * self.missed_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """There is no capacity within the search's bounds: why."""

    reason: str


Step = Probe | Found | Lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to search. Rates are a second.

    ``target``: the objective's share of requests in time. ``num_blocks``: at each rate. ``factor``: of
    the bracket's steps; ``growth``: how many times as far, in logarithms, each goes as the one before.
    ``precision_ratio``: how far apart the bisection may leave its ends. ``sweep_ratios``: rates of the
    sweep over the middle, each ``num_sweep_blocks`` times. ``lowest_per_s``, ``highest_per_s``: where to
    give up.
    """

    start_per_s: float
    target: float
    num_blocks: int = 3
    factor: float = 2.0
    growth: float = 1.0
    precision_ratio: float = 1.1
    sweep_ratios: tuple[float, ...] = SWEEP_RATIOS
    num_sweep_blocks: int = 3
    lowest_per_s: float = 0.05
    highest_per_s: float = 1e5

    def __post_init__(self) -> None:
        if not self.lowest_per_s <= self.start_per_s <= self.highest_per_s:
            raise ValueError(f"The search starts at {self.start_per_s}/s, outside its own bounds.")
        if not (
            self.factor > 1 and self.precision_ratio > 1 and 0 < self.target < 1 and self.num_blocks >= 1
        ):
            raise ValueError(
                "A search needs a factor and a precision above 1, a target in (0, 1) and a block."
            )

    def step(self, num_rates: int) -> float:
        """Return by what factor the next rate of the bracket differs, after so many rates."""
        return min(math.pow(self.factor, math.pow(self.growth, num_rates - 1)), max(self.factor, MAX_STEP))

    def after(self, found: Found) -> Plan:
        """Return how to search for an arm beside one whose bracket is known."""
        factor = found.missed_per_s / found.met_per_s
        return replace(self, start_per_s=found.met_per_s, factor=factor, growth=2.0)


def sweep_order(plan: Plan, rng: Generator) -> tuple[float, ...]:
    """Return the sweep's rates over the middle, as often as they are to be probed, in random order."""
    ratios = np.repeat(plan.sweep_ratios, plan.num_sweep_blocks)
    return tuple(rng.permutation(ratios).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Everything observed so far; ``observe`` returns the next state and never changes this one."""

    plan: Plan
    probed: tuple[Block, ...] = ()

    def next_step(self) -> Step:
        """Return what to run next, or what was found."""
        met, missed = self._ends()
        unfinished = self._unfinished()
        if unfinished is not None:
            stage = Stage.BRACKET if met is None or missed is None else Stage.BISECT
            return Probe(rate_per_s=unfinished, stage=stage)
        if met is None or missed is None:
            return self._bracket(met, missed)
        if missed / met > self.plan.precision_ratio:
            return Probe(rate_per_s=math.sqrt(met * missed), stage=Stage.BISECT)
        return Found(met_per_s=met, missed_per_s=missed)

    def observe(self, block: Block) -> Search:
        """Return the state after the block that was asked for.

        Raises:
            ValueError: the block is not the one asked for.
        """
        step = self.next_step()
        if not isinstance(step, Probe) or step.rate_per_s != block.rate_per_s:
            raise ValueError(f"A block at {block.rate_per_s}/s was not asked for; the next step is {step}.")
        return replace(self, probed=(*self.probed, block))

    def _rates(self) -> dict[float, list[float]]:
        rates: dict[float, list[float]] = {}
        for block in self.probed:
            rates.setdefault(block.rate_per_s, []).append(block.attained_ratio)
        return rates

    def _unfinished(self) -> float | None:
        """Return a rate that has some of its blocks and not all."""
        short = [rate for rate, seen in self._rates().items() if len(seen) < self.plan.num_blocks]
        return short[0] if short else None

    def _ends(self) -> tuple[float | None, float | None]:
        """Return the highest rate that met the objective below the lowest that missed it, and that one."""
        finished = {rate: sum(seen) / len(seen) for rate, seen in self._rates().items()}
        missed = min((rate for rate, mean in finished.items() if mean < self.plan.target), default=None)
        passed = [rate for rate, mean in finished.items() if mean >= self.plan.target]
        met = [rate for rate in passed if missed is None or rate < missed]
        return max(met, default=None), missed

    def _bracket(self, met: float | None, missed: float | None) -> Probe | Lost:
        if met is None and missed is None:
            return Probe(rate_per_s=self.plan.start_per_s, stage=Stage.BRACKET)
        step = self.plan.step(len(self._rates()))
        if met is not None:
            rate = met * step
        else:
            assert missed is not None, "One of both ends is known. This is a bug."
            rate = missed / step
        if not self.plan.lowest_per_s <= rate <= self.plan.highest_per_s:
            found = "met at every" if met is not None else "missed at every"
            return Lost(reason=f"the objective was {found} rate probed")
        return Probe(rate_per_s=rate, stage=Stage.BRACKET)
