"""The same intervals over as few units as a report prints them for, each as a case whose truth is known.

What holds its share with twenty pairs or two hundred items need not do so with two, or seven. Each case
stands at the bound from which a page prints the interval: two offline runs, three runs of a probe, three
languages, one item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.calibration import Case, Trial
from loadtest.analysis.interval import log_student_interval
from loadtest.analysis.quality import compare_accuracy, compare_scores, mean_score, micro_f1
from loadtest.analysis.queueing import simulate
from loadtest.analysis.tokens import TokenCell, fit_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    from loadtest.analysis.quality import Score

    # Counts of both arms' items, ``[n, k]`` each.
    Draw = Callable[[Generator, int], tuple[NDArray[np.float64], NDArray[np.float64]]]


def few_cases() -> tuple[Case, ...]:
    """Return the cases of few scores, rates and languages; those of pairs and blocks are beside the many."""
    return (
        Case(name="offline rate: Student on logarithms, 2 runs", nominal=0.95, trial=offline_rate(2)),
        Case(name="probe of a sweep: p95 of 3 runs, M/M/1 at 0.85", nominal=0.95, trial=_probe),
        Case(name="accuracy difference, 1 item", nominal=0.95, trial=_accuracy(1, 0.12, 0.08)),
        Case(name="accuracy difference, 7 items", nominal=0.95, trial=_accuracy(7, 0.12, 0.08)),
        Case(name="accuracy difference, 12 items, only losses", nominal=0.95, trial=_accuracy(12, 0.0, 0.15)),
        Case(name="accuracy difference, 200 items, 2 % lost", nominal=0.95, trial=_accuracy(200, 0.0, 0.02)),
        Case(
            name="score difference, 1 item", nominal=0.95, trial=scores_differ(1, _answered, mean_score, 0.0)
        ),
        Case(
            name="score difference, 7 items", nominal=0.95, trial=scores_differ(7, _answered, mean_score, 0.0)
        ),
        Case(
            name="score difference, 41 items, 2 % lost",
            nominal=0.95,
            trial=scores_differ(41, _lost, mean_score, -0.02),
        ),
        Case(
            name="score difference, 12 items in 11 languages",
            nominal=0.95,
            trial=scores_differ(12, _translated, mean_score, 0.0),
        ),
        Case(name="F1 difference, 1 sentence", nominal=0.95, trial=scores_differ(1, tagged, micro_f1, 0.1)),
        Case(name="F1 difference, 8 sentences", nominal=0.95, trial=scores_differ(8, tagged, micro_f1, 0.1)),
        Case(name="slope on tokens, 3 languages", nominal=0.95, trial=slope_on_tokens((30, 70, 110))),
        Case(
            name="slope on tokens, 6 languages, one far",
            nominal=0.95,
            trial=slope_on_tokens((40, 45, 50, 55, 60, 140)),
        ),
    )


def offline_rate(num_runs: int) -> Trial:
    """Runs that differ by factors, as makespans of a busy machine do: 30 % from one to the next."""

    def trial(rng: Generator) -> bool | None:
        _, interval = log_student_interval(200.0 * rng.lognormal(sigma=0.3, size=num_runs), 0.95)
        return None if interval is None else interval.low > 0 and not interval.excludes(200.0)

    return trial


_PROBED_PER_S = 85.0
# The geometric mean of such probes' p95, within 0.0004: of 20,000 of them, seeded [1, 85].
_PROBED_P95_S = 0.1810


def probed_p95_s(rng: Generator) -> float:
    """Return p95 latency of a probe: 20 s of M/M/1 at 85 requests and 100 services a second, begun empty."""
    n = int(rng.poisson(_PROBED_PER_S * 20.0))
    arrivals_us = np.sort(rng.random(n) * 20e6).astype(np.int64)
    done_us = simulate(arrivals_us, rng.exponential(1e4, n).astype(np.int64))
    return float(np.quantile(done_us - arrivals_us, 0.95, method="inverted_cdf")) / 1e6


def _probe(rng: Generator) -> bool | None:
    _, interval = log_student_interval([probed_p95_s(rng) for _ in range(3)], 0.95)
    return None if interval is None else not interval.excludes(_PROBED_P95_S)


def _accuracy(n: int, gained: float, lost: float) -> Trial:
    def trial(rng: Generator) -> bool:
        kind = rng.choice(3, size=n, p=[1 - gained - lost, gained, lost])
        found = compare_accuracy(kind <= 1, kind != 1, margin=0.02)
        return not found.interval.excludes(gained - lost)

    return trial


def scores_differ(n: int, draw: Draw, score: Score, truth: float) -> Trial:
    """A difference of scores over so many drawn units."""

    def trial(rng: Generator) -> bool:
        ours, theirs = draw(rng, n)
        return not compare_scores(ours, theirs, score, margin=0.02, rng=rng).interval.excludes(truth)

    return trial


def _answered(rng: Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """F1 of answers to questions: none, all, or part of the words; half of the items answered anew."""

    def scores() -> NDArray[np.float64]:
        kind = rng.random(n)
        return np.where(kind < 0.35, 0.0, np.where(kind < 0.7, 1.0, rng.uniform(0.2, 0.95, n)))  # noqa: PLR2004 - shares

    theirs = scores()
    ours = np.where(rng.random(n) < 0.5, scores(), theirs)  # noqa: PLR2004 - half
    return np.column_stack([ours, np.ones(n)]), np.column_stack([theirs, np.ones(n)])


def _lost(rng: Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One item in fifty is wholly wrong in one arm, and all else right in both."""
    ours = (rng.random(n) >= 0.02).astype(np.float64)  # noqa: PLR2004 - one in fifty
    return np.column_stack([ours, np.ones(n)]), np.ones((n, 2))


def _translated(rng: Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Items in eleven languages, as hard in each: one unit with eleven answers."""
    hard = rng.standard_normal((n, 1))
    ours, theirs = ((hard + rng.standard_normal((n, 11)) > 0).sum(axis=1) for _ in range(2))
    return np.column_stack([ours, np.full(n, 11.0)]), np.column_stack([theirs, np.full(n, 11.0)])


def tagged(rng: Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sentences of one to five names, as many predicted: F1 is the chance of a match, 0.8 and 0.7."""
    gold = rng.integers(1, 6, n).astype(np.float64)
    ours, theirs = (
        np.column_stack([rng.binomial(gold.astype(np.int64), hit), gold, gold]) for hit in (0.8, 0.7)
    )
    return ours.astype(np.float64), theirs.astype(np.float64)


def slope_on_tokens(tokens: tuple[float, ...]) -> Trial:
    """What a token costs, over languages that take so many."""

    def trial(rng: Generator) -> bool | None:
        # Those with more tokens scatter more.
        points = [
            TokenCell(
                name=str(k),
                tokens=t,
                seconds=0.004 + 0.0002 * t + 5e-4 * t / 60 * rng.standard_normal(),
                n=50,
            )
            for k, t in enumerate(tokens)
        ]
        found = fit_tokens(points)
        if found is None or found.slope_interval is None:
            return None
        return not found.slope_interval.excludes(0.0002)

    return trial
