"""The 99th percentile of an open loop's rounds together, and how sure it is; pure.

Rules: the rounds' latencies are pooled, never their percentiles. Requests that follow each other wait behind
the same work, so the interval comes from resampling blocks of neighbours instead of single requests: each
resample draws, within each round, as many blocks as make it whole, its ends joined. Two servers that were
sent the same instants are resampled with the same blocks, so that a burst weighs on both sides of a ratio.
The interval is too narrow all the same: what a minute's arrivals hold of long queues differs from the next
minute's, and no resampling tells. Of 200 simulated pairs of queues as they were seen here (two rounds of 535
requests; one server with 0.44 of its time taken, two with 0.69) it held the long run's ratio in 82 %, of as
many pairs without queues in 98 %.

Source: Politis and Romano, "A circular block-resampling procedure for stationary data" (1992).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    # {round: latencies in the order of the instants}
    Tail = Mapping[int, Sequence[float]]

LEVEL = 0.99
P = 0.99
# Neighbours of one block: two seconds at a dozen a second, longer than the queue of such a server lasts.
BLOCK = 25
NUM_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A figure of all rounds together and its interval; ``num_requests`` of one server."""

    value: float
    low: float
    high: float
    num_requests: int
    num_rounds: int


def pooled_p99(rounds: Tail) -> Pooled:
    """Return the 99th percentile of all rounds' latencies."""
    return _pooled([np.array([rounds[number]], dtype=np.float64) for number in sorted(rounds)])


def pooled_ratio(ours: Tail, theirs: Tail) -> Pooled | None:
    """Return our 99th percentile over theirs, of the rounds that both have; None where there are none.

    Raises:
        ValueError: in a round the two were not sent as many requests.
    """
    numbers = sorted(ours.keys() & theirs.keys())
    for number in numbers:
        if len(ours[number]) != len(theirs[number]):
            raise ValueError(f"round {number}: {len(ours[number])} and {len(theirs[number])} requests")
    sides = [np.array([ours[number], theirs[number]], dtype=np.float64) for number in numbers]
    return _pooled(sides) if sides else None


def _pooled(rounds: Sequence[NDArray[np.float64]]) -> Pooled:
    """Return the figure of rounds ``[S, n]``: of one server's latencies, or the first's over the second's."""
    rng = np.random.default_rng(0)
    drawn = [each[:, _blocks(each.shape[1], rng)] for each in rounds]
    value = _figure(np.concatenate(rounds, axis=1))
    low, high = np.quantile(
        _figure(np.concatenate(drawn, axis=2)), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf"
    )
    return Pooled(
        value=float(value),
        low=float(low),
        high=float(high),
        num_requests=sum(each.shape[1] for each in rounds),
        num_rounds=len(rounds),
    )


def _blocks(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return which requests each resample has ``[NUM_RESAMPLES, count]``, in blocks whose ends are joined."""
    size = min(BLOCK, count)
    starts = rng.integers(count, size=(NUM_RESAMPLES, -(-count // size), 1))
    places = (starts + np.arange(size)) % count
    return places.reshape(NUM_RESAMPLES, -1)[:, :count]


def _figure(latencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 99th percentile along the last axis, divided where two servers are along the first."""
    found = np.quantile(latencies, P, axis=-1, method="inverted_cdf")
    return np.asarray(found[0] / found[1] if len(found) > 1 else found[0])
