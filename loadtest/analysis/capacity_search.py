"""Which rate to probe next: bracket, bisect, then sweep. A state that is told and asked; no clock, no I/O.

::

    search = Search(start_per_s=20)
    while isinstance(step := search.next_step(), Probe):
        search = search.observe(run(step))        # one block at step.rate_per_s
    capacity(step.sweep, target=...)

*Bracket*: double the rate until the objective is missed (or halve it until it is met).
*Bisect* (geometrically) until both ends are within ``precision_ratio``. A rate meets the
objective when the mean attainment of its ``num_blocks`` blocks reaches the target.
*Sweep*: fresh blocks at fixed rates around the middle, in random order, from which the
capacity and its interval are computed; a search's own blocks would be biased, since it
stops where their luck says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

    from loadtest.analysis.capacity import Block

SWEEP_RATIOS = (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15)


class Stage(StrEnum):
    """What a probe is for."""

    BRACKET = "bracket"
    BISECT = "bisect"
    SWEEP = "sweep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Run one drained block at this rate and tell what came of it."""

    rate_per_s: float
    stage: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Nothing more to run. ``sweep``: the blocks to fit; where there are none, ``reason`` says why."""

    sweep: tuple[Block, ...]
    met_per_s: float | None
    missed_per_s: float | None
    reason: str


Step = Probe | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to search. Rates are a second.

    ``target``: the objective's share of requests in time. ``num_blocks``: at each rate. ``factor``: of
    the bracket's steps. ``precision_ratio``: how far apart the bisection may leave its ends.
    ``sweep_ratios``: rates of the sweep over the middle. ``lowest_per_s``,
    ``highest_per_s``: where to give up.
    """

    start_per_s: float
    target: float
    num_blocks: int = 3
    factor: float = 2.0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Everything observed so far; ``observe`` returns the next state and never changes this one."""

    plan: Plan
    order: tuple[int, ...]
    probed: tuple[Block, ...] = ()
    sweep: tuple[Block, ...] = field(default=())

    @classmethod
    def begin(cls, plan: Plan, rng: Generator) -> Search:
        """Return a search that has seen nothing; ``rng`` orders the sweep."""
        slots = np.repeat(np.arange(len(plan.sweep_ratios)), plan.num_sweep_blocks)
        return cls(plan=plan, order=tuple(rng.permutation(slots).tolist()))

    def next_step(self) -> Step:
        """Return what to run next, or that all is done."""
        met, missed = self._ends()
        unfinished = self._unfinished()
        if unfinished is not None:
            stage = Stage.BRACKET if met is None or missed is None else Stage.BISECT
            return Probe(rate_per_s=unfinished, stage=stage)
        if met is None or missed is None:
            return self._bracket(met, missed)
        if missed / met > self.plan.precision_ratio:
            return Probe(rate_per_s=math.sqrt(met * missed), stage=Stage.BISECT)
        return self._sweep(met, missed)

    def observe(self, block: Block) -> Search:
        """Return the state after the block that was asked for.

        Raises:
            ValueError: the block is not the one asked for.
        """
        step = self.next_step()
        if not isinstance(step, Probe) or step.rate_per_s != block.rate_per_s:
            raise ValueError(f"A block at {block.rate_per_s}/s was not asked for; the next step is {step}.")
        if step.stage is Stage.SWEEP:
            return replace(self, sweep=(*self.sweep, block))
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

    def _bracket(self, met: float | None, missed: float | None) -> Step:
        if met is None and missed is None:
            return Probe(rate_per_s=self.plan.start_per_s, stage=Stage.BRACKET)
        if met is not None:
            rate = met * self.plan.factor
        else:
            assert missed is not None, "One of both ends is known. This is a bug."
            rate = missed / self.plan.factor
        if not self.plan.lowest_per_s <= rate <= self.plan.highest_per_s:
            found = "met at every" if met is not None else "missed at every"
            return Done(
                sweep=(), met_per_s=met, missed_per_s=missed, reason=f"the objective was {found} rate probed"
            )
        return Probe(rate_per_s=rate, stage=Stage.BRACKET)

    def _sweep(self, met: float, missed: float) -> Step:
        if len(self.sweep) == len(self.order):
            return Done(sweep=self.sweep, met_per_s=met, missed_per_s=missed, reason="")
        ratio = self.plan.sweep_ratios[self.order[len(self.sweep)]]
        return Probe(rate_per_s=math.sqrt(met * missed) * ratio, stage=Stage.SWEEP)
