"""What the service's own metrics say of a cell: how its batches were cut and filled, and how busy it was.

Rules: counters are read before and after a cell, outside of its time; what is kept is the difference. A
server without such metrics has none.
"""

from __future__ import annotations

import asyncio
import http.client
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """Counters at one moment, added up over variants. ``cuts``: batches by why they were closed."""

    cuts: dict[str, float]
    sums: dict[str, float]

    @classmethod
    def of(cls, text: str) -> Insight:
        """Read an exposition of Prometheus."""
        cuts, sums = defaultdict[str, float](float), defaultdict[str, float](float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "xlmr_batches_total":
                    cuts[sample.labels["cut"]] += sample.value
                elif sample.name.startswith(("xlmr_batch_", "xlmr_engine_")):
                    sums[sample.name] += sample.value if "le" not in sample.labels else 0.0
        return cls(cuts=dict(cuts), sums=dict(sums))

    def since(self, before: Insight, wall_s: float) -> dict[str, Any]:
        """Return batches by cut, their mean size and fill, and the engine's busy seconds a second."""
        cuts = {cut: count - before.cuts.get(cut, 0.0) for cut, count in self.cuts.items()}

        def gained(name: str) -> float:
            return self.sums.get(name, 0.0) - before.sums.get(name, 0.0)

        def mean(name: str) -> float | None:
            count = gained(f"{name}_count")
            return gained(f"{name}_sum") / count if count else None

        return {
            "cuts": {cut: round(count) for cut, count in sorted(cuts.items()) if count},
            "batch_tokens": mean("xlmr_batch_tokens"),
            "batch_sequences": mean("xlmr_batch_sequences"),
            "fill_ratio": mean("xlmr_batch_fill_ratio"),
            "engine_busy_ratio": gained("xlmr_engine_busy_seconds_total") / wall_s,
        }


async def look(port: int) -> Insight:
    """Ask a running service for its counters.

    Raises:
        OSError: it does not answer.
    """
    return Insight.of(await asyncio.to_thread(_get, port))


def _get(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
