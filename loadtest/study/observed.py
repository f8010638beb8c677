"""Runs that were made, and the log ratios between the two runs of a pair. Pure.

Only pairs whose runs are both valid speak; how many were left out is told beside every figure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.analysis.design import Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from loadtest.analysis.design import Block, Phase
    from loadtest.report.records import Group, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A block of the plan, the run's folder relative to the study's, and what the run found."""

    block: Block
    path: str
    rate_per_s: float | None
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Log ratios ``ln(arm / reference)``, one array a restart, one value a pair.

    ``num_left_out``: pairs of which a run was not valid, or had too few requests for the figure.
    """

    groups: tuple[tuple[float, ...], ...]
    num_left_out: int

    @property
    def flat(self) -> tuple[float, ...]:
        """All values, in order."""
        return tuple(value for group in self.groups for value in group)


def select(
    runs: Iterable[Observed], phase: Phase, *, load_ratio: float | None, arm: str
) -> dict[tuple[int, int], dict[Side, Observed]]:
    """Return the pairs of a phase and load in which ``arm`` met the reference, by (restart, pair)."""
    pairs: dict[tuple[int, int], dict[Side, Observed]] = {}
    for run in runs:
        block = run.block
        if block.phase is not phase or block.load_ratio != load_ratio:
            continue
        if block.side is Side.ARM and block.arm != arm:
            continue
        pairs.setdefault((block.restart, block.pair), {})[block.side] = run
    return pairs


def effects(
    pairs: dict[tuple[int, int], dict[Side, Observed]],
    pick: Callable[[Summary], Group | None],
    figure: Callable[[Group], float | None],
) -> Effects:
    """Return the log ratio of a figure for each pair that has it on both sides."""
    by_restart: dict[int, list[float]] = {}
    num_left_out = 0
    for (restart, _), sides in sorted(pairs.items(), key=lambda entry: entry[0]):
        values = _values(sides, pick, figure)
        if values is None:
            num_left_out += 1
        else:
            by_restart.setdefault(restart, []).append(math.log(values[0] / values[1]))
    return Effects(groups=tuple(map(tuple, by_restart.values())), num_left_out=num_left_out)


def _values(
    sides: dict[Side, Observed],
    pick: Callable[[Summary], Group | None],
    figure: Callable[[Group], float | None],
) -> tuple[float, float] | None:
    """Return (arm, reference), or None where either is missing, not valid or 0."""
    found: list[float] = []
    for side in (Side.ARM, Side.REFERENCE):
        run = sides.get(side)
        if run is None or not run.summary.valid:
            return None
        group = pick(run.summary)
        value = None if group is None else figure(group)
        if value is None or value <= 0:
            return None
        found.append(value)
    return found[0], found[1]


def cells_of(runs: Sequence[Observed]) -> list[tuple[str, str]]:
    """Return every task in every language that some run has, in order."""
    return sorted(
        {
            (task, language)
            for run in runs
            for task, languages in run.summary.by_task_language.items()
            for language in languages
        }
    )


def keys_of(runs: Sequence[Observed], attribute: str) -> list[str]:
    """Return every task (``by_task``) or language (``by_language``) that some run has, in order."""
    return sorted({key for run in runs for key in getattr(run.summary, attribute)})
