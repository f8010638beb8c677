"""Repeats of the front end's benchmark into a table and verdicts; pure.

Rules: a ratio is taken within a repeat; a figure is the median over repeats, with the smallest and largest
beside it; a goal that is missed is said to be missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.engine_report import QUIET_RATIO, Spread, markdown, ratio, reasons

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GOAL_RATIO = 1.6
BARE, CUTTING, NAIVE, SERVICE = ARMS = ("bare", "cutting", "naive", "service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One kind of requests. ``cpu_us``: of a request, by arm, one a repeat. ``client_ratio``: of a core."""

    head: str
    mix: str
    concurrency: int
    cpu_us: Mapping[str, Sequence[float]]
    client_ratio: Mapping[str, float]

    def over_bare(self, arm: str) -> Spread:
        """Return an arm's CPU time over that of the bare endpoint."""
        return ratio(self.cpu_us[arm], self.cpu_us[BARE])


def table(cells: Sequence[Cell]) -> str:
    """Return a line for each cell."""
    head = ["requests", "at once", *(f"{arm}, us" for arm in ARMS)]
    head += [f"{arm} / {BARE}" for arm in ARMS[1:]]
    lines = [
        [
            f"{cell.head}, {cell.mix}",
            str(cell.concurrency),
            *(f"{Spread.of(cell.cpu_us[arm]).middle:.0f}" for arm in ARMS),
            *(str(cell.over_bare(arm)) for arm in ARMS[1:]),
        ]
        for cell in cells
    ]
    return markdown([head, *lines])


def verdicts(cells: Sequence[Cell]) -> list[str]:
    """Say whether the goal is met, and by which cells it is missed."""
    ratios = {f"{c.head}, {c.mix}, {c.concurrency} at once": c.over_bare(SERVICE).middle for c in cells}
    goal = f"CPU time a request <= {GOAL_RATIO} x that of the bare endpoint"
    missed = {name: value for name, value in ratios.items() if value > GOAL_RATIO}
    if not missed:
        return [f"{goal}: met (most {max(ratios.values()):.2f})"]
    named = "; ".join(f"{name}: {value:.2f}" for name, value in missed.items())
    lines = [f"{goal}: MISSED by {len(missed)} of {len(ratios)} ({named})"]
    floors = [cell.over_bare(CUTTING).middle for cell in cells]
    beyond = [cell.over_bare(SERVICE).middle - cell.over_bare(CUTTING).middle for cell in cells]
    lines.append(
        "why: the bare endpoint that also cuts the texts as the service does, and nothing more, has "
        f"{min(floors):.2f} to {max(floors):.2f}, by text; what the service does besides adds "
        f"{min(beyond):.2f} to {max(beyond):.2f}"
    )
    return lines


def page(record: dict[str, Any], cells: Sequence[Cell], tables: Mapping[str, str]) -> str:
    """Return the results as Markdown."""
    environment = record["environment"]
    changed = " with changes" if environment.get("dirty") else ""
    crowded = [share for share in record["others_ratio"] if share > QUIET_RATIO]
    packages = ", ".join(f"{name} {number}" for name, number in environment["frontend_packages"].items())
    what = (
        "CPU time of the server a request, all threads, tokenization, queue, metrics and log included, on a "
        "device that takes no time; over that of a bare typed FastAPI endpoint that returns the same JSON. "
        "`cutting` is that endpoint, which also cuts the texts on its loop as the service does; `naive` cuts "
        "them by the library's own call. Vocabulary: "
        f"{record['tokenizer']}; texts: {record['data']}. Parts: differences to the service without its log, "
        "and to one whose backend answers at once; `the rest` is what reading, records, headers and metrics "
        "take beyond what the bare endpoint's framework does."
    )
    how = (
        f"{record['at']}, commit {environment.get('commit')}{changed}; {environment.get('cpu_model')}, "
        f"{environment.get('num_cores')} cores; {packages}. {record['repeats']} interleaved repeats of "
        f"{record['requests']} requests, seed {record['seed']}. Medians, with the smallest and largest "
        "repeat in brackets; ratios are taken within a repeat."
    )
    parts = ["# The front end", what, how]
    if record["quick"]:
        parts.append("**A quick try: the parts run, and their figures are no result.**")
    if crowded:
        parts.append(
            f"**Not quiet: in {len(crowded)} of {record['repeats']} repeats other processes had more than "
            f"{QUIET_RATIO:.0%} of the cores (up to {max(crowded):.0%}).**"
        )
    parts += [
        "\n".join(f"- {line}" for line in record["verdicts"]),
        *reasons(record["verdicts"], "the-front-end"),
    ]
    for title, lines in tables.items():
        parts += [f"## {title}", lines]
    busiest = max(max(cell.client_ratio.values()) for cell in cells)
    parts.append(f"The client took at most {busiest:.0%} of a core.")
    return "\n\n".join(parts) + "\n"
