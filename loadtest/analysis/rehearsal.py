"""A study rehearsed in virtual time: what would its numbers be, were the truth known?

Every block of a design is served by one simulated server (Lindley's recursion) on the
arrivals and items of its segment, so that pairs share both, as they do in a real study.
What disturbs real servers is put in by name. It answers, before a server is started,
how often a design calls equal arms different and how often it finds a real effect.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.design import Phase, Side, plan
from loadtest.analysis.percentiles import exact
from loadtest.analysis.queueing import simulate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray

    from loadtest.analysis.design import Block, Design


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A server as it really is. Spreads are standard deviations of logarithms: 0.05 is about 5 %.

    ``mean_service_s`` and ``item_spread``: of service times over items, log-normal, the same items for
    both arms. ``slowdown``: by arm, how many times longer it takes (absent: 1). ``request_spread``: noise of
    each request; ``block_spread``: of each run; ``restart_spread``: of each arm at each restart;
    ``drift_spread``: of the hardware from one block to the next, a random walk.
    """

    mean_service_s: float = 0.020
    item_spread: float = 0.55
    slowdown: Mapping[str, float] = field(default_factory=dict)
    request_spread: float = 0.05
    block_spread: float = 0.0
    restart_spread: float = 0.0
    drift_spread: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a block is summed up to: a percentile of the latency of this many requests."""

    percentile: float = 0.95
    num_requests: int = 500


# One comparison of a design: what for, which arm, at which load.
Key = tuple[Phase, str, float]


def rehearse(
    design: Design, truth: Truth, rng: Generator, *, measure: Measure | None = None
) -> dict[Key, list[NDArray[np.float64]]]:
    """Return the log ratios that a study would see, by comparison: one array a restart, one value a pair.

    Raises:
        ValueError: the design has offline pairs, or the measure has too few requests for its percentile.
    """
    wanted = measure or Measure()
    seen: dict[tuple[Key, int, int], float] = {}
    ratios: dict[tuple[Key, int], list[float]] = defaultdict(list)
    drift = 0.0
    root = int(rng.integers(2**63))
    for block in plan(design, rng):
        drift += truth.drift_spread * rng.standard_normal()
        value = math.log(_measured(block, truth, wanted, root, drift))
        for arm in (block.arm,) if block.side is Side.ARM else _arms(design, block.phase):
            key = (block.phase, arm, _load(block))
            other = seen.pop((key, block.restart, block.pair), None)
            if other is None:
                seen[(key, block.restart, block.pair)] = value
            else:
                ratios[(key, block.restart)].append(
                    value - other if block.side is Side.ARM else other - value
                )
    groups: dict[Key, list[NDArray[np.float64]]] = defaultdict(list)
    for (key, _), values in ratios.items():
        groups[key].append(np.array(values))
    return dict(groups)


def _arms(design: Design, phase: Phase) -> tuple[str, ...]:
    """Return the arms that a run of the reference is compared with."""
    if phase is Phase.AA:
        return (design.reference,)
    return design.arms if phase is Phase.PAIR or design.control is None else (design.control,)


def _load(block: Block) -> float:
    if block.load_ratio is None:
        raise ValueError("Offline pairs have no latency to rehearse; leave them out of the design.")
    return block.load_ratio


def _measured(block: Block, truth: Truth, measure: Measure, root: int, drift: float) -> float:
    """Return one run's percentile in seconds; the segment decides arrivals and items, the block the noise."""
    shared = np.random.default_rng([root, 0, block.segment])
    noise = np.random.default_rng([root, 1, block.index])
    side = 0 if block.side is Side.REFERENCE else 1
    restart = np.random.default_rng([root, 2, block.restart, side])
    n = measure.num_requests
    arrivals_s = np.cumsum(shared.exponential(truth.mean_service_s / _load(block), n))
    items = _log_normal(shared, truth.item_spread, n) * truth.mean_service_s
    slow = truth.slowdown.get(block.arm, 1.0) * math.exp(drift + truth.block_spread * noise.standard_normal())
    slow *= math.exp(truth.restart_spread * restart.standard_normal())
    service_s = items * slow * _log_normal(noise, truth.request_spread, n)
    arrivals_us = np.rint(arrivals_s * 1e6).astype(np.int64)
    done_us = simulate(arrivals_us, np.rint(service_s * 1e6).astype(np.int64))
    value = exact((done_us - arrivals_us) / 1e6, measure.percentile)
    if value is None:
        raise ValueError(f"{n} requests are too few for a percentile of {measure.percentile}.")
    return value


def _log_normal(rng: Generator, spread: float, n: int) -> NDArray[np.float64]:
    """Return factors ``[n]`` with mean 1."""
    return np.exp(spread * rng.standard_normal(n) - spread**2 / 2)
