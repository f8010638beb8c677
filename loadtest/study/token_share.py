"""How much of the difference between languages tokens explain, from an arm's unloaded run. Pure.

Languages have different tasks, and tasks differ far more in length than languages do. So each language stands
for how far it is from the mean of the same tasks, put on top of the mean of everything: what is left between
two languages is not that one of them has question answering. A language whose few items would put it below
nothing is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.analysis.tokens import TokenCell, fit_tokens
from loadtest.report.study_record import TokenFit, TokenFitWithout, TokenPoint
from loadtest.study.comparisons import interval_of

if TYPE_CHECKING:
    from loadtest.report.records import Group, Summary


def token_fit(arm: str, unloaded: Summary) -> TokenFit | None:
    """Fit mean service time on mean tokens over languages; None with fewer than three languages."""
    points = language_points(unloaded)
    found = fit_tokens(points)
    if found is None:
        return None
    return TokenFit(
        arm=arm,
        intercept_s=found.intercept_s,
        slope_s=found.slope_s,
        slope_interval=interval_of(found.slope_interval),
        r_squared=found.r_squared,
        without=None
        if found.without is None
        else TokenFitWithout(language=found.without.name, r_squared=found.without.r_squared),
        points=tuple(
            TokenPoint(language=cell.name, tokens=cell.tokens, service_s=cell.seconds, n=cell.n)
            for cell in found.cells
        ),
    )


def language_points(unloaded: Summary) -> list[TokenCell]:
    """Return each language's mean tokens and service time, held to the mean mix of tasks."""
    whole = _means(unloaded.overall)
    by_task = {task: means for task, group in unloaded.by_task.items() if (means := _means(group))}
    if whole is None:
        return []
    apart: dict[str, list[tuple[int, float, float]]] = {}
    for task, cells in unloaded.by_task_language.items():
        for language, group in cells.items():
            means, usual = _means(group), by_task.get(task)
            if means and usual and group.num_answered:
                differences = (group.num_answered, means[0] - usual[0], means[1] - usual[1])
                apart.setdefault(language, []).append(differences)
    points = []
    for language, cells_of in sorted(apart.items()):
        n = sum(num for num, _, _ in cells_of)
        tokens = whole[0] + sum(num * apart_by for num, apart_by, _ in cells_of) / n
        seconds = whole[1] + sum(num * apart_by for num, _, apart_by in cells_of) / n
        if tokens > 0 and seconds > 0:
            points.append(TokenCell(name=language, tokens=tokens, seconds=seconds, n=n))
    return points


def _means(group: Group) -> tuple[float, float] | None:
    """Return mean tokens and mean service time; None where either is not known."""
    tokens, seconds = group.tokens.mean, group.service_s.mean
    return None if tokens is None or seconds is None else (tokens, seconds)
