"""Capacities under an objective: a search with each arm, then a sweep of all arms in turn.

A search finds where to look, for each arm, since a window around one arm's capacity need not hold another's.
The sweep probes the arms in turn, in random order, each at the same shares of its own middle and all on the
same arrivals (stretched where rates differ), so that the ratio of two capacities comes from pairs. Arms whose
searches ended alike share their rates too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.analysis.capacity import Block, capacity
from loadtest.analysis.capacity_search import Found, Lost, Plan, Probe, Search, sweep_order
from loadtest.analysis.objectives import ObjectiveError, What, parse_objectives
from loadtest.study.probing import NothingFoundError, Probing
from loadtest.study.study_file import StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.random import Generator

    from loadtest.report.records import Summary
    from loadtest.study.study_file import CapacityTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The objective of a search: the share of requests that must be answered within a time."""

    text: str
    share: float
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was probed, by arm; ``blocks[arm][i]`` share arrivals over arms, as do the figures.

    ``reason``: why there are none, or nothing; ``invalid``: it was the probes' own fault.
    """

    blocks: Mapping[str, tuple[Block, ...]]
    latencies_s: Mapping[str, tuple[float | None, ...]]
    goodputs_per_s: Mapping[str, tuple[float | None, ...]]
    reason: str
    invalid: bool = False

    def capacity_of(self, arm: str, target: Target) -> float | None:
        """Return an arm's capacity in requests a second; None where the sweep does not hold it."""
        blocks = self.blocks.get(arm)
        return capacity(blocks, target=target.share).rate_per_s if blocks else None


def target_of(text: str) -> Target:
    """Read a capacity objective such as ``p95<200ms``.

    Raises:
        StudyError: it is no objective, or no upper bound of a latency percentile over all requests.
    """
    try:
        found = parse_objectives(text)
    except ObjectiveError as error:
        raise StudyError(f"capacity.objective: {error}") from error
    objective = found[0]
    if (
        len(found) != 1
        or objective.what is not What.LATENCY
        or objective.percentile is None
        or not objective.operator.wants_small
        or objective.where
    ):
        raise StudyError(f"capacity.objective {text!r}: write one latency percentile, such as p95<200ms")
    return Target(text=text, share=objective.percentile, limit_s=objective.allowed)


def search(
    arms: tuple[str, ...],
    plan: Plan,
    max_probes: int,
    make: Callable[[str, float, int], Summary],
    rng: Generator,
) -> Swept:
    """Search with the first arm, then beside its bracket with every other; then sweep all arms in turn.

    ``make(arm, rate_per_s, number)`` makes one block; blocks with one number share their arrivals, stretched
    where their rates differ. ``max_probes``: rates that an arm's search may try before it gives up.
    """
    probing = Probing(make=make)
    found: dict[str, Found] = {}
    try:
        for arm in arms:
            here = plan.after(found[arms[0]]) if found else plan
            found[arm] = _bracket(arm, Search(plan=here), max_probes, probing)
        return _sweep(found, plan, probing, rng)
    except NothingFoundError as nothing:
        return Swept(
            blocks={}, latencies_s={}, goodputs_per_s={}, reason=nothing.reason, invalid=nothing.invalid
        )


def _bracket(arm: str, state: Search, max_probes: int, probing: Probing) -> Found:
    """Search with one arm; return the rates between which its capacity lies."""
    while isinstance(step := state.next_step(), Probe):
        if len(state.probed) >= max_probes * state.plan.num_blocks:
            raise NothingFoundError(f"the search found no bracket for {arm} within its probes")
        nth = sum(block.rate_per_s == step.rate_per_s for block in state.probed)
        summary = probing.searched(arm, step.rate_per_s, nth)
        state = state.observe(block_of(summary, step.rate_per_s))
    if isinstance(step, Lost):
        raise NothingFoundError(f"{step.reason} with {arm}")
    return step


def _sweep(found: Mapping[str, Found], plan: Plan, probing: Probing, rng: Generator) -> Swept:
    """Probe every arm around the middle of its own bracket, at the same shares of it, in random order."""
    middles = {arm: one.middle_per_s for arm, one in found.items()}
    reference = next(iter(middles.values()))
    # One window where brackets are equal but for rounding: its rates, and so its schedules, are then shared.
    middles = {arm: reference if math.isclose(at, reference) else at for arm, at in middles.items()}
    blocks: dict[str, list[Block]] = {arm: [] for arm in middles}
    latencies: dict[str, list[float | None]] = {arm: [] for arm in middles}
    goodputs: dict[str, list[float | None]] = {arm: [] for arm in middles}
    for ratio in sweep_order(plan, rng):
        rates = {arm: middle * ratio for arm, middle in middles.items()}
        for arm, summary in probing.swept(rates, rng).items():
            blocks[arm].append(block_of(summary, rates[arm]))
            latencies[arm].append(latency_of(summary, plan.target))
            goodputs[arm].append(goodput_of(summary))
    return Swept(
        blocks={arm: tuple(seen) for arm, seen in blocks.items()},
        latencies_s={arm: tuple(seen) for arm, seen in latencies.items()},
        goodputs_per_s={arm: tuple(seen) for arm, seen in goodputs.items()},
        reason="",
    )


def plan_of(table: CapacityTable, target: Target, start_per_s: float) -> Plan:
    """Return how to search for a declared objective.

    A search gets half the sweep's blocks at a rate: it decides where to look, and nothing else. It goes no
    lower than to a rate at which one request of a probe may be late and the objective met all the same.
    """
    fewest = 1 / (1 - target.share)
    return Plan(
        start_per_s=start_per_s,
        lowest_per_s=min(start_per_s, fewest / table.replicate_s),
        target=target.share,
        num_blocks=(table.replicates + 1) // 2,
        num_sweep_blocks=table.replicates,
    )


def block_of(summary: Summary, rate_per_s: float) -> Block:
    """Return how many of a run's scheduled requests were answered within the objective."""
    goodput = summary.overall.goodput
    ratio = 0.0 if goodput is None or goodput.ratio is None else goodput.ratio
    num = summary.overall.n
    return Block(rate_per_s=rate_per_s, num_requests=num, num_in_time=round(ratio * num))


def goodput_of(summary: Summary) -> float | None:
    """Return how many requests a second a run answered within the objective."""
    goodput = summary.overall.goodput
    return None if goodput is None else goodput.per_s


def latency_of(summary: Summary, share: float) -> float | None:
    """Return a run's percentile; None where it has none, or unfinished requests reach into it."""
    name, latency = f"p{share * 100:.0f}", summary.overall.latency_s
    found: float | None = None if name in latency.lower_bounds else getattr(latency, name, None)
    return found
