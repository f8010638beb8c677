"""Where each request's time went: parts that add up to its latency, by construction.

``latency = lateness + network + tokenize + queue + infer + decode + server_other``

``network`` is what the client waited and the server's own total does not explain
(connections, HTTP, parsing); ``server_other`` is the server's total without its four
stages. Both are residuals with a name; where clocks or rounding disagree they can be a
hair below 0. An answer without a split puts its service time under ``unexplained``, and so does one whose
server claims to have taken longer than the client waited.
All times in seconds, arrays float64 ``[n]``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from loadtest.analysis.percentiles import rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

STAGES = ("tokenize", "queue", "infer", "decode")
# Of a server's own clock and of times in whole milliseconds.
_ROUNDING_S = 1e-3
BAND_EDGES = (0.0, 0.5, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """The parts of each request's latency."""

    lateness: NDArray[np.float64]
    network: NDArray[np.float64]
    tokenize: NDArray[np.float64]
    queue: NDArray[np.float64]
    infer: NDArray[np.float64]
    decode: NDArray[np.float64]
    server_other: NDArray[np.float64]
    unexplained: NDArray[np.float64]

    @property
    def latency(self) -> NDArray[np.float64]:
        """The sum of the parts."""
        return np.asarray(sum(getattr(self, part.name) for part in fields(self)), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandSplit:
    """Mean parts, in seconds, of the requests between two percentiles of latency."""

    low: float
    high: float
    n: int
    parts: Mapping[str, float]
    latency: float


def split(
    *, intended_us: ArrayLike, sent_us: ArrayLike, done_us: ArrayLike, server_ms: Mapping[str, ArrayLike]
) -> Split:
    """Part answered requests ``[n]``.

    ``server_ms``: the server's own times by name: ``total`` and any of the four stages;
    NaN or absent where it gave none. Without a total its stages are the total.
    """
    intended, sent, done = (np.asarray(at, dtype=np.int64) for at in (intended_us, sent_us, done_us))
    service = (done - sent) / 1e6
    stages = {name: _seconds(server_ms, name, service.size) for name in STAGES}
    known = np.any([~np.isnan(stage) for stage in stages.values()], axis=0)
    sum_of_stages = np.nansum(list(stages.values()), axis=0)
    total = _seconds(server_ms, "total", service.size)
    total = np.where(np.isnan(total) & known, sum_of_stages, total)
    explained = total <= service + _ROUNDING_S  # False where it gave none
    named = {name: np.where(explained, np.nan_to_num(stage), 0.0) for name, stage in stages.items()}
    return Split(
        lateness=(sent - intended) / 1e6,
        network=np.where(explained, service - total, 0.0),
        server_other=np.where(explained, total - sum_of_stages, 0.0),
        unexplained=np.where(explained, 0.0, service),
        **named,
    )


def by_band(parts: Split, edges: Sequence[float] = BAND_EDGES) -> tuple[BandSplit, ...]:
    """Return the mean parts of each band of latency percentiles; bands that hold no request are left out.

    Requests are ordered by latency (ties by their order), and each is in one band.
    """
    latency = parts.latency
    order = np.argsort(latency, kind="stable")
    cuts = [0 if edge == 0 else latency.size if edge == 1 else rank(latency.size, edge) + 1 for edge in edges]
    bands = []
    for low, high, first, last in zip(edges, edges[1:], cuts, cuts[1:], strict=False):
        chosen = order[first:last]
        if not chosen.size:
            continue
        means = {part.name: float(getattr(parts, part.name)[chosen].mean()) for part in fields(parts)}
        bands.append(
            BandSplit(low=low, high=high, n=chosen.size, parts=means, latency=float(latency[chosen].mean()))
        )
    return tuple(bands)


def _seconds(server_ms: Mapping[str, ArrayLike], name: str, n: int) -> NDArray[np.float64]:
    given = server_ms.get(name)
    return np.full(n, np.nan) if given is None else np.asarray(given, dtype=np.float64) / 1e3
