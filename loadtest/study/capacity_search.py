"""Capacities under an objective: a search on the reference arm, then a sweep of all arms in turn.

The search finds where to look; the sweep probes every arm at the same rates, on the same
arrivals, in random order, so that the ratio of two capacities comes from pairs. A probe that is
not valid measured the generator or the host: it is made again on other arrivals, a few times, and the
search then ends without a capacity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.analysis.capacity import Block, capacity
from loadtest.analysis.capacity_search import Plan, Probe, Search, Stage
from loadtest.analysis.objectives import ObjectiveError, What, parse_objectives
from loadtest.study.study_file import StudyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.random import Generator

    from loadtest.report.records import Summary
    from loadtest.study.study_file import CapacityTable


MAX_INVALID = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The objective of a search: the share of requests that must be answered within a time."""

    text: str
    share: float
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was probed, by arm; ``blocks[arm][i]`` share rate and arrivals over arms, as do the figures.

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
    """Search with the first arm, then sweep all arms at the same rates, in random order.

    ``make(arm, rate_per_s, number)`` makes one block; blocks with one number share their arrivals.
    ``max_probes``: rates that the search may try before it gives up.
    """
    reference = arms[0]
    state = Search.begin(plan, rng)
    blocks: dict[str, list[Block]] = {arm: [] for arm in arms}
    latencies: dict[str, list[float | None]] = {arm: [] for arm in arms}
    goodputs: dict[str, list[float | None]] = {arm: [] for arm in arms}
    number = num_invalid = 0
    while isinstance(step := state.next_step(), Probe):
        sweeping = step.stage is Stage.SWEEP
        if not sweeping and len(state.probed) >= max_probes * plan.num_blocks:
            return _nothing("the search found no bracket within its probes")
        rate = step.rate_per_s
        found = {arm: make(arm, rate, number) for arm in _order(arms if sweeping else (reference,), rng)}
        number += 1
        reasons = [reason for summary in found.values() for reason in summary.reasons]
        if reasons:
            num_invalid += 1
            if num_invalid == MAX_INVALID:
                said = f"{MAX_INVALID} probes in a row at {rate:.4g}/s were not valid: {reasons[0]}"
                return _nothing(said, invalid=True)
            continue
        num_invalid = 0
        if sweeping:
            for arm, summary in found.items():
                blocks[arm].append(block_of(summary, rate))
                latencies[arm].append(_latency(summary, plan.target))
                goodput = summary.overall.goodput
                goodputs[arm].append(None if goodput is None else goodput.per_s)
        state = state.observe(block_of(found[reference], rate))
    return Swept(
        blocks={arm: tuple(seen) for arm, seen in blocks.items()},
        latencies_s={arm: tuple(seen) for arm, seen in latencies.items()},
        goodputs_per_s={arm: tuple(seen) for arm, seen in goodputs.items()},
        reason=step.reason,
    )


def _nothing(reason: str, *, invalid: bool = False) -> Swept:
    return Swept(blocks={}, latencies_s={}, goodputs_per_s={}, reason=reason, invalid=invalid)


def plan_of(table: CapacityTable, target: Target, start_per_s: float) -> Plan:
    """Return how to search for a declared objective."""
    return Plan(
        start_per_s=start_per_s,
        target=target.share,
        num_blocks=table.replicates,
        num_sweep_blocks=table.replicates,
    )


def block_of(summary: Summary, rate_per_s: float) -> Block:
    """Return how many of a run's scheduled requests were answered within the objective."""
    goodput = summary.overall.goodput
    ratio = 0.0 if goodput is None or goodput.ratio is None else goodput.ratio
    num = summary.overall.n
    return Block(rate_per_s=rate_per_s, num_requests=num, num_in_time=round(ratio * num))


def _latency(summary: Summary, share: float) -> float | None:
    """Return a run's percentile; None where it has none, or unfinished requests reach into it."""
    name, latency = f"p{share * 100:.0f}", summary.overall.latency_s
    found: float | None = None if name in latency.lower_bounds else getattr(latency, name, None)
    return found


def _order(arms: tuple[str, ...], rng: Generator) -> list[str]:
    return [arms[i] for i in rng.permutation(len(arms))]
