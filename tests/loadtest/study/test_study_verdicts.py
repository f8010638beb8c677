"""Comparisons, controls and the study's word, over runs whose true ratio is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from loadtest.analysis.aa import noise_floor
from loadtest.analysis.design import Phase, Side
from loadtest.report.records import Errors
from loadtest.report.study_record import Comparison, Correction, Interval, QualityDifference, VerdictWord
from loadtest.study.comparisons import Comparer, held_of
from loadtest.study.controls import Controls
from loadtest.study.measures import Measure
from loadtest.study.observed import effects, select
from loadtest.study.study_file import MarginsTable
from loadtest.study.verdict import also, answer, word_of
from tests.loadtest.study.known_servers import DESIGN, comparer, observed, server
from tests.loadtest.study.made_up import group, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.analysis.design import Block
    from loadtest.report.records import Summary
    from loadtest.study.study_file import Study


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


@pytest.mark.parametrize(
    ("family", "method"), [("tasks", "holm"), ("languages", "fdr_bh"), ("cells", "fdr_bh")]
)
def test_each_family_is_corrected_by_its_own_method_and_what_fails_it_is_inconclusive(
    study_of: Callable[[str], Study], family: str, method: str
) -> None:
    """Twelve of a kind, each with its own Student's t: which of them survive is told by statsmodels."""
    design = DESIGN.replace("pairs = 10", "pairs = 6", 1)
    away = stats.zscore([-1.0, 14.0, 2.0, 11.0, 8.0, 3.0], ddof=1)
    t_values = (0.2, -0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 2.8, 2.9, 4.0, -6.0, 9.0)

    def run(block: Block, _: np.random.Generator) -> Summary:
        differs = 0.1 * (block.side is Side.ARM)
        groups = {
            f"{t:.1f}": group(0.02 * math.exp(differs * (away[block.pair % 6] + t / math.sqrt(6))))
            for t in t_values
        }
        made = summary(group(0.02), by_task=groups, by_language=groups)
        return made.model_copy(update={"by_task_language": {name: {"en": groups[name]} for name in groups}})

    study = study_of(design)
    judging = Comparer(runs=observed(study, run), declared=study.declared, rng=np.random.default_rng(1))
    found = getattr(judging, family)("new")
    alone = [stats.ttest_1samp(one.pair_log_ratios, 0).pvalue for one in found]
    adjusted = multipletests(alone, method=method)[1]
    assert [one.p_value for one in found] == pytest.approx(adjusted.tolist())
    words = [
        "inconclusive" if p >= 0.05 else "slower" if (one.log_ratio or 0) > 0 else "faster"
        for one, p in zip(found, adjusted, strict=True)
    ]
    assert [one.word.value for one in found] == words
    assert [one.marked for one in found] == [word != "inconclusive" for word in words]
    taken_back = sum(p < 0.05 <= q for p, q in zip(alone, adjusted, strict=True))
    assert (taken_back, sum(p < 0.05 for p in alone)) == (3 if method == "holm" else 2, 5)


@pytest.mark.parametrize(("family", "method"), [("tasks", "holm"), ("languages", "fdr_bh")])
def test_equivalences_are_corrected_as_differences_are(
    study_of: Callable[[str], Study], family: str, method: str
) -> None:
    """Twelve of a kind that differ by nothing, each with its own spread: statsmodels tells which survive."""
    design = DESIGN.replace("pairs = 10", "pairs = 6", 1)
    away = stats.zscore([-1.0, 14.0, 2.0, 11.0, 8.0, 3.0], ddof=1)
    spreads = (0.01, 0.02, 0.03, 0.045, 0.05, 0.054, 0.056, 0.058, 0.07, 0.1, 0.2, 0.3)

    def run(block: Block, _: np.random.Generator) -> Summary:
        is_arm = block.side is Side.ARM
        groups = {
            f"{spread:.3f}": group(0.02 * math.exp(is_arm * spread * away[block.pair % 6]))
            for spread in spreads
        }
        return summary(group(0.02), by_task=groups, by_language=groups)

    study = study_of(design)
    judging = Comparer(runs=observed(study, run), declared=study.declared, rng=np.random.default_rng(1))
    found = getattr(judging, family)("new")
    margin = found[0].margin
    alone = [DescrStatsW(one.pair_log_ratios).ttost_mean(margin.low, margin.high)[0] for one in found]
    adjusted = multipletests(alone, method=method)[1]
    assert [one.p_equivalence for one in found] == pytest.approx(adjusted.tolist())
    words = ["equivalent" if p < 0.05 else "inconclusive" for p in adjusted]
    assert [one.word.value for one in found] == words
    assert sum(p < 0.05 <= q for p, q in zip(alone, adjusted, strict=True)) >= 2
    assert {"equivalent", "inconclusive"} == set(words)


def test_a_primary_after_one_that_is_not_different_bears_no_mark(study_of: Callable[[str], Study]) -> None:
    def run(block: Block, rng: np.random.Generator) -> Summary:
        slower = 1.5 if block.side is Side.ARM else 1.0
        noise = rng.lognormal(0, 0.3)
        return summary(group(0.02 * noise, 0.05 * slower * rng.lognormal(0, 0.01), inputs_per_s=50 / slower))

    study = study_of(DESIGN)
    judging = Comparer(runs=observed(study, run), declared=study.declared, rng=np.random.default_rng(1))
    primaries = [one for one in judging.overall("new") if one.primary]
    words = [VerdictWord.INCONCLUSIVE, VerdictWord.SLOWER, VerdictWord.SLOWER]
    assert [(one.word, one.marked) for one in primaries] == [(word, False) for word in words]
    others = [one for one in judging.overall("new") if one.measure == "p95 latency" and not one.primary]
    assert all(one.marked for one in others)


def test_pairs_are_told_for_what_they_would_settle() -> None:
    p50, p95 = said("inconclusive", "inconclusive")
    settled = p50.model_copy(update={"name": "p50 latency", "num_pairs_needed": 8})
    no_figure = p95.model_copy(update={"name": "p95 latency", "num_pairs_needed": None})
    silent = Controls(aa=(), noise=None, positive=None)
    both = paragraph_of(silent, settled, settled.model_copy(update={"num_pairs_needed": 9}))
    assert "About 9 pairs in all would settle it, were these estimates true." in both
    one = paragraph_of(silent, settled, no_figure)
    assert "About 8 pairs in all would settle p50 latency, were these estimates true; " in one
    assert "what would settle p95 latency cannot be told." in one


def test_a_spread_is_told_with_its_pairs_and_how_far_it_is_known() -> None:
    """Two units s apart have the standard deviation s / sqrt 2; its ends are of chi-square, one degree."""
    margins, rng = Measure.P50.margins(MarginsTable()), np.random.default_rng(1)
    noise = noise_floor([np.array([0.0, 0.1])], margins=margins, planned_units=8, rng=rng)
    two = paragraph_of(Controls(aa=(), noise=noise, positive=None))
    sd = 0.1 / math.sqrt(2)
    low, high = (math.exp(sd / math.sqrt(chi2)) for chi2 in (5.023886, 0.000982069))
    assert (
        f"spreads by a factor of {math.exp(sd):.3g} a unit (p50, one standard deviation over 2 pairs, "
        f"95% interval {low:.3g} to {high:.3g}), so that 8 units find" in two
    )
    groups = [np.array([0.0, 0.1]), np.array([0.05])]
    restarted = noise_floor(groups, margins=margins, planned_units=8, rng=rng)
    several = paragraph_of(Controls(aa=(), noise=restarted, positive=None))
    assert "one standard deviation over 3 pairs in 2 restarts, " in several


def paragraph_of(controls: Controls, *primaries: Comparison) -> str:
    return answer(primaries, controls, (), (), arm="new", reference="old", synthetic=False).paragraph


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"log_ratio": None, "num_pairs": 0},
            "P50: no figure, since no valid pair has this figure in both runs.",
        ),
        (
            {"log_ratio": 0.0, "num_pairs": 1},
            "P50: 1.000 times the reference's, without an interval: it takes 2 pairs, not 1.",
        ),
        (
            {"log_ratio": 0.0, "num_pairs": 5, "measure": "capacity"},
            "P50: 1.000 times the reference's, without an interval: it takes 6 pairs, not 5.",
        ),
        (
            {"log_ratio": None, "num_pairs": 9, "measure": "capacity"},
            "P50: no figure, since no line was fitted to both arms' probes.",
        ),
        (
            {"log_ratio": 0.0, "interval": Interval(low=0, high=0.5, confidence=0.975)},
            "P50: 1.000 times the reference's (97.5% interval 1.000 to 1.649; 2 pairs): inconclusive.",
        ),
    ],
)
def test_a_primary_without_an_interval_says_why(change: dict[str, Any], sentence: str) -> None:
    one = said("inconclusive")[0].model_copy(
        update={"name": "p50", "interval": None, "num_pairs": 2, **change}
    )
    assert sentence in paragraph_of(Controls(aa=(), noise=None, positive=None), one)


def said(*words: str) -> list[Comparison]:
    """Primaries with given words, in order."""
    return [
        Comparison(
            name=f"measure {i}",
            measure=f"measure {i}",
            arm="new",
            reference="old",
            log_ratio=0.1,
            interval=None,
            word=VerdictWord(word),
            num_pairs=10,
        )
        for i, word in enumerate(words)
    ]


@pytest.mark.parametrize(
    ("words", "word", "num_held"),
    [
        ("equivalent equivalent equivalent", "equivalent", 0),
        ("slower slower slower", "slower", 3),
        ("slower slower inconclusive", "slower", 2),
        ("slower inconclusive slower", "slower", 1),
        ("faster equivalent equivalent", "faster", 1),
        ("slower faster slower", "inconclusive", 3),
        ("equivalent slower slower", "inconclusive", 0),  # the order ended before the difference
        ("inconclusive slower slower", "inconclusive", 0),
        ("equivalent equivalent inconclusive", "inconclusive", 0),
    ],
)
def test_primaries_speak_in_order_until_one_is_not_different(words: str, word: str, num_held: int) -> None:
    primaries = said(*words.split())
    assert word_of(primaries, ()) is VerdictWord(word)
    assert len(held_of(primaries)) == num_held
    assert word_of(primaries, ("a control failed",)) is VerdictWord.INVALID


def test_cells_without_enough_requests_are_left_out(study_of: Callable[[str], Study]) -> None:
    usual = server({"new": 1.3}, noise=0.01)

    def run(block: Block, rng: np.random.Generator) -> Summary:
        found = usual(block, rng)
        cells = {
            "xnli": {"en": found.by_task["xnli"], "sw": found.by_task["xnli"]},
            "xcopa": {"sw": group(None)},
        }
        return found.model_copy(update={"by_task_language": cells})

    study = study_of(DESIGN)
    judging = Comparer(runs=observed(study, run), declared=study.declared, rng=np.random.default_rng(1))
    cells = judging.cells("new")
    assert [(c.task, c.language) for c in cells] == [("xnli", "en"), ("xnli", "sw")]
    assert all(c.marked and c.correction is Correction.BENJAMINI_HOCHBERG for c in cells)
    assert [c.name for c in cells] == [
        "p50 latency at 60% load, xnli, en",
        "p50 latency at 60% load, xnli, sw",
    ]


THREE = (
    DESIGN
    + """
[arms.other]
file = "other.toml"
"""
)


def test_several_arms_are_named_and_share_the_risk(study_of: Callable[[str], Study]) -> None:
    study = study_of(THREE)
    found = comparer(study, {"new": 1.3, "other": 0.7})
    assert found.alpha == pytest.approx(0.025)
    by_arm = {arm: [c for c in found.overall(arm) if c.primary] for arm in ("new", "other")}
    assert {c.word.value for c in by_arm["new"]} == {"slower"}
    assert {c.word.value for c in by_arm["other"]} == {"faster"}
    assert by_arm["other"][0].name == "other: p50 latency at 60% load"
    assert {c.interval.confidence for c in by_arm["new"] if c.interval} == {0.975}
    worse = QualityDifference(
        arm="other",
        task="xnli",
        metric="accuracy",
        n=500,
        score=0.6,
        reference_score=0.7,
        difference=-0.1,
        word=VerdictWord.WORSE,
    )
    paragraph = answer(
        by_arm["new"],
        Controls(aa=(), noise=None, positive=None),
        (),
        (),
        arm="new",
        reference="old",
        synthetic=False,
        others=[also("other", by_arm["other"], (), (worse,), synthetic=False)],
    ).paragraph
    assert paragraph.startswith("new serves slower than old")
    assert "other beside it: faster." in paragraph
    assert paragraph.endswith("Scores differ on 1 of 1 tasks: xnli -10.0%.")


@pytest.mark.parametrize(
    ("ratio", "known"), [(0.0, "p50 p95 p99"), (0.02, "p50 p95"), (0.05, "p50"), (0.66, "")]
)
def test_a_percentile_that_failures_could_lie_beyond_is_not_compared(ratio: float, known: str) -> None:
    failed = Errors(num=round(1000 * ratio), ratio=ratio, by_kind={})
    found = group(0.02, 0.05).model_copy(update={"errors": failed})
    measures = {"p50": Measure.P50, "p95": Measure.P95, "p99": Measure.P99}
    assert [name for name, measure in measures.items() if measure.of(found)] == known.split()
