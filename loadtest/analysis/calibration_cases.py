"""Every interval and test that a report prints, each as a case whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.aa import spread_interval
from loadtest.analysis.bootstrap import MIN_UNITS, mean_interval
from loadtest.analysis.calibration import Case, Trial
from loadtest.analysis.calibration_few import (
    few_cases,
    offline_rate,
    scores_differ,
    slope_on_tokens,
    tagged,
)
from loadtest.analysis.capacity import Block, capacity, capacity_ratio
from loadtest.analysis.capacity_search import SWEEP_RATIOS
from loadtest.analysis.design import Design, Phase
from loadtest.analysis.equivalence import Direction, Margins, Verdict, compare
from loadtest.analysis.percentiles import exact
from loadtest.analysis.permutation import sign_flip_p
from loadtest.analysis.quality import compare_accuracy, micro_f1
from loadtest.analysis.queueing import MM1, simulate
from loadtest.analysis.rehearsal import Measure, Truth, rehearse

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from loadtest.analysis.equivalence import Comparison


def cases() -> tuple[Case, ...]:
    """Return every interval and test that a report prints, each as a case."""
    return (
        Case(name="pairs: Student, 6 normal", nominal=0.95, trial=_pairs(1, 6, _normal)),
        Case(name="pairs: bootstrap, 20 normal", nominal=0.95, trial=_pairs(1, 20, _normal)),
        Case(name="pairs: bootstrap, 20 skewed", nominal=0.95, trial=_pairs(1, 20, _skewed)),
        Case(name="pairs: Student, 2 normal", nominal=0.95, trial=_pairs(1, 2, _normal)),
        Case(name="pairs: Student, 7 of p95 at 0.8", nominal=0.95, trial=_queued(7)),
        Case(name="pairs: bootstrap, 8 normal", nominal=0.95, trial=_pairs(1, MIN_UNITS, _normal)),
        Case(name="pairs: bootstrap, 8 skewed", nominal=0.95, trial=_pairs(1, MIN_UNITS, _skewed)),
        Case(name="restarts: Student, 2 x 4", nominal=0.95, trial=_pairs(2, 4, _normal)),
        Case(name="restarts: bootstrap, 8 x 1", nominal=0.95, trial=_pairs(MIN_UNITS, 1, _normal)),
        Case(name="restarts: bootstrap, 10 x 2", nominal=0.95, trial=_pairs(10, 2, _normal)),
        Case(name="restarts: Student, 5 x 4", nominal=0.95, trial=_pairs(5, 4, _normal)),
        Case(name="A/A: no false alarm, drift", nominal=0.95, trial=_aa),
        Case(name="A/A: no false alarm, restarts", nominal=0.95, trial=_aa_restarts),
        Case(name="A/A: spread of a pair", nominal=0.95, trial=_spread(10)),
        Case(name="A/A: spread of a pair, 2 pairs", nominal=0.95, trial=_spread(2)),
        Case(name="sign flips silent", nominal=0.95, trial=_sign_flips),
        Case(name="equivalence not claimed at the margin", nominal=0.95, trial=_at_the_margin),
        Case(name="offline rate: Student on logarithms, 4 runs", nominal=0.95, trial=offline_rate(4)),
        Case(name="capacity", nominal=0.95, trial=_capacity(3)),
        Case(name="capacity, 12 blocks", nominal=0.95, trial=_capacity(2), max_without_ratio=0.2),
        Case(name="capacity ratio", nominal=0.95, trial=_capacity_ratio(3)),
        Case(name="capacity ratio, 6 pairs", nominal=0.95, trial=_capacity_ratio(1), max_without_ratio=0.2),
        Case(name="accuracy difference", nominal=0.95, trial=_accuracy),
        Case(name="F1 difference", nominal=0.95, trial=scores_differ(150, tagged, micro_f1, 0.1)),
        Case(
            name="slope on tokens",
            nominal=0.95,
            trial=slope_on_tokens(tuple(np.linspace(30, 110, 11).tolist())),
        ),
        Case(name="p95 over 10 runs, M/M/1", nominal=0.95, trial=_runs),
        *few_cases(),
    )


def requests_as_units() -> Case:
    """Return the mistake: an interval for p95 from one run's requests, as if they were independent."""
    return Case(name="p95 over requests, M/M/1", nominal=0.95, trial=_requests)


_EFFECT = 0.03
_MARGINS = Margins.symmetric(0.05)

_Draw = Callable[["Generator", tuple[int, int]], "NDArray[np.float64]"]


def _normal(rng: Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    return rng.standard_normal(shape)


def _skewed(rng: Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    return rng.exponential(size=shape) - 1


def _compared(groups: list[NDArray[np.float64]], rng: Generator) -> Comparison:
    return compare(groups, margins=_MARGINS, direction=Direction.LARGER_IS_SLOWER, rng=rng)


def _pairs(num_restarts: int, num_pairs: int, draw: _Draw) -> Trial:
    """Pairs within restarts; with several restarts, half as much spread between them as within."""

    def trial(rng: Generator) -> bool:
        between = 0.0 if num_restarts == 1 else 0.5
        values = draw(rng, (num_restarts, num_pairs)) + between * rng.standard_normal((num_restarts, 1))
        interval = _compared(list(_EFFECT + 0.05 * values), rng).interval
        return interval is not None and not interval.excludes(_EFFECT)

    return trial


def _rehearsed(truth: Truth, rng: Generator) -> Comparison:
    design = Design(reference="a", arms=("b",), num_pairs=20, num_restarts=20, load_ratios=(0.6,))
    groups = rehearse(design, truth, rng, measure=Measure(num_requests=400))
    return _compared(groups[Phase.PAIR, "b", 0.6], rng)


# The mean of such log ratios, within 0.004: of 6,000 of them, seeded [1, 80].
_QUEUED_LOG_RATIO = 0.195


def _queued(num_pairs: int) -> Trial:
    """Few pairs of p95 under queueing, which are skewed: an arm 5 % slower, 2 % noise a run."""

    def trial(rng: Generator) -> bool:
        interval = _compared(queued_log_ratios(num_pairs, rng), rng).interval
        return interval is not None and not interval.excludes(_QUEUED_LOG_RATIO)

    return trial


def queued_log_ratios(num_pairs: int, rng: Generator) -> list[NDArray[np.float64]]:
    """Return log ratios of p95 over 400 requests at a utilisation of 0.8, one arm 5 % slower."""
    design = Design(reference="a", arms=("b",), num_pairs=num_pairs, num_restarts=1, load_ratios=(0.8,))
    truth = Truth(block_spread=0.02, slowdown={"b": _SLOWER})
    return rehearse(design, truth, rng, measure=Measure(num_requests=400))[Phase.PAIR, "b", 0.8]


def _aa(rng: Generator) -> bool:
    truth = Truth(drift_spread=0.03, block_spread=0.02)
    return _rehearsed(truth, rng).verdict not in (Verdict.FASTER, Verdict.SLOWER)


def _aa_restarts(rng: Generator) -> bool:
    truth = Truth(restart_spread=0.02, block_spread=0.01)
    return _rehearsed(truth, rng).verdict not in (Verdict.FASTER, Verdict.SLOWER)


def _spread(num_pairs: int) -> Trial:
    def trial(rng: Generator) -> bool:
        return not spread_interval(0.05 * rng.standard_normal(num_pairs), 0.95).excludes(0.05)

    return trial


def _sign_flips(rng: Generator) -> bool:
    return sign_flip_p(rng.standard_t(3, 12), rng) >= 0.05  # noqa: PLR2004 - the level of the test


def _at_the_margin(rng: Generator) -> bool:
    # True effect at the upper margin: to call it equivalent is the error that 5 % are allowed for.
    values = _MARGINS.high + 0.03 * rng.standard_normal(20)
    return _compared([values], rng).verdict is not Verdict.EQUIVALENT


_SERVED_PER_S = 100.0
_LIMIT_S = 0.2
_TARGET = 0.95
_BLOCK_S = 20.0
_SLOWER = 1.05
# Where the expected attainment of a 20 s block that starts empty is 0.95, within 0.02, from 200,000 blocks
# around it (benchmarks/bench_statistics.py --truth); in steady state it would be 85.02 and 80.26.
_CAPACITY_PER_S = 85.36
_SLOWER_CAPACITY_PER_S = 80.59


def empty_start_blocks(rate_per_s: float, slowdowns: tuple[float, ...], rng: Generator) -> tuple[Block, ...]:
    """Return 20 s of M/M/1 at 100 services a second for each arm: same arrivals, services slowed down."""
    n = int(rng.poisson(rate_per_s * _BLOCK_S))
    arrivals_us = np.sort(rng.random(n) * _BLOCK_S * 1e6).astype(np.int64)
    service_us = rng.exponential(1e6 / _SERVED_PER_S, n)
    found = []
    for slowdown in slowdowns:
        done_us = simulate(arrivals_us, (service_us * slowdown).astype(np.int64))
        in_time = int(np.count_nonzero(done_us - arrivals_us < _LIMIT_S * 1e6))
        found.append(Block(rate_per_s=rate_per_s, num_requests=n, num_in_time=in_time))
    return tuple(found)


def _sweep(slowdowns: tuple[float, ...], num: int, rng: Generator) -> list[tuple[Block, ...]]:
    # So many blocks at each rate, around a middle that a search would leave 3 % off.
    middle = _CAPACITY_PER_S * math.exp(0.03 * rng.standard_normal())
    return [empty_start_blocks(middle * ratio, slowdowns, rng) for ratio in SWEEP_RATIOS for _ in range(num)]


def _capacity(num: int) -> Trial:
    def trial(rng: Generator) -> bool | None:
        interval = capacity([one for (one,) in _sweep((1.0,), num, rng)], target=_TARGET).interval
        return None if interval is None else not interval.excludes(_CAPACITY_PER_S)

    return trial


def _capacity_ratio(num: int) -> Trial:
    true_log_ratio = math.log(_SLOWER_CAPACITY_PER_S / _CAPACITY_PER_S)

    def trial(rng: Generator) -> bool | None:
        pairs = _sweep((1.0, _SLOWER), num, rng)
        reference, arm = ([pair[k] for pair in pairs] for k in (0, 1))
        interval = capacity_ratio(arm, reference, target=_TARGET).interval
        return None if interval is None else not interval.excludes(true_log_ratio)

    return trial


def _accuracy(rng: Generator) -> bool:
    # 70 % against 66 %: 12 % of items only the arm has right, 8 % only the reference.
    kind = rng.choice(4, size=200, p=[0.58, 0.12, 0.08, 0.22])
    found = compare_accuracy(kind <= 1, (kind == 0) | (kind == 2), margin=0.02)  # noqa: PLR2004 - kinds of item
    return not found.interval.excludes(0.04)


_UTILISATION = 0.8
_MM1 = MM1(arrivals_per_s=80.0, served_per_s=100.0)


def _steady_sojourns(rng: Generator, n: int) -> NDArray[np.float64]:
    """Return latencies ``[n]`` of M/M/1 at 0.8, past the time that an empty start takes to wear off."""
    warm_up = 1000
    arrivals_us = np.cumsum(rng.exponential(1e6 / _MM1.arrivals_per_s, n + warm_up)).astype(np.int64)
    service_us = np.rint(rng.exponential(1e6 / _MM1.served_per_s, n + warm_up)).astype(np.int64)
    return ((simulate(arrivals_us, service_us) - arrivals_us) / 1e6)[warm_up:]


def _p95(values: NDArray[np.float64]) -> float:
    found = exact(values, 0.95)
    assert found is not None, "A run has thousands of requests. This is a bug."
    return found


def _runs(rng: Generator) -> bool:
    tails = [_p95(_steady_sojourns(rng, 3000)) for _ in range(10)]
    return not mean_interval([tails], 0.95, rng).excludes(_MM1.sojourn_percentile(0.95))


def _requests(rng: Generator) -> bool:
    # The order statistics between which the percentile of independent requests would lie 95 % of the time.
    values = np.sort(_steady_sojourns(rng, 3000))
    half = 1.96 * math.sqrt(values.size * 0.95 * 0.05)
    low, high = (values[round(values.size * 0.95 + side * half)] for side in (-1, 1))
    return bool(low <= _MM1.sojourn_percentile(0.95) <= high)
