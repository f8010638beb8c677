"""Queues whose answers are known in closed form, and the recursion that every single queue obeys.

They say what a load tester must report: against a server that serves as the model
does, measured percentiles have to agree. Rates are a second, times seconds;
*sojourn* is wait plus service, which is a request's latency.

Source: Kleinrock, "Queueing Systems" I (M/M/1, Pollaczek-Khinchine); Franx, "A simple
solution for the M/D/c waiting time distribution" (2001); Lindley, "The theory of
queues with a single server" (1952).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

if TYPE_CHECKING:
    from numpy.typing import NDArray


class UnstableQueueError(ValueError):
    """Work arrives at least as fast as it can be done: no answer but infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MM1:
    """One server, Poisson arrivals, exponential service times."""

    arrivals_per_s: float
    served_per_s: float

    def __post_init__(self) -> None:
        _stable(self.utilisation)

    @property
    def utilisation(self) -> float:
        """The share of time that the server is busy."""
        return self.arrivals_per_s / self.served_per_s

    @property
    def mean_sojourn_s(self) -> float:
        """Mean latency."""
        return 1 / (self.served_per_s - self.arrivals_per_s)

    def sojourn_cdf(self, seconds: float) -> float:
        """Return the share of requests done within a time: sojourns are exponential."""
        return -math.expm1(-(self.served_per_s - self.arrivals_per_s) * max(seconds, 0.0))

    def sojourn_percentile(self, p: float) -> float:
        """Return the latency that a share ``p`` does not exceed."""
        return -math.log1p(-p) * self.mean_sojourn_s


@dataclass(frozen=True, slots=True, kw_only=True)
class MD1:
    """One server, Poisson arrivals, every service equally long."""

    arrivals_per_s: float
    service_s: float

    def __post_init__(self) -> None:
        _stable(self.utilisation)

    @property
    def utilisation(self) -> float:
        """The share of time that the server is busy."""
        return self.arrivals_per_s * self.service_s

    @property
    def mean_sojourn_s(self) -> float:
        """Mean latency."""
        return mean_sojourn_s(self.arrivals_per_s, service_s=self.service_s, service_cv=0.0)

    def sojourn_cdf(self, seconds: float) -> float:
        """Return the share of requests done within a time, as a sum of positive terms."""
        wait = seconds - self.service_s
        if wait < 0:
            return 0.0
        k = math.floor(wait / self.service_s)
        left = self.arrivals_per_s * ((k + 1) * self.service_s - wait)
        queued = np.cumsum(self._in_system(k + 2))[1:]
        j = np.arange(k + 1)
        terms = np.exp(special.xlogy(j, left) - left - special.gammaln(j + 1))
        return float(min(1.0, np.sum(queued[::-1] * terms)))

    def sojourn_percentile(self, p: float) -> float:
        """Return the latency that a share ``p`` does not exceed."""
        if self.sojourn_cdf(self.service_s) >= p:
            return self.service_s
        high = 2 * self.service_s
        while self.sojourn_cdf(high) < p:
            high *= 2
        return float(optimize.brentq(lambda s: self.sojourn_cdf(s) - p, self.service_s, high, xtol=1e-12))

    def _in_system(self, n: int) -> NDArray[np.float64]:
        """Return the chances of 0 to ``n - 1`` requests in the system: what goes up a level comes down."""
        rho = self.utilisation
        k = np.arange(n + 1)
        first = math.exp(-rho)
        more = special.pdtrc(k, rho)
        chances = np.empty(n)
        chances[0] = 1 - rho
        for i in range(1, n):
            up = chances[0] * more[i - 1] + np.dot(chances[1:i], more[i - 1 : 0 : -1])
            chances[i] = up / first
        return chances


def mean_sojourn_s(arrivals_per_s: float, *, service_s: float, service_cv: float) -> float:
    """Return the mean latency of one server with Poisson arrivals and any service times.

    ``service_s``: their mean; ``service_cv``: their coefficient of variation.

    Raises:
        UnstableQueueError: the utilisation is 1 or more.
    """
    rho = arrivals_per_s * service_s
    _stable(rho)
    return service_s * (1 + rho * (1 + service_cv**2) / (2 * (1 - rho)))


def simulate(arrivals_us: NDArray[np.int64], service_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return when each request is done, int64 microseconds ``[n]``: one server, first come first served.

    ``arrivals_us`` sorted int64 ``[n]``, ``service_us`` int64 ``[n]``. Lindley's recursion
    ``done = max(arrival, done before) + service``, all at once and exact.
    """
    worked = np.cumsum(service_us)
    idle = np.maximum.accumulate(arrivals_us - (worked - service_us))
    return worked + idle


def _stable(utilisation: float) -> None:
    if not 0 < utilisation < 1:
        raise UnstableQueueError(
            f"The utilisation is {utilisation:.3g}; a closed form needs one between 0 and 1."
        )
