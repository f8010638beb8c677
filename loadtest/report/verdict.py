"""The strip at the top: one word, one sentence. Used by the page, Markdown and the terminal alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from loadtest.report import formats
from loadtest.report.study_record import VerdictWord

if TYPE_CHECKING:
    from loadtest.report.records import ObjectiveVerdict, Summary
    from loadtest.report.study_record import StudyRecord


class Tone(StrEnum):
    """How the strip is coloured; the word says the same without colour."""

    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """What the reader sees first."""

    tone: Tone
    word: str
    sentence: str


STUDY_TONES = {
    VerdictWord.FASTER: Tone.GOOD,
    VerdictWord.BETTER: Tone.GOOD,
    VerdictWord.EQUIVALENT: Tone.GOOD,
    VerdictWord.SLOWER: Tone.BAD,
    VerdictWord.WORSE: Tone.BAD,
    VerdictWord.INCONCLUSIVE: Tone.NEUTRAL,
    VerdictWord.INVALID: Tone.WARN,
}


def strip_of(summary: Summary, study: StudyRecord | None = None) -> Strip:
    """Say how it ended: invalid before anything else, then the study's verdict, then the objectives."""
    if study is not None:
        if not study.valid:
            return Strip(tone=Tone.WARN, word="invalid", sentence=_first(study.reasons))
        word = study.verdict.word
        if len(study.arms) == 1:  # a search for its capacity, which compares nothing
            return Strip(tone=Tone.NEUTRAL, word="capacity", sentence=study.verdict.sentence)
        return Strip(tone=STUDY_TONES[word], word=word.value, sentence=study.verdict.sentence)
    if not summary.valid:
        return Strip(tone=Tone.WARN, word="invalid", sentence=_first(summary.reasons))
    return _objectives(summary.objectives)


def key_figures(summary: Summary, study: StudyRecord | None = None) -> str:
    """Say in one sentence what was asked and how it was answered; a study's arms are never averaged."""
    all_ = summary.overall
    lost = [formats.plural(all_.errors.num, "error")]
    if all_.num_censored:
        lost.append(f"{all_.num_censored:,} unfinished")
    if study is not None:
        return f"{formats.plural(all_.n, 'request')}; {_by_arm(summary)}; {', '.join(lost)}."
    offered = f" at {formats.rate(all_.offered_per_s)}" if all_.offered_per_s else ""
    known = [name for name in ("p50", "p95") if getattr(all_.latency_s, name) is not None] or ["mean"]
    figures = ", ".join(f"{name} {formats.percentile(all_.latency_s, name)}" for name in known)
    return f"{formats.plural(all_.n, 'request')}{offered}: latency {figures}; {', '.join(lost)}."


def _by_arm(summary: Summary) -> str:
    """Give each arm the farthest percentile that every arm has enough requests for, else the mean."""
    arms = {name: arm.overall.latency_s for name, arm in summary.by_arm.items()}
    has = (name for name in ("p95", "p50") if all(getattr(one, name) is not None for one in arms.values()))
    shown = next(has, "mean")
    figures = ", ".join(f"{name} {formats.percentile(one, shown)}" for name, one in arms.items())
    return f"{shown} latency: {figures}"


def _first(reasons: tuple[str, ...]) -> str:
    more = len(reasons) - 1
    rest = f" And {formats.plural(more, 'more reason')}, below." if more > 0 else ""
    return (reasons[0] if reasons else "No reason was recorded.") + rest


def _objectives(objectives: tuple[ObjectiveVerdict, ...]) -> Strip:
    if not objectives:
        return Strip(
            tone=Tone.NEUTRAL,
            word="valid",
            sentence="The run measured the server. No objective was declared.",
        )
    missed = [one for one in objectives if one.met is False]
    unknown = [one for one in objectives if one.met is None]
    total = formats.plural(len(objectives), "objective")
    if missed:
        sentence = f"{len(missed)} of {total} missed: {missed[0].sentence}"
        return Strip(tone=Tone.BAD, word="missed", sentence=sentence)
    if unknown:
        sentence = f"{len(unknown)} of {total} could not be told: {unknown[0].sentence}"
        return Strip(tone=Tone.NEUTRAL, word="unclear", sentence=sentence)
    sentence = f"{objectives[0].sentence}" if len(objectives) == 1 else f"{len(objectives)} of {total} met."
    return Strip(tone=Tone.GOOD, word="met", sentence=sentence)
