"""How much of the difference between languages tokens explain, from an arm's unloaded run. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.analysis.tokens import TokenCell, fit_tokens
from loadtest.report.study_record import TokenFit, TokenPoint
from loadtest.study.comparisons import interval_of

if TYPE_CHECKING:
    from loadtest.report.records import Summary


def token_fit(arm: str, unloaded: Summary) -> TokenFit | None:
    """Fit mean service time on mean tokens over languages; None with fewer than three languages."""
    points = [
        TokenCell(name=language, tokens=group.tokens.mean, seconds=group.service_s.mean, n=group.num_answered)
        for language, group in unloaded.by_language.items()
        if group.tokens.mean is not None and group.service_s.mean is not None
    ]
    found = fit_tokens(points)
    if found is None:
        return None
    return TokenFit(
        arm=arm,
        intercept_s=found.intercept_s,
        slope_s=found.slope_s,
        slope_interval=interval_of(found.slope_interval),
        r_squared=found.r_squared,
        points=tuple(
            TokenPoint(language=cell.name, tokens=cell.tokens, service_s=cell.seconds, n=cell.n)
            for cell in found.cells
        ),
    )
