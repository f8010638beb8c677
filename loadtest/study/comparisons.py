"""Arms against the reference: overall, by load, by task, by language. Pure.

Rules: the primaries are p50 and p95 latency at the declared load and offline throughput, in this
order (a fixed sequence needs no correction); tasks are corrected by Holm, languages by
Benjamini-Hochberg. A difference that does not survive its correction is inconclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.analysis.design import Phase
from loadtest.analysis.equivalence import compare
from loadtest.analysis.multiplicity import benjamini_hochberg, holm
from loadtest.report.study_record import Comparison, Correction, Interval, Margin, VerdictWord
from loadtest.study.measures import Measure
from loadtest.study.observed import Effects, effects, keys_of, select

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.random import Generator

    from loadtest.analysis.equivalence import Comparison as Found
    from loadtest.analysis.interval import Interval as Ends
    from loadtest.report.records import Group, Summary
    from loadtest.study.observed import Observed
    from loadtest.study.study_file import StudyFile

LATENCIES = (Measure.P50, Measure.P95, Measure.P99, Measure.GOODPUT)
DIFFERENT = (VerdictWord.FASTER, VerdictWord.SLOWER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """What one comparison is of."""

    measure: Measure
    arm: str
    load_ratio: float | None = None
    task: str | None = None
    language: str | None = None
    primary: bool = False

    @property
    def name(self) -> str:
        """A line for tables and plots."""
        where = self.task or self.language
        load = "" if self.load_ratio is None else f" at {self.load_ratio:.0%} load"
        return f"{self.measure}{load}" + (f", {where}" if where else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """Compares within one study: its runs, what it declared, and its bootstrap stream."""

    runs: Sequence[Observed]
    declared: StudyFile
    rng: Generator

    def overall(self, arm: str) -> list[Comparison]:
        """Compare all requests at every load, and offline."""
        design = self.declared.design
        topics = [
            Topic(measure=measure, arm=arm, load_ratio=load, primary=self._is_primary(measure, load))
            for load in design.load_ratios
            for measure in LATENCIES
        ]
        topics += [
            Topic(measure=Measure.OFFLINE_INPUTS, arm=arm, primary=True),
            Topic(measure=Measure.OFFLINE_TOKENS, arm=arm),
        ]
        return [self.one(topic, lambda summary: summary.overall) for topic in topics]

    def tasks(self, arm: str) -> list[Comparison]:
        """Compare the p50 latency of each task at the declared load."""
        return _corrected(self._groups(arm, "task"), holm, Correction.HOLM, self._alpha)

    def languages(self, arm: str) -> list[Comparison]:
        """Compare the p50 latency of each language at the declared load."""
        return _corrected(
            self._groups(arm, "language"), benjamini_hochberg, Correction.BENJAMINI_HOCHBERG, self._alpha
        )

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
            alpha=self._alpha,
        )
        return self._record(topic, found, seen)

    @property
    def _alpha(self) -> float:
        return 1 - self.declared.design.confidence

    def _is_primary(self, measure: Measure, load: float) -> bool:
        return measure in (Measure.P50, Measure.P95) and load == self.declared.design.primary_load_ratio

    def _groups(self, arm: str, kind: str) -> list[Comparison]:
        load = self.declared.design.primary_load_ratio
        compared = []
        for key in keys_of(self.runs, f"by_{kind}"):
            topic = Topic(
                measure=Measure.P50,
                arm=arm,
                load_ratio=load,
                task=key if kind == "task" else None,
                language=key if kind == "language" else None,
            )
            compared.append(self.one(topic, _by(kind, key)))
        return compared

    def _record(self, topic: Topic, found: Found, seen: Effects) -> Comparison:
        return Comparison(
            name=topic.name,
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
            correction=Correction.SEQUENCE if topic.primary else Correction.NONE,
            marked=found.verdict.value in DIFFERENT,
            word=VerdictWord(found.verdict.value),
            num_pairs=found.num_pairs,
            num_pairs_needed=found.pairs_needed,
        )


def interval_of(ends: Ends | None) -> Interval | None:
    """Return an interval as the record writes it."""
    return None if ends is None else Interval(low=ends.low, high=ends.high, confidence=ends.level)


def _by(kind: str, key: str) -> Callable[[Summary], Group | None]:
    def pick(summary: Summary) -> Group | None:
        groups: Mapping[str, Group] = getattr(summary, f"by_{kind}")
        return groups.get(key)

    return pick


def _corrected(
    compared: list[Comparison],
    adjust: Callable[[Mapping[int, float | None]], Mapping[int, float | None]],
    correction: Correction,
    alpha: float,
) -> list[Comparison]:
    """Replace p-values by corrected ones, and take back differences that do not survive."""
    adjusted = adjust({i: comparison.p_value for i, comparison in enumerate(compared)})
    corrected = []
    for i, comparison in enumerate(compared):
        p_value = adjusted[i]
        marked = comparison.word in DIFFERENT and p_value is not None and p_value < alpha
        survives = marked or comparison.word not in DIFFERENT
        corrected.append(
            comparison.model_copy(
                update={
                    "p_value": p_value,
                    "correction": correction,
                    "marked": marked,
                    "word": comparison.word if survives else VerdictWord.INCONCLUSIVE,
                }
            )
        )
    return corrected
