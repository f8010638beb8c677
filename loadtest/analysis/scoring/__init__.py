"""Scores of answers as XTREME-R takes them: ``score_task`` for one cell, ``average_scores`` over cells."""

from loadtest.analysis.scoring.averages import BenchmarkAverage, TaskAverage, average_scores
from loadtest.analysis.scoring.by_task import score_task
from loadtest.analysis.scoring.labels import LabelMatch, match_labels
from loadtest.analysis.scoring.mismatch import Agreement, Tolerance, agreement
from loadtest.analysis.scoring.score import (
    Answer,
    Candidates,
    Gold,
    ItemScore,
    Score,
    ScoringError,
    TagCounts,
    Unanswered,
)

__all__ = [
    "Agreement",
    "Answer",
    "BenchmarkAverage",
    "Candidates",
    "Gold",
    "ItemScore",
    "LabelMatch",
    "Score",
    "ScoringError",
    "TagCounts",
    "TaskAverage",
    "Tolerance",
    "Unanswered",
    "agreement",
    "average_scores",
    "match_labels",
    "score_task",
]
