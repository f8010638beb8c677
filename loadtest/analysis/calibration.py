"""How often each interval holds the truth and each test cries wolf, where the truth is known.

A *case* is one kind of study with its true value; a *trial* repeats it once, from a
seed, and says whether the interval held the truth (or the test stayed silent). Over
many trials the share must be the nominal one. Data are made as hostile as they are in
practice: skewed, clustered by restart, drifting, queued.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

# True where the interval held the truth; None where the study could give none.
Trial = Callable[["Generator"], bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of study; ``nominal``: the least share of trials that must be true.

    ``max_without_ratio``: of trials that may end without an interval.
    """

    name: str
    nominal: float
    trial: Trial
    max_without_ratio: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What came of many trials of a case; trials that could give no interval are counted apart."""

    name: str
    nominal: float
    num_trials: int
    num_held: int
    num_without: int

    @property
    def held_ratio(self) -> float:
        """The share of trials with an interval that held the truth."""
        return self.num_held / max(1, self.num_trials - self.num_without)


def calibrate(case: Case, *, num_trials: int, seed: int) -> Calibration:
    """Repeat a case, each trial from a seed of its own."""
    found = [case.trial(np.random.default_rng([seed, k])) for k in range(num_trials)]
    return Calibration(
        name=case.name,
        nominal=case.nominal,
        num_trials=num_trials,
        num_held=sum(one is True for one in found),
        num_without=sum(one is None for one in found),
    )
