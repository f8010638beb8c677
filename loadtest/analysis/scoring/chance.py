"""What a random answerer would score: the floor under a score, in closed form.

Rules: classes, choices and orders are drawn uniformly. A tagging or QA floor depends on the tags and texts
at hand and is not given here.
"""

from __future__ import annotations

import math


def accuracy_by_chance(num_choices: int) -> float:
    """Return the expected accuracy of a uniform draw among ``num_choices``."""
    return 1 / num_choices


def average_precision_by_chance(num_relevant: int, num_candidates: int, k: int) -> float:
    """Return the expected average precision at k of a random order.

    At rank i a candidate is relevant with probability R/N, and then (i - 1)(R - 1)/(N - 1) of those above it
    are expected to be relevant too. The sum over ranks is divided by min(R, k).
    """
    if num_relevant == 0:
        return 0.0
    share = num_relevant / num_candidates
    others = (num_relevant - 1) / (num_candidates - 1) if num_candidates > 1 else 0.0
    ranks = range(1, min(k, num_candidates) + 1)
    return math.fsum(share * (1 + (rank - 1) * others) / rank for rank in ranks) / min(num_relevant, k)
