"""Scores of every arm beside the reference's, from the files of their unloaded runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loadtest.datasets.tasks import Task
from loadtest.report.study_record import VerdictWord
from loadtest.study.answer_scores import quality_of
from loadtest.study.folder import StudyFolder
from tests.loadtest.report.made_up_run import build_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtest.study.study_file import Study


def test_every_compared_arm_is_scored_beside_the_reference(
    study_of: Callable[[str], Study], tmp_path: Path
) -> None:
    study = study_of('[arms.worse]\nfile = "worse.toml"\n')
    assert study.declared.compared == ("new", "worse")
    tasks = (Task.TATOEBA, Task.PANX)
    for arm, accuracy in (("old", 0.9), ("new", 0.9), ("worse", 0.2)):
        plan = {"arm": arm, "accuracy": accuracy, "num": 300, "error_ratio": 0.0, "tasks": tasks}
        build_run(tmp_path, f"runs/unloaded-{arm}", **plan)
    quality = quality_of(study.declared, StudyFolder(root=tmp_path), np.random.default_rng(1))
    assert quality.doubts == ()
    found = quality.by_arm
    assert list(found) == ["new", "worse"]
    assert {one.arm for one in found["worse"]} == {"worse"}
    assert [one.task for one in found["new"]] == ["panx", "tatoeba"]
    assert {one.word for one in found["worse"]} == {VerdictWord.WORSE}
    assert VerdictWord.WORSE not in {one.word for one in found["new"]}
    # Two arms share the risk: each interval is one of 97.5 %.
    assert {one.interval.confidence for one in found["new"] if one.interval} == {0.975}
