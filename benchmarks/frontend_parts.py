"""What of the service's CPU time each of its parts takes: the service beside itself without one; pure.

Rules: a part is a difference within a repeat, its figure the median over repeats with the smallest and
largest beside it; what no part explains is told as the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engine_report import Spread, markdown
from benchmarks.frontend_report import BARE, CUTTING, SERVICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.frontend_report import Cell

# The service that logs warnings alone, and the one whose backend answers at once.
UNLOGGED, DIRECT = WITHOUT = ("unlogged", "direct")


def parts_of(cell: Cell) -> dict[str, Spread]:
    """Return microseconds a request by part, in the order in which a request meets them."""
    by_part: dict[str, list[float]] = {"bare endpoint": [], "cutting texts": []}
    by_part |= {"queue, engine's thread, cost model": [], "line in the log": [], "the rest": []}
    arms = (cell.cpu_us[arm] for arm in (BARE, CUTTING, DIRECT, UNLOGGED, SERVICE))
    for bare, cutting, direct, unlogged, service in zip(*arms, strict=True):
        queue, log = service - direct, service - unlogged
        found = (bare, cutting - bare, queue, log, service - cutting - queue - log)
        for values, value in zip(by_part.values(), found, strict=True):
            values.append(value)
    return {part: Spread.of(values) for part, values in by_part.items()}


def table(cells: Sequence[Cell]) -> str:
    """Return a line for each part, a column for each kind of requests that was measured without parts."""
    measured = [cell for cell in cells if DIRECT in cell.cpu_us]
    found = [parts_of(cell) for cell in measured]
    head = [
        "part, us a request",
        *(f"{cell.head}, {cell.mix}, {cell.concurrency} at once" for cell in measured),
    ]
    lines = [[part, *(_whole(parts[part]) for parts in found)] for part in found[0]]
    totals = [_whole(Spread.of(cell.cpu_us[SERVICE])) for cell in measured]
    return markdown([head, *lines, [SERVICE, *totals]])


def _whole(spread: Spread) -> str:
    return f"{spread.middle:.0f} ({spread.least:.0f} to {spread.most:.0f})"
