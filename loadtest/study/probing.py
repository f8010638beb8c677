"""Makes the blocks of a search, each on arrivals of its own number, and makes those again that are not valid.

Rules: blocks with one number share their arrivals. A search after the first takes the numbers that a rate
had, so that an arm equal to the first one is seen to be so: it gets the same arrivals, and with them the same
window. A probe that is not valid measured the generator or the host: it is made again on other arrivals, a
few times, and then there is no capacity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.random import Generator

    from loadtest.report.records import Summary

# In a row, where a probe of the sweep is one run of each arm. A single stall of the host is an invalid run
# where runs are short; five in a row are no luck.
MAX_INVALID = 5


class NothingFoundError(Exception):
    """There will be no sweep: why, and whether it was the probes' own fault."""

    def __init__(self, reason: str, *, invalid: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.invalid = invalid


@dataclass(slots=True, kw_only=True)
class Probing:
    """Makes blocks by ``make(arm, rate_per_s, number)``; ``numbers``: those of searches, by rate."""

    make: Callable[[str, float, int], Summary]
    numbers: dict[str, list[int]] = field(default_factory=dict)
    num_made: int = 0
    num_invalid: int = 0

    def searched(self, arm: str, rate_per_s: float, nth: int) -> Summary:
        """Make the ``nth`` valid block of an arm's search at a rate."""
        known = self.numbers.setdefault(f"{rate_per_s:.9g}", [])
        while True:
            fresh = nth >= len(known)
            number = self._next() if fresh else known[nth]
            found = self.make(arm, rate_per_s, number)
            if self._valid([found], rate_per_s):
                if fresh:
                    known.append(number)
                return found
            if not fresh:
                del known[nth]  # a block of other arrivals stands in for it

    def swept(self, rates_per_s: Mapping[str, float], rng: Generator) -> dict[str, Summary]:
        """Make a block of each arm on one number, in random order, until all of them are valid."""
        while True:
            number = self._next()
            arms = list(rates_per_s)
            order = [arms[i] for i in rng.permutation(len(arms))]
            found = {arm: self.make(arm, rates_per_s[arm], number) for arm in order}
            if self._valid(list(found.values()), rates_per_s[arms[0]]):
                return found

    def _next(self) -> int:
        self.num_made += 1
        return self.num_made - 1

    def _valid(self, found: list[Summary], rate_per_s: float) -> bool:
        reasons = [reason for summary in found for reason in summary.reasons]
        self.num_invalid = self.num_invalid + 1 if reasons else 0
        if self.num_invalid == MAX_INVALID:
            raise NothingFoundError(
                f"{MAX_INVALID} probes in a row at {rate_per_s:.4g}/s were not valid: {reasons[0]}",
                invalid=True,
            )
        return not reasons
