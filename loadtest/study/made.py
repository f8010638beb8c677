"""Everything that a study has measured, before anything is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtest.report.records import Summary
    from loadtest.study.capacity_search import Swept
    from loadtest.study.observed import Observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """A run of a capacity search or of its sweep, at the rate that was asked for."""

    name: str
    arm: str
    rate_per_s: float
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The runs before the plan, and those of the plan in order.

    ``unloaded``: by arm. ``capacity_per_s``: the reference's, of which loads are shares, and 0 where it was
    not found; ``swept``: where it comes from a search. ``at_once``: the reference's run in which all was sent
    at once. ``probed``: every run of a search and its sweep, those that were not valid too.
    """

    unloaded: dict[str, Summary]
    capacity_per_s: float
    swept: Swept | None
    blocks: tuple[Observed, ...]
    at_once: Summary | None = None
    probed: tuple[Probed, ...] = ()
