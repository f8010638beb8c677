"""Arms against the reference: overall, by load, by task, by language, by both. Pure.

Rules: the primaries are p50 and p95 latency at the declared load and offline throughput, in this
order (a fixed sequence needs no correction; ``held_of`` holds to it); tasks are corrected by Holm,
languages, and tasks by languages, by Benjamini-Hochberg. A difference, or an equivalence, that does not
survive its correction is inconclusive. Several arms share the risk of a false alarm evenly (Bonferroni).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.analysis.design import Phase
from loadtest.analysis.equivalence import compare
from loadtest.analysis.multiplicity import benjamini_hochberg, holm
from loadtest.report.study_record import DIFFERENT, Comparison, Correction, Interval, Margin, VerdictWord
from loadtest.study.measures import Measure
from loadtest.study.observed import Effects, cells_of, effects, keys_of, select

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.random import Generator

    from loadtest.analysis.equivalence import Comparison as Found
    from loadtest.analysis.interval import Interval as Ends
    from loadtest.report.records import Group, Summary
    from loadtest.study.observed import Observed
    from loadtest.study.study_file import StudyFile

LATENCIES = (Measure.P50, Measure.P95, Measure.P99, Measure.GOODPUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """What one comparison is of."""

    measure: Measure
    arm: str
    load_ratio: float | None = None
    task: str | None = None
    language: str | None = None
    primary: bool = False
    kind: str = ""

    @property
    def name(self) -> str:
        """A line for tables and plots; no two of a study's comparisons of one arm share theirs."""
        where = "".join(f", {part}" for part in (self.task, self.language) if part)
        load = "" if self.load_ratio is None else f" at {self.load_ratio:.0%} load"
        return f"{self.kind}{self.measure}{load}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """Compares within one study: its runs, what it declared, and its bootstrap stream."""

    runs: Sequence[Observed]
    declared: StudyFile
    rng: Generator

    def every(self, arm: str) -> list[Comparison]:
        """Compare in everything but the controls and capacity, primaries among the first."""
        return [*self.overall(arm), *self.tasks(arm), *self.languages(arm), *self.cells(arm)]

    def overall(self, arm: str) -> list[Comparison]:
        """Compare all requests at every load, and offline."""
        design = self.declared.design
        topics = [
            Topic(measure=measure, arm=arm, load_ratio=load, primary=self._is_primary(measure, load))
            for load in design.load_ratios
            for measure in LATENCIES
        ]
        if design.offline_pairs:
            topics += [
                Topic(measure=Measure.OFFLINE_INPUTS, arm=arm, primary=True),
                Topic(measure=Measure.OFFLINE_TOKENS, arm=arm),
            ]
        return in_sequence([self.one(topic, lambda summary: summary.overall) for topic in topics])

    def tasks(self, arm: str) -> list[Comparison]:
        """Compare the p50 latency of each task at the declared load."""
        found = [self._group(arm, task=task) for task in keys_of(self.runs, "by_task")]
        return corrected(found, holm, Correction.HOLM, self.alpha)

    def languages(self, arm: str) -> list[Comparison]:
        """Compare the p50 latency of each language at the declared load."""
        found = [self._group(arm, language=language) for language in keys_of(self.runs, "by_language")]
        return corrected(found, benjamini_hochberg, Correction.BENJAMINI_HOCHBERG, self.alpha)

    def cells(self, arm: str) -> list[Comparison]:
        """Compare the p50 latency of each task in each language where some pair has enough requests."""
        found = [self._group(arm, task=task, language=language) for task, language in cells_of(self.runs)]
        known = [comparison for comparison in found if comparison.log_ratio is not None]
        return corrected(known, benjamini_hochberg, Correction.BENJAMINI_HOCHBERG, self.alpha)

    def one(
        self, topic: Topic, pick: Callable[[Summary], Group | None], *, phase: Phase | None = None
    ) -> Comparison:
        """Compare in one measure, over the pairs of a phase."""
        phase = phase or (Phase.OFFLINE if topic.load_ratio is None else Phase.PAIR)
        pairs = select(self.runs, phase, load_ratio=topic.load_ratio, arm=topic.arm)
        return self.judge(topic, effects(pairs, pick, topic.measure.of))

    def judge(self, topic: Topic, seen: Effects) -> Comparison:
        """Turn a measure's log ratios into a verdict."""
        found = compare(
            seen.groups,
            margins=topic.measure.margins(self.declared.design.margins),
            direction=topic.measure.direction,
            rng=self.rng,
            alpha=self.alpha,
        )
        return self._record(topic, found, seen)

    @property
    def alpha(self) -> float:
        """The chance of a false claim about one arm."""
        return (1 - self.declared.design.confidence) / len(self.declared.compared)

    def _is_primary(self, measure: Measure, load: float) -> bool:
        return measure in (Measure.P50, Measure.P95) and load == self.declared.design.primary_load_ratio

    def _group(self, arm: str, *, task: str | None = None, language: str | None = None) -> Comparison:
        load = self.declared.design.primary_load_ratio
        topic = Topic(measure=Measure.P50, arm=arm, load_ratio=load, task=task, language=language)
        return self.one(topic, lambda summary: group_of(summary, task, language))

    def _record(self, topic: Topic, found: Found, seen: Effects) -> Comparison:
        several = len(self.declared.compared) > 1 and not topic.kind
        return Comparison(
            name=f"{topic.arm}: {topic.name}" if several else topic.name,
            measure=topic.measure.value,
            arm=topic.arm,
            reference=self.declared.reference,
            task=topic.task,
            language=topic.language,
            load_ratio=topic.load_ratio,
            primary=topic.primary,
            log_ratio=found.log_ratio,
            interval=interval_of(found.interval),
            equivalence_interval=interval_of(found.equivalence_interval),
            margin=Margin(low=found.margins.low, high=found.margins.high),
            pair_log_ratios=seen.flat,
            p_value=found.p_difference,
            p_equivalence=found.p_equivalence,
            correction=Correction.SEQUENCE if topic.primary else Correction.NONE,
            marked=found.verdict.value in DIFFERENT,
            word=VerdictWord(found.verdict.value),
            num_pairs=found.num_pairs,
            num_pairs_needed=found.pairs_needed,
        )


def interval_of(ends: Ends | None) -> Interval | None:
    """Return an interval as the record writes it."""
    return None if ends is None else Interval(low=ends.low, high=ends.high, confidence=ends.level)


def group_of(summary: Summary, task: str | None, language: str | None) -> Group | None:
    """Return the requests of a task, of a language, or of one in the other; None where there are none."""
    if task is None:
        return None if language is None else summary.by_language.get(language)
    if language is None:
        return summary.by_task.get(task)
    return summary.by_task_language.get(task, {}).get(language)


def held_of(primaries: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return the primaries whose difference holds: those before the first, in order, that is not different.

    Each is tested at full strength, and still the chance of any false claim is that of one test.
    """
    return tuple(itertools.takewhile(lambda comparison: comparison.word in DIFFERENT, primaries))


def in_sequence(found: Sequence[Comparison]) -> list[Comparison]:
    """Take the mark of a claim from primaries whose difference does not hold in their order."""
    held = {id(one) for one in held_of([one for one in found if one.primary])}
    return [
        one if not one.primary or id(one) in held else one.model_copy(update={"marked": False})
        for one in found
    ]


def corrected(
    compared: Sequence[Comparison],
    adjust: Callable[[Mapping[int, float | None]], Mapping[int, float | None]],
    correction: Correction,
    alpha: float,
) -> list[Comparison]:
    """Replace p-values by corrected ones, and take back claims that do not survive.

    Differences and equivalences are a family each: no arm can be both, and each is claimed of many.
    """
    differs = adjust({i: comparison.p_value for i, comparison in enumerate(compared)})
    equals = adjust({i: comparison.p_equivalence for i, comparison in enumerate(compared)})
    return [
        _after(comparison, differs[i], equals[i], correction, alpha) for i, comparison in enumerate(compared)
    ]


def _after(
    comparison: Comparison, differs: float | None, equals: float | None, correction: Correction, alpha: float
) -> Comparison:
    claimed = equals if comparison.word is VerdictWord.EQUIVALENT else differs
    survives = claimed is not None and claimed < alpha
    return comparison.model_copy(
        update={
            "p_value": differs,
            "p_equivalence": equals,
            "correction": correction,
            "marked": survives and comparison.word in DIFFERENT,
            "word": comparison.word if survives else VerdictWord.INCONCLUSIVE,
        }
    )
