"""Everything that a study has measured, before anything is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtest.report.records import Summary
    from loadtest.study.capacity_search import Swept
    from loadtest.study.observed import Observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The runs before the plan, and those of the plan in order.

    ``unloaded``: by arm. ``capacity_per_s``: the reference's, of which loads are shares; ``swept``: where it
    comes from a search. ``at_once``: the reference's run in which all was sent at once.
    """

    unloaded: dict[str, Summary]
    capacity_per_s: float
    swept: Swept | None
    blocks: tuple[Observed, ...]
    at_once: Summary | None = None
