"""The controls of a study: a reference beside itself, and an arm that is slower on purpose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from loadtest.analysis.design import Phase, Side
from loadtest.report.study_record import VerdictWord
from loadtest.study.comparisons import Comparer
from loadtest.study.controls import judge_controls
from loadtest.study.verdict import word_of
from tests.loadtest.study.known_servers import DESIGN, comparer, observed, server
from tests.loadtest.study.made_up import group, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.analysis.design import Block
    from loadtest.report.records import Summary
    from loadtest.study.study_file import Study


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


def test_both_measures_of_a_control_share_one_chance_of_a_false_alarm(
    study_of: Callable[[str], Study],
) -> None:
    """Six pairs whose p50 alone is below 5 %, and of two measures is not."""
    away = dict(enumerate((-0.01, 0.14, 0.02, 0.11, 0.08, 0.03)))
    assert 0.025 < stats.ttest_1samp(list(away.values()), 0).pvalue < 0.05

    def run(block: Block, _: np.random.Generator) -> Summary:
        differs = block.phase is Phase.AA and block.side is Side.ARM
        p50 = 0.02 * math.exp(away[block.pair] * differs)
        return summary(group(p50, 0.05 * (1 + 0.2 * (-1) ** block.pair * differs), inputs_per_s=50.0))

    study = study_of(DESIGN.replace("pairs = 10", "pairs = 6"))
    judging = Comparer(runs=observed(study, run), declared=study.declared, rng=np.random.default_rng(1))
    controls = judge_controls(judging)
    assert [one.word for one in controls.aa] == [VerdictWord.INCONCLUSIVE] * 2
    assert controls.problems == ()


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


@pytest.mark.parametrize(("restarts", "units"), [(1, 10), (5, 5)])
def test_the_power_that_is_told_is_of_the_units_that_verdicts_rest_on(
    study_of: Callable[[str], Study], restarts: int, units: int
) -> None:
    study = study_of(DESIGN.replace("restarts = 1", f"restarts = {restarts}"))
    judging = comparer(study, {}, noise=0.02)
    noise = judge_controls(judging).noise
    assert noise is not None
    assert (noise.planned_units, noise.comparison.num_units) == (units, units)
    solved = float(TTestPower().solve_power(nobs=units, alpha=0.05, power=0.8))
    assert noise.detectable == pytest.approx(solved * noise.sd)


def test_controls_without_a_valid_pair_silence_the_study(study_of: Callable[[str], Study]) -> None:
    usual = server({"slow": 1.25}, noise=0.01)

    def run(block: Block, rng: np.random.Generator) -> Summary:
        found = usual(block, rng)
        broken = block.phase in (Phase.AA, Phase.CONTROL)
        return found.model_copy(update={"valid": False, "reasons": ("late",)}) if broken else found

    study = study_of(POSITIVE)
    runs = observed(study, run)
    controls = judge_controls(Comparer(runs=runs, declared=study.declared, rng=np.random.default_rng(1)))
    assert controls.problems == (
        "no pair of valid runs of the reference against itself was made",
        "no pair of valid runs of the arm that is slower on purpose was made",
    )


def test_sound_studies_are_condemned_by_their_control_one_time_in_twenty(
    study_of: Callable[[str], Study],
) -> None:
    """Two measures with noise of their own, one chance of a false alarm; the bound is binomial at 99.9 %."""
    study = study_of(DESIGN)
    margins = study.declared.design.margins.model_copy(update={"p50": 1e-4, "p95": 1e-4})
    declared = study.declared.model_copy(
        update={"design": study.declared.design.model_copy(update={"margins": margins})}
    )

    def run(block: Block, rng: np.random.Generator) -> Summary:
        shared = np.random.default_rng([block.segment, 1]).lognormal(0, 0.3)
        return summary(group(0.02 * shared * rng.lognormal(0, 0.05), 0.05 * shared * rng.lognormal(0, 0.1)))

    num_studies, num_condemned = 200, 0
    for seed in range(num_studies):
        runs = tuple(r for r in observed(study, run, seed) if r.block.phase is Phase.AA)
        judging = Comparer(runs=runs, declared=declared, rng=np.random.default_rng(seed))
        num_condemned += bool(judge_controls(judging).problems)
    least, most = (stats.binom.ppf(share, num_studies, 0.05) for share in (0.0005, 0.9995))
    assert least <= num_condemned <= most
