"""The study's answer in one word, one sentence and one paragraph with its numbers. Pure.

Rules, in this order:

- a control that failed, or no valid pair: *invalid* - the study may not speak of its arms;
- primaries that all say equivalent: *equivalent*;
- otherwise primaries speak in their declared order, each at full strength, until the first that is not
  different; *faster* or *slower* if those before it agree;
- else *inconclusive*, and how many pairs would settle it. A difference further down the order is told and
  proves nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loadtest.report.formats import capital, confidence, plural
from loadtest.report.no_interval import why_no_interval
from loadtest.report.study_record import Verdict, VerdictWord
from loadtest.study.comparisons import held_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.analysis.aa import NoiseFloor
    from loadtest.report.study_record import Capacity, Comparison, QualityDifference, TokenFit
    from loadtest.study.controls import Controls

_MANY = 3


def word_of(primaries: Sequence[Comparison], problems: Sequence[str]) -> VerdictWord:
    """Return the study's word from its primaries, in their declared order."""
    if problems or not any(comparison.num_pairs for comparison in primaries):
        return VerdictWord.INVALID
    if all(comparison.word is VerdictWord.EQUIVALENT for comparison in primaries):
        return VerdictWord.EQUIVALENT
    held = {comparison.word for comparison in held_of(primaries)}
    return held.pop() if len(held) == 1 else VerdictWord.INCONCLUSIVE


def answer(  # noqa: PLR0913 - the parts of a study, each told in a sentence of its own
    primaries: Sequence[Comparison],
    controls: Controls,
    quality: Sequence[QualityDifference],
    fits: Sequence[TokenFit],
    *,
    arm: str,
    reference: str,
    synthetic: bool,
    others: Sequence[str] = (),
) -> Verdict:
    """Put the study's findings into words; ``others`` is said of arms beside the first."""
    word = word_of(primaries, controls.problems)
    parts = [
        _opening(word, controls, arm, reference, primaries),
        " ".join(map(_measured, primaries)),
        _pairs(word, primaries),
        *others,
        _controls(controls),
        _tokens(fits),
        _quality(quality, synthetic=synthetic),
    ]
    return Verdict(
        word=word,
        sentence=_opening(word, controls, arm, reference, primaries),
        paragraph=" ".join(part for part in parts if part),
    )


def capacity_answer(arm: str, found: Capacity | None, objective: str, stopped: str | None = None) -> Verdict:
    """Put a search for one arm's capacity into words; ``stopped``: why it ended without one."""
    if stopped is not None:
        sentence = f"{capital(stopped).rstrip('.')}."
        return Verdict(word=VerdictWord.INVALID, sentence=sentence, paragraph=sentence)
    assert found is not None, "A search that found nothing was stopped. This is a bug."
    assert found.rate_per_s is not None, "A sweep that holds no capacity was stopped. This is a bug."
    answers = f"{arm} answers {found.rate_per_s:.4g} requests a second under {objective}"
    if found.interval is None:
        sentence = (
            f"{answers}, without an interval: {why_no_interval(found)}. Make longer probes or more of them."
        )
    else:
        sentence = (
            f"{answers} ({confidence(found.interval.confidence)} interval {found.interval.low:.4g} to "
            f"{found.interval.high:.4g}; {found.method})."
        )
    return Verdict(word=VerdictWord.INCONCLUSIVE, sentence=sentence, paragraph=sentence)


def also(
    arm: str,
    primaries: Sequence[Comparison],
    problems: Sequence[str],
    quality: Sequence[QualityDifference],
    *,
    synthetic: bool,
) -> str:
    """Put into words what the study says of an arm beside its first."""
    said = [f"{arm} beside it: {word_of(primaries, problems).value}.", *map(_measured, primaries)]
    if quality and not synthetic:
        said.append(_quality(quality, synthetic=False))
    return " ".join(said)


def _opening(
    word: VerdictWord, controls: Controls, arm: str, reference: str, primaries: Sequence[Comparison]
) -> str:
    match word:
        case VerdictWord.INVALID:
            why = "; ".join(controls.problems) or "no pair of valid runs was made"
            return f"This study may not speak of {arm} and {reference}: {why}."
        case VerdictWord.EQUIVALENT:
            return f"{arm} serves as fast as {reference}, within the margins declared beforehand."
        case VerdictWord.FASTER | VerdictWord.SLOWER:
            shown = ", ".join(comparison.measure for comparison in held_of(primaries))
            return f"{arm} serves {word.value} than {reference}, as {shown} shows."
        case _:
            return f"Whether {arm} serves as fast as {reference} could not be settled with these pairs."


def _measured(comparison: Comparison) -> str:
    if comparison.log_ratio is None:
        return f"{capital(comparison.name)}: no figure, since {why_no_interval(comparison)}."
    seen = f"{capital(comparison.name)}: {math.exp(comparison.log_ratio):.3f} times the reference's"
    if comparison.interval is None:
        return f"{seen}, without an interval: {why_no_interval(comparison)}."
    low, high = math.exp(comparison.interval.low), math.exp(comparison.interval.high)
    margin = (
        ""
        if comparison.margin is None
        else f", margin {_span(comparison.margin.low, comparison.margin.high)}"
    )
    return (
        f"{seen} ({confidence(comparison.interval.confidence)} interval {low:.3f} to {high:.3f}{margin}; "
        f"{plural(comparison.num_pairs, 'pair')}): {comparison.word.value}."
    )


def _span(low: float, high: float) -> str:
    return f"{math.exp(low):.3f} to {math.exp(high):.3f}"


def _pairs(word: VerdictWord, primaries: Sequence[Comparison]) -> str:
    open_ones = [c for c in primaries if c.word is VerdictWord.INCONCLUSIVE]
    needed = [c.num_pairs_needed for c in open_ones if c.num_pairs_needed]
    if word is not VerdictWord.INCONCLUSIVE or not needed:
        return ""
    if len(needed) == len(open_ones):
        return f"About {max(needed)} pairs in all would settle it, were these estimates true."
    told, others = (
        " and ".join(c.name for c in open_ones if bool(c.num_pairs_needed) is known)
        for known in (True, False)
    )
    return (
        f"About {max(needed)} pairs in all would settle {told}, were these estimates true; what would settle "
        f"{others} cannot be told."
    )


def _controls(controls: Controls) -> str:
    said = []
    if controls.noise is not None:
        said.append(
            f"The reference against itself spreads by a factor of {math.exp(controls.noise.sd):.3g} a unit "
            f"(p50, one standard deviation {_over(controls.noise)}), so that {controls.noise.planned_units} "
            f"units find a factor of {math.exp(controls.noise.detectable):.3g} with a power of 80%."
        )
    if controls.positive is not None:
        seen = controls.positive.comparison.log_ratio
        measured = "" if seen is None else f", at {math.exp(seen):.3f} times the reference's p50"
        said.append(
            f"An arm that takes {controls.positive.planted_ratio:.2f} times as long on purpose was called "
            f"{controls.positive.comparison.word.value}{measured}."
        )
    return " ".join(said)


def _over(noise: NoiseFloor) -> str:
    """Say of how many pairs a spread is, and how far it is known: that of two pairs hardly is."""
    found, sure = noise.comparison, noise.sd_interval.exp()
    restarts = f" in {plural(found.num_restarts, 'restart')}" if found.num_restarts > 1 else ""
    return (
        f"over {plural(found.num_pairs, 'pair')}{restarts}, {confidence(sure.level)} interval "
        f"{sure.low:.3g} to {sure.high:.3g}"
    )


def _tokens(fits: Sequence[TokenFit]) -> str:
    if not fits:
        return ""
    fit = fits[0]
    interval = fit.slope_interval
    within = "" if interval is None else f" ({interval.low * 1e3:.2g} to {interval.high * 1e3:.2g})"
    rest = "" if fit.without is None else f" ({fit.without.r_squared:.0%} without {fit.without.language})"
    return (
        f"Tokens explain {fit.r_squared:.0%} of the differences between languages at one mix of tasks{rest}; "
        f"one costs {fit.slope_s * 1e3:.2g} ms{within}."
    )


def _quality(quality: Sequence[QualityDifference], *, synthetic: bool) -> str:
    if synthetic:
        return "The variants are synthetic: their answers, and so their scores, mean nothing."
    moved = [q for q in quality if q.word in (VerdictWord.BETTER, VerdictWord.WORSE)]
    if not quality:
        return ""
    if not moved:
        return f"No task's score differs after correction, of {len(quality)} compared."
    named = ", ".join(f"{q.task} {q.difference:+.1%}" for q in moved[:_MANY] if q.difference is not None)
    more = f" and {len(moved) - _MANY} more" if len(moved) > _MANY else ""
    return f"Scores differ on {len(moved)} of {len(quality)} tasks: {named}{more}."
