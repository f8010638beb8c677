"""What a study must get right before it may speak of its arms. Pure.

A/A: the reference against itself, which must not differ; its spread is the noise floor and says what the
planned units will find: restarts, where the plan has several, else pairs, as in every comparison. Positive:
an arm that is slower on purpose, which must be found slower. In the plan of blocks both stand at the declared
load. Rules: both measures of the A/A control share one chance of a false alarm (Holm), so that 5 % of sound
studies are condemned and not 10; a control that was declared and has no pair of valid runs is a problem too,
since nothing is known of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.analysis.aa import NoiseFloor, noise_floor
from loadtest.analysis.bootstrap import units
from loadtest.analysis.design import Phase
from loadtest.analysis.interval import SPREAD_UNITS
from loadtest.analysis.multiplicity import holm
from loadtest.analysis.power import Risks
from loadtest.report.study_record import DIFFERENT, Comparison, Correction, PositiveControl, VerdictWord
from loadtest.study.comparisons import Topic, corrected
from loadtest.study.measures import Measure
from loadtest.study.observed import effects, select

if TYPE_CHECKING:
    from loadtest.report.records import Group, Summary
    from loadtest.study.comparisons import Comparer

CONTROLLED = (Measure.P50, Measure.P95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """Both controls; ``positive`` and ``noise`` are None where they were not declared or not measured."""

    aa: tuple[Comparison, ...]
    noise: NoiseFloor | None
    positive: PositiveControl | None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the study may not speak of its arms; empty when it may."""
        found = [
            f"the reference differs from itself in {comparison.measure} ({comparison.word.value})"
            for comparison in self.aa
            if comparison.word in DIFFERENT
        ]
        if self.aa and not any(comparison.num_pairs for comparison in self.aa):
            found.append("no pair of valid runs of the reference against itself was made")
        if self.positive is not None and not self.positive.comparison.num_pairs:
            found.append("no pair of valid runs of the arm that is slower on purpose was made")
        elif self.positive is not None and not self.positive.found:
            found.append(
                f"an arm that is slower by {self.positive.planted_ratio - 1:.0%} on purpose was called "
                f"{self.positive.comparison.word.value}"
            )
        return tuple(found)


def judge_controls(comparer: Comparer) -> Controls:
    """Judge the control pairs of a study."""
    declared = comparer.declared
    load = declared.design.primary_load_ratio
    aa = [
        comparer.one(
            Topic(measure=measure, arm=declared.reference, load_ratio=load, kind="A/A: "),
            _overall,
            phase=Phase.AA,
        )
        for measure in CONTROLLED
        if declared.controls.aa_pairs
    ]
    judged = tuple(corrected(aa, holm, Correction.HOLM, comparer.alpha))
    return Controls(aa=judged, noise=_noise(comparer, load), positive=_positive(comparer, load))


def _noise(comparer: Comparer, load: float) -> NoiseFloor | None:
    declared = comparer.declared
    pairs = select(comparer.runs, Phase.AA, load_ratio=load, arm=declared.reference)
    seen = effects(pairs, _overall, Measure.P50.of)
    if units(seen.groups).size < SPREAD_UNITS:
        return None
    num_pairs = declared.design.pairs
    restarts = {run.block.restart for run in comparer.runs if run.block.phase is Phase.PAIR}
    num_units = len(restarts) if len(restarts) > 1 else num_pairs
    return noise_floor(
        seen.groups,
        margins=Measure.P50.margins(declared.design.margins),
        planned_units=num_units,
        planned_pairs_per_unit=num_pairs / num_units,
        rng=comparer.rng,
        risks=Risks(alpha=comparer.alpha),
    )


def _positive(comparer: Comparer, load: float) -> PositiveControl | None:
    controls = comparer.declared.controls
    if controls.positive is None or controls.planted_ratio is None:
        return None
    topic = Topic(measure=Measure.P50, arm=controls.positive, load_ratio=load, kind="control: ")
    comparison = comparer.one(topic, _overall, phase=Phase.CONTROL)
    return PositiveControl(
        planted_ratio=controls.planted_ratio,
        found=comparison.word is VerdictWord.SLOWER,
        comparison=comparison,
    )


def _overall(summary: Summary) -> Group:
    return summary.overall
