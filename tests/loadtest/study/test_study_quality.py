"""Scores of both arms over the same items, and what tokens explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from loadtest.analysis.scoring import ItemScore, Score
from loadtest.analysis.scoring.score import TagCounts
from loadtest.datasets.tasks import Metric, Task
from loadtest.report.study_record import VerdictWord
from loadtest.study.differences import compare_quality, counted_apart
from loadtest.study.token_share import language_points, token_fit
from tests.loadtest.study.made_up import group, summary

if TYPE_CHECKING:
    from loadtest.report.records import Group, Summary


def score(task: Task, metric: Metric, language: str, items: list[ItemScore]) -> Score:
    return Score(
        task=task,
        language=language,
        metric=metric,
        value=None,
        n_scored=len(items),
        n_without_gold=0,
        n_unanswered=0,
        items=tuple(items),
    )


def right(task: str, language: str, flags: list[int]) -> list[ItemScore]:
    return [
        ItemScore(item=f"{task}/{language}/{i:06d}", value=float(flag), is_correct=bool(flag))
        for i, flag in enumerate(flags)
    ]


def test_a_task_that_one_arm_answers_better_is_found() -> None:
    ours = [score(Task.TATOEBA, Metric.RETRIEVAL_ACCURACY, "de", right("tatoeba", "de", [1] * 90 + [0] * 10))]
    theirs = [
        score(Task.TATOEBA, Metric.RETRIEVAL_ACCURACY, "de", right("tatoeba", "de", [1] * 40 + [0] * 60))
    ]
    (found,) = compare_quality(ours, theirs, np.random.default_rng(1), arm="new", alpha=0.05)
    assert (found.arm, found.task, found.n, found.word) == ("new", "tatoeba", 100, VerdictWord.BETTER)
    assert found.difference == pytest.approx(0.5)
    assert [found.score, found.reference_score] == pytest.approx([0.9, 0.4])


@pytest.mark.parametrize(("num", "word"), [(60, VerdictWord.EQUIVALENT), (59, VerdictWord.INCONCLUSIVE)])
def test_equal_answers_differ_by_nothing_once_there_are_enough(num: int, word: VerdictWord) -> None:
    # 300 items in two languages are 300 units; with 295 a difference of a point could have gone unseen.
    flags = [1, 0, 1, 1, 0] * num
    both = [score(Task.XNLI, Metric.ACCURACY, code, right("xnli", code, flags)) for code in ("en", "sw")]
    (found,) = compare_quality(both, both, np.random.default_rng(1), arm="new", alpha=0.05)
    assert (found.n, found.difference, found.word) == (10 * num, 0.0, word)


def test_tasks_share_one_chance_of_a_false_equivalence() -> None:
    """What is enough for one task is not for one of two."""
    flags = [1, 0, 1, 1, 0] * 60

    def arm(*tasks: Task) -> list[Score]:
        return [score(task, Metric.ACCURACY, "en", right(task.value, "en", flags)) for task in tasks]

    def words(*tasks: Task) -> set[VerdictWord]:
        both = arm(*tasks)
        return {
            one.word for one in compare_quality(both, both, np.random.default_rng(1), arm="new", alpha=0.05)
        }

    assert words(Task.XNLI) == {VerdictWord.EQUIVALENT}
    assert words(Task.XNLI, Task.XCOPA) == {VerdictWord.INCONCLUSIVE}


def test_tasks_share_one_chance_of_a_false_claim() -> None:
    """Nine of ten items that differ are better: p is 0.021 by McNemar, and 0.064 as the least of three."""
    flags = {"ours": [1] * 9 + [0] + [1] * 20, "theirs": [0] * 9 + [1] + [1] * 20}
    retrieval = Metric.RETRIEVAL_ACCURACY

    def arm(side: str, num_tasks: int) -> list[Score]:
        moved = [score(Task.TATOEBA, retrieval, "de", right("tatoeba", "de", flags[side]))]
        others = [
            score(task, retrieval, "de", right(task.value, "de", [1, 0] * 15))
            for task in (Task.MEWSLIX, Task.TYDIQA)
        ]
        return [*moved, *others[: num_tasks - 1]]

    def tatoeba(num_tasks: int) -> tuple[float | None, VerdictWord]:
        rng = np.random.default_rng(1)
        found = compare_quality(arm("ours", num_tasks), arm("theirs", num_tasks), rng, arm="new", alpha=0.05)
        (one,) = (difference for difference in found if difference.task == "tatoeba")
        return one.p_value, one.word

    alone = 22 / 1024
    for num_tasks, word in ((1, VerdictWord.BETTER), (3, VerdictWord.INCONCLUSIVE)):
        p_value, said = tatoeba(num_tasks)
        assert p_value == pytest.approx(num_tasks * alone)
        assert said is word


def test_translations_that_a_trace_does_not_tie_are_told() -> None:
    def told(*languages: str, units: dict[str, str] | None = None) -> tuple[str, ...]:
        found = [score(Task.MLQA, Metric.MLQA, code, right("mlqa", code, [1, 0])) for code in languages]
        return counted_apart(found, units or {})

    tied = {f"mlqa/{code}/{i:06d}": f"q{i}" for code in ("en", "de") for i in range(2)}
    (sentence,) = told("en", "de")
    assert sentence.startswith("MLQA asks one question in several languages, and this trace does not say")
    assert told("en") == told("en", "de", units=tied) == ()


def test_translations_are_one_unit_wherever_they_stand() -> None:
    """Ten questions in twenty languages, in each on other lines, say no more than ten questions do."""
    ours, theirs = [1] * 7 + [0] * 3, [1] * 4 + [0] * 6
    languages = {f"l{i}": np.random.default_rng(i).permutation(10) for i in range(20)}
    units = {
        f"mlqa/{code}/{i:06d}": f"q{k}" for code, order in languages.items() for i, k in enumerate(order)
    }

    def arm(flags: list[int]) -> list[Score]:
        return [
            score(Task.MLQA, Metric.MLQA, code, right("mlqa", code, [flags[k] for k in order]))
            for code, order in languages.items()
        ]

    def p_value(ours: list[Score], theirs: list[Score], units: dict[str, str]) -> float:
        (found,) = compare_quality(ours, theirs, np.random.default_rng(1), arm="new", alpha=0.05, units=units)
        assert found.difference == pytest.approx(0.3)
        assert found.p_value is not None
        return found.p_value

    def alone(flags: list[int]) -> list[Score]:
        return [score(Task.MLQA, Metric.MLQA, "en", right("mlqa", "en", flags))]

    tied = p_value(arm(ours), arm(theirs), units)
    assert tied == p_value(alone(ours), alone(theirs), {})
    assert p_value(arm(ours), arm(theirs), {}) < 1e-3 < tied


@pytest.mark.parametrize("task", [Task.XNLI, Task.XCOPA, Task.XQUAD, Task.LAREQA])
def test_translations_of_one_item_are_one_unit(task: Task) -> None:
    """The same ten items in twenty languages say no more than ten items do."""
    languages = [f"l{i}" for i in range(20)]
    ours_flags, theirs_flags = [1] * 7 + [0] * 3, [1] * 4 + [0] * 6

    def arm(task: Task, flags: list[int]) -> list[Score]:
        return [score(task, Metric.ACCURACY, code, right(task.value, code, flags)) for code in languages]

    (parallel,) = compare_quality(
        arm(task, ours_flags),
        arm(task, theirs_flags),
        np.random.default_rng(1),
        arm="new",
        alpha=0.05,
    )
    (apart,) = compare_quality(
        arm(Task.TATOEBA, ours_flags),
        arm(Task.TATOEBA, theirs_flags),
        np.random.default_rng(1),
        arm="new",
        alpha=0.05,
    )
    assert parallel.difference == pytest.approx(0.3)
    assert apart.difference == pytest.approx(0.3)
    assert parallel.p_value is not None
    assert apart.p_value is not None
    assert apart.p_value < 1e-6 < parallel.p_value
    assert parallel.word is VerdictWord.INCONCLUSIVE


def test_tags_are_compared_by_the_f1_of_their_sums() -> None:
    def tagged(matched: int) -> list[ItemScore]:
        counts = TagCounts(num_matched=matched, num_predicted=4, num_gold=4)
        return [
            ItemScore(item=f"panx/en/{i:06d}", value=matched / 4, is_correct=matched == 4, counts=counts)
            for i in range(40)
        ]

    (found,) = compare_quality(
        [score(Task.PANX, Metric.ENTITY_F1, "en", tagged(3))],
        [score(Task.PANX, Metric.ENTITY_F1, "en", tagged(2))],
        np.random.default_rng(1),
        arm="new",
        alpha=0.05,
    )
    assert [found.score, found.reference_score] == pytest.approx([0.75, 0.5])
    assert found.word is VerdictWord.BETTER


def seen(cells: dict[str, dict[str, tuple[float, float]]]) -> Summary:
    """Return an unloaded run of one request a cell, (tokens, seconds) each."""
    every = [one for languages in cells.values() for one in languages.values()]

    def mean(pairs: list[tuple[float, float]]) -> Group:
        tokens, seconds = (sum(pair[k] for pair in pairs) / len(pairs) for k in (0, 1))
        return group(tokens=tokens, service_s=seconds)

    found = summary(mean(every), by_task={task: mean(list(of.values())) for task, of in cells.items()})
    by_cell = {task: {code: mean([one]) for code, one in of.items()} for task, of in cells.items()}
    return found.model_copy(update={"by_task_language": by_cell})


def line(tokens: float) -> tuple[float, float]:
    return tokens, 0.01 + 0.001 * tokens


def test_tokens_explain_a_straight_line_whole() -> None:
    cells = {
        "xnli": {"en": line(10), "sw": line(15), "el": line(30), "yo": line(42)},
        "xquad": {"en": line(200), "el": line(260)},
    }
    fit = token_fit("old", seen(cells))
    assert fit is not None
    assert [fit.intercept_s, fit.slope_s, fit.r_squared] == pytest.approx([0.01, 0.001, 1.0])
    assert fit.without is not None
    assert fit.without.r_squared == pytest.approx(1.0)


def test_a_language_is_not_dear_because_it_has_the_dear_task() -> None:
    # Only English has xquad; on xnli it is the mean of three. All means: xnli 20, xquad 200, everything 65.
    cells = {"xnli": {"en": line(20), "sw": line(15), "el": line(25)}, "xquad": {"en": line(200)}}
    points = {point.name: point.tokens for point in language_points(seen(cells))}
    assert points == pytest.approx({"en": 65.0, "sw": 60.0, "el": 70.0})


def test_a_language_that_its_few_items_put_below_nothing_is_left_out() -> None:
    # Mean of xquad 350, of everything 181; Chinese is 340 below its task.
    cells = {
        "xquad": {"zh": line(10), "el": line(690)},
        "panx": {"en": line(12), "sw": line(12), "tr": line(14)},
    }
    points = {point.name: point.tokens for point in language_points(seen(cells))}
    assert set(points) == {"el", "en", "sw", "tr"}


def test_two_languages_have_no_fit() -> None:
    assert token_fit("old", seen({"xnli": {"en": line(10), "sw": line(15)}})) is None
