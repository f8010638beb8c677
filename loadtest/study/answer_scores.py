"""How well each arm answers beside the reference, from the files of the unloaded runs.

Rule: several arms share the risk of a false claim evenly, as they do for latency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.report.examine import score_runs
from loadtest.report.frames import pool
from loadtest.report.run_files import read_run
from loadtest.study.differences import compare_quality
from loadtest.study.replay import unloaded_name

if TYPE_CHECKING:
    from numpy.random import Generator

    from loadtest.analysis.scoring import Score
    from loadtest.report.study_record import QualityDifference
    from loadtest.study.folder import StudyFolder
    from loadtest.study.study_file import StudyFile


def quality_of(
    declared: StudyFile, folder: StudyFolder, rng: Generator
) -> dict[str, tuple[QualityDifference, ...]]:
    """Compare the scores of each arm with the reference's, task by task.

    Raises:
        ReportError: a run's files are missing or damaged.
    """
    reference = _scores(folder, declared.reference)
    alpha = (1 - declared.design.confidence) / len(declared.compared)
    return {
        arm: compare_quality(_scores(folder, arm), reference, rng, arm=arm, alpha=alpha)
        for arm in declared.compared
    }


def _scores(folder: StudyFolder, arm: str) -> list[Score]:
    runs = [read_run(folder.run(unloaded_name(arm)))]
    scored, _ = score_runs(runs, pool([run.samples for run in runs]), lambda *_: None)
    return [score for found in scored.values() for score in found.cells.values()]
