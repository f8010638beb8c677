"""What is known of objectives before a run: which can never be told of the requests that are scheduled. Pure.

Rules: an objective that no scheduled request falls under is a mistake, and so is a goodput that nothing is
timed by: a gate that cannot fail would pass for ever. One that too few requests fall under is only told,
since a short trial run is no mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.analysis.objectives import ObjectiveError, What, latency_limit_s
from loadtest.analysis.percentiles import enough, least

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.analysis.objectives import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """``n`` scheduled requests of one kind; ``labels`` are what an objective may select them by."""

    labels: tuple[tuple[str, str], ...]
    n: int


def foresee(objectives: Sequence[Objective], planned: Sequence[Planned]) -> tuple[str, ...]:
    """Return a sentence for each objective that the schedule has too few requests for.

    Raises:
        ObjectiveError: no scheduled request falls under one, or goodput has no latency objective beside it.
    """
    limit_s = latency_limit_s(tuple(objectives))
    for objective in objectives:
        if objective.what is What.GOODPUT and limit_s is None:
            raise ObjectiveError(
                f"{objective.text!r} counts answers within a time; name it beside it, such as p95<200ms."
            )
    return tuple(said for objective in objectives if (said := _foreseen(objective, planned)))


def _foreseen(objective: Objective, planned: Sequence[Planned]) -> str | None:
    chosen = [one for one in planned if objective.where.items() <= dict(one.labels).items()]
    if not chosen:
        raise ObjectiveError(_nothing(objective, planned))
    n = sum(one.n for one in chosen)
    if objective.percentile is None or enough(n, objective.percentile):
        return None
    return (
        f"{objective.text} will not be told: a {objective.statistic} takes "
        f"{least(objective.percentile):,} requests, and {n:,} of this kind are scheduled."
    )


def _nothing(objective: Objective, planned: Sequence[Planned]) -> str:
    """Say which part of a selection fits nothing, and what would."""
    for name, value in objective.where.items():
        known = sorted({dict(one.labels)[name] for one in planned})
        if value not in known:
            return (
                f"{objective.text!r}: no request of this trace has the {name} {value!r}; "
                f"there {'is' if len(known) == 1 else 'are'} {', '.join(known)}."
            )
    shown = ", ".join(f"{name}={value}" for name, value in objective.where.items())
    return f"{objective.text!r}: no request of this trace has {shown} together."
