"""How many requests a second the reference answers at most, from all sent at once. Pure.

What is sent all at once asks for each item once; open schedules ask by the declared mix, whose requests may
be dearer or cheaper. Rule: the rate is divided by how much longer a request of the mix takes than an item
does, both by the unloaded run's mean service time of each task in each language.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loadtest.trace.mix import shares_of
from loadtest.trace.reschedule import cells_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.report.records import Group, Summary
    from loadtest.trace.mix import Mix
    from loadtest.trace.schedule import Trace


def mixed_rate(at_once_per_s: float, unloaded: Summary, shares: Mapping[tuple[str, str], float]) -> float:
    """Return the rate for arrivals that ask for each (task, language) in these shares, which sum to 1.

    A cell that the unloaded run did not answer counts as its task, a task as all requests.
    """
    one = _mean_s(unloaded.overall)
    mixed = math.fsum(share * _cell_s(unloaded, *cell) for cell, share in shares.items())
    return at_once_per_s * one / mixed if one and mixed else at_once_per_s


def shares_by_cell(base: Trace, mix: Mix) -> dict[tuple[str, str], float]:
    """Return the share of an open schedule's arrivals that a mix gives to each task in each language."""
    cells, _ = cells_of(base)
    shares = shares_of(cells, mix).tolist()
    return {(cell.task, cell.language): share for cell, share in zip(cells, shares, strict=True)}


def _cell_s(unloaded: Summary, task: str, language: str) -> float:
    groups = (
        unloaded.by_task_language.get(task, {}).get(language),
        unloaded.by_task.get(task),
        unloaded.overall,
    )
    return next((mean for group in groups if group is not None and (mean := _mean_s(group))), 0.0)


def _mean_s(group: Group) -> float:
    return group.service_s.mean or 0.0
