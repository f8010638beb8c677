"""How long to wait before a process that has died is started again."""

from __future__ import annotations

# At once is too soon for a device that its dead owner has not released; half a minute is what an operator's
# alert takes to fire, and longer would only add to an outage.
FIRST_S = 0.25
LONGEST_S = 30.0
# One that has served this long has not died of how it was started.
STEADY_S = 60.0


def delay_s(num_deaths: int) -> float:
    """Return the wait after the ``num_deaths``-th death in a row: twice as long each time, up to a bound."""
    doublings = min(num_deaths - 1, 32)  # far past the bound, and far from what a float can hold
    return min(LONGEST_S, FIRST_S * 2.0**doublings)
