"""Comparisons, controls and the study's word, over runs whose true ratio is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loadtest.analysis.design import Design, Phase, Side, plan
from loadtest.report.study_record import Correction, VerdictWord
from loadtest.study.comparisons import Comparer
from loadtest.study.controls import Controls, judge_controls
from loadtest.study.observed import Observed, effects, select
from loadtest.study.verdict import answer, word_of
from tests.loadtest.study.made_up import group, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.analysis.design import Block
    from loadtest.report.records import Summary
    from loadtest.study.study_file import Study

DESIGN = """
[design]
pairs = 10
restarts = 1
load_ratios = [0.3, 0.6]
offline_pairs = 10
[controls]
aa_pairs = 10
"""


def observed(study: Study, run: Callable[[Block, np.random.Generator], Summary]) -> tuple[Observed, ...]:
    """Run every block of the study's design through a function."""
    declared = study.declared
    rng = np.random.default_rng(3)
    controls = declared.controls
    blocks = plan(
        Design(
            reference=declared.reference,
            arms=declared.compared,
            num_pairs=declared.design.pairs,
            num_restarts=declared.design.restarts,
            load_ratios=tuple(declared.design.load_ratios),
            num_aa_pairs=controls.aa_pairs,
            control=controls.positive,
            num_control_pairs=0 if controls.positive is None else controls.positive_pairs,
            num_offline_pairs=declared.design.offline_pairs,
        ),
        np.random.default_rng(5),
    )
    return tuple(
        Observed(block=block, path=str(block.index), rate_per_s=None, summary=run(block, rng))
        for block in blocks
    )


def server(factors: dict[str, float], noise: float) -> Callable[[Block, np.random.Generator], Summary]:
    """Make runs whose times are a factor an arm, one draw a pair that both share, and noise."""

    def run(block: Block, rng: np.random.Generator) -> Summary:
        shared = np.random.default_rng([block.segment, 1]).lognormal(0, 0.3)
        factor = factors.get(block.arm, 1.0) * shared * rng.lognormal(0, noise)
        cells = {
            name: group(0.02 * factor, 0.05 * factor, inputs_per_s=50 / factor) for name in ("xnli", "xcopa")
        }
        return summary(
            group(0.02 * factor, 0.05 * factor, inputs_per_s=50 / factor, in_time=0.9),
            by_task=cells,
            by_language={"en": cells["xnli"], "sw": cells["xcopa"]},
        )

    return run


def comparer(study: Study, factors: dict[str, float], noise: float = 0.01) -> Comparer:
    return Comparer(
        runs=observed(study, server(factors, noise)), declared=study.declared, rng=np.random.default_rng(1)
    )


@pytest.mark.parametrize(
    ("factor", "word"),
    [(1.0, "equivalent"), (1.02, "equivalent"), (1.3, "slower"), (0.7, "faster")],
)
def test_arms_of_a_known_ratio_get_the_right_word(
    study_of: Callable[[str], Study], factor: float, word: str
) -> None:
    found = comparer(study_of(DESIGN), {"new": factor})
    primaries = [c for c in found.overall("new") if c.primary]
    assert [c.name for c in primaries] == [
        "p50 latency at 60% load",
        "p95 latency at 60% load",
        "offline inputs/s",
    ]
    assert {c.word.value for c in primaries} == {word}
    assert word_of(primaries, ()) is VerdictWord(word)


def test_a_noisy_study_is_inconclusive_and_says_how_many_pairs_would_do(
    study_of: Callable[[str], Study],
) -> None:
    study = study_of(DESIGN)
    found = comparer(study, {"new": 1.02}, noise=0.3)
    primaries = [c for c in found.overall("new") if c.primary]
    said = answer(
        primaries,
        Controls(aa=(), noise=None, positive=None),
        (),
        (),
        arm="new",
        reference="old",
        synthetic=False,
    )
    assert said.word is VerdictWord.INCONCLUSIVE
    needed = max(c.num_pairs_needed or 0 for c in primaries)
    assert needed > study.declared.design.pairs
    assert f"About {needed} pairs" in said.paragraph


def test_log_ratios_are_of_the_two_runs_of_each_pair(study_of: Callable[[str], Study]) -> None:
    runs = observed(study_of(DESIGN), server({"new": 1.25}, noise=0.0))
    pairs = select(runs, Phase.PAIR, load_ratio=0.6, arm="new")
    seen = effects(pairs, lambda found: found.overall, lambda g: g.latency_s.p50)
    assert len(pairs) == 10
    assert seen.flat == pytest.approx([math.log(1.25)] * 10)
    assert all(
        sides[Side.ARM].block.segment == sides[Side.REFERENCE].block.segment for sides in pairs.values()
    )


def test_a_pair_with_a_run_that_is_not_valid_is_left_out_and_counted(
    study_of: Callable[[str], Study],
) -> None:
    runs = list(observed(study_of(DESIGN), server({"new": 1.0}, noise=0.0)))
    bad = next(i for i, run in enumerate(runs) if run.block.phase is Phase.PAIR)
    runs[bad] = replace(runs[bad], summary=summary(group(9.0), reasons=("late",)))
    block = runs[bad].block
    pairs = select(runs, Phase.PAIR, load_ratio=block.load_ratio, arm="new")
    seen = effects(pairs, lambda found: found.overall, lambda g: g.latency_s.p50)
    assert (len(seen.flat), seen.num_left_out) == (9, 1)
    assert max(map(abs, seen.flat)) < 1e-12


def test_tasks_and_languages_are_corrected_for_how_many_they_are(study_of: Callable[[str], Study]) -> None:
    found = comparer(study_of(DESIGN), {"new": 1.3})
    tasks, languages = found.tasks("new"), found.languages("new")
    assert [c.task for c in tasks] == ["xcopa", "xnli"]
    assert [c.language for c in languages] == ["en", "sw"]
    assert {c.correction for c in tasks} == {Correction.HOLM}
    assert {c.correction for c in languages} == {Correction.BENJAMINI_HOCHBERG}
    assert all(c.marked and c.word is VerdictWord.SLOWER for c in (*tasks, *languages))


def test_a_reference_that_differs_from_itself_silences_the_study(study_of: Callable[[str], Study]) -> None:
    study = study_of(DESIGN)
    steady = server({}, noise=0.005)

    def run(block: Block, rng: np.random.Generator) -> Summary:
        found = steady(block, rng)
        if block.phase is Phase.AA and block.side is Side.ARM:
            p50 = found.overall.latency_s.p50
            assert p50 is not None
            return summary(group(p50 * 1.5, p50 * 3))
        return found

    runs = observed(study, run)
    judging = Comparer(runs=runs, declared=study.declared, rng=np.random.default_rng(1))
    controls = judge_controls(judging)
    assert controls.problems[0] == "the reference differs from itself in p50 latency (slower)"
    primaries = [c for c in judging.overall("new") if c.primary]
    assert word_of(primaries, controls.problems) is VerdictWord.INVALID


POSITIVE = (
    DESIGN
    + """
positive = "slow"
planted_ratio = 1.25
positive_pairs = 8
[arms.slow]
file = "slow.toml"
"""
)


@pytest.mark.parametrize(("factor", "found"), [(1.25, True), (1.0, False)])
def test_the_planted_arm_must_be_found(
    study_of: Callable[[str], Study],
    factor: float,
    found: bool,  # noqa: FBT001 - a column of the table
) -> None:
    controls = judge_controls(comparer(study_of(POSITIVE), {"slow": factor}))
    assert controls.positive is not None
    assert controls.positive.found is found
    assert bool(controls.problems) is not found
    assert controls.noise is not None
    assert controls.noise.sd == pytest.approx(0.01 * math.sqrt(2), rel=0.8)
