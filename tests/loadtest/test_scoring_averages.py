"""Averages over languages and tasks, and what keeps them from being mistaken for the benchmark's."""

from __future__ import annotations

import pytest

from loadtest.analysis.scoring import Score, average_scores
from loadtest.datasets.tasks import TASKS, Task


def _score(task: Task, language: str, value: float | None, **parts: float) -> Score:
    return Score(
        task=task,
        language=language,
        metric=TASKS[task].metric,
        value=value,
        n_scored=10,
        n_without_gold=0,
        n_unanswered=0,
        parts=parts,
    )


def test_languages_weigh_the_same_and_so_do_tasks() -> None:
    average = average_scores(
        [
            _score(Task.XNLI, "de", 0.5),
            _score(Task.XNLI, "sw", 0.7),
            _score(Task.XCOPA, "sw", 1.0),
        ]
    )
    assert [(task.task, task.value) for task in average.tasks] == [
        (Task.XNLI, pytest.approx(0.6)),
        (Task.XCOPA, 1.0),
    ]
    assert average.value == pytest.approx(0.8)


def test_qa_is_the_mean_of_both_averages() -> None:
    scores = [
        _score(Task.XQUAD, "de", 0.5, exact_match=0.4, f1=0.6),
        _score(Task.XQUAD, "ro", 0.8, exact_match=0.7, f1=0.9),
    ]
    (task,) = average_scores(scores).tasks
    assert task.parts == {"exact_match": pytest.approx(0.55), "f1": pytest.approx(0.75)}
    assert task.value == pytest.approx((0.55 + 0.75) / 2)


def test_a_cell_without_a_value_takes_no_part_and_is_named() -> None:
    (task,) = average_scores([_score(Task.LAREQA, "de", 0.4), _score(Task.LAREQA, "th", None)]).tasks
    assert task.value == pytest.approx(0.4)
    assert task.languages == ("de",)
    assert task.missing == tuple(code for code in TASKS[Task.LAREQA].languages if code != "de")


def test_only_every_task_in_every_language_is_complete() -> None:
    scores = [_score(task, code, 0.5) for task, spec in TASKS.items() for code in spec.languages]
    assert average_scores(scores).is_complete
    assert len(scores) == 203
    assert not average_scores(scores[:-1]).is_complete
    assert not average_scores([s for s in scores if s.task is not Task.LAREQA]).is_complete


def test_nothing_scored_has_no_average() -> None:
    average = average_scores([_score(Task.XNLI, "de", None)])
    assert average.value is None
    assert average.tasks[0].value is None
    empty = average_scores([])
    assert (empty.value, empty.tasks, empty.is_complete) == (None, (), False)
