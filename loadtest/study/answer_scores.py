"""How well each arm answers beside the reference, from the files of the unloaded runs.

Rule: several arms share the risk of a false claim evenly, as they do for latency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.report.examine import score_runs
from loadtest.report.frames import pool
from loadtest.report.run_files import read_run
from loadtest.study.differences import compare_quality, counted_apart
from loadtest.study.replay import unloaded_name

if TYPE_CHECKING:
    from numpy.random import Generator

    from loadtest.analysis.scoring import Score
    from loadtest.report.run_files import RunFiles
    from loadtest.report.study_record import QualityDifference
    from loadtest.study.folder import StudyFolder
    from loadtest.study.study_file import StudyFile


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityFound:
    """Every arm's differences from the reference; ``doubts``: why their intervals may mislead, sentences."""

    by_arm: dict[str, tuple[QualityDifference, ...]]
    doubts: tuple[str, ...]


def quality_of(declared: StudyFile, folder: StudyFolder, rng: Generator) -> QualityFound:
    """Compare the scores of each arm with the reference's, task by task.

    Raises:
        ReportError: a run's files are missing or damaged.
    """
    reference = _read(folder, declared.reference)
    units, theirs = _units(reference), _scores(reference)
    alpha = (1 - declared.design.confidence) / len(declared.compared)
    return QualityFound(
        by_arm={
            arm: compare_quality(_scores(_read(folder, arm)), theirs, rng, arm=arm, alpha=alpha, units=units)
            for arm in declared.compared
        },
        doubts=counted_apart(theirs, units),
    )


def _read(folder: StudyFolder, arm: str) -> RunFiles:
    return read_run(folder.run(unloaded_name(arm)))


def _scores(run: RunFiles) -> list[Score]:
    scored, _ = score_runs([run], pool([run.samples]), lambda *_: None)
    return [score for found in scored.values() for score in found.cells.values()]


def _units(run: RunFiles) -> dict[str, str]:
    """Return what translations share, by item id, of the items whose data set says it."""
    return {item: answer.unit for item, answer in run.gold.items() if answer.unit}
