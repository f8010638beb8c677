"""One entry point for all ten tasks: the answers and the gold of one task and language in, a Score out.

Rules: both mappings hold the items of this cell that were asked, keyed by item id. An item without gold is
counted, never scored; one without an answer is wrong, or skipped where the caller says so. An answer of the
wrong shape (a tag too few, a choice that is no index) is a wrong answer, never an exception: one bad reply
must not cost the report.
Labels are compared after the given mapping from the served label to the task's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.analysis.scoring.by_metric import SCORERS, Cell, Outcome
from loadtest.analysis.scoring.reading import is_given
from loadtest.analysis.scoring.score import Score, ScoringError, Unanswered
from loadtest.datasets.tasks import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.analysis.scoring.retrieval import Progress
    from loadtest.analysis.scoring.score import Answer, Candidates, Gold


def score_task(  # noqa: PLR0913 - the one entry point; all but the first four are options by name
    task: Task | str,
    language: str,
    answers: Mapping[str, Answer],
    gold: Mapping[str, Gold],
    *,
    labels: Mapping[str, str] | None = None,
    candidates: Candidates | None = None,
    unanswered: Unanswered = Unanswered.WRONG,
    progress: Progress | None = None,
) -> Score:
    """Score the answers of one task in one language.

    Args:
        task: one of the ten of XTREME-R, for example ``"xnli"``.
        language: two letters; MLQA's normaliser depends on it.
        answers: item id -> the service's output object, or the row float32[H] of an embedding.
        gold: item id -> label, index, tags, answer texts or ids of the right candidates, of the items that
            were asked (not of all that the trace holds).
        labels: served label -> the task's label; a label that is not there stands for itself.
        candidates: what a retrieval task searches; LAReQA and Mewsli-X search all languages at once.
        unanswered: whether an item without an answer counts as wrong or takes no part.
        progress: told (similarities done, in all) by retrieval tasks.

    Raises:
        ScoringError: an unknown task, or a retrieval task without candidates.
    """
    spec = TASKS[_known(task)]
    given = [item for item in gold if is_given(gold[item])]
    missing = [item for item in given if item not in answers]
    skipped = frozenset(missing) if unanswered is Unanswered.SKIP else frozenset()
    cell = Cell(
        task=spec.task,
        language=language,
        ids=tuple(item for item in given if item not in skipped),
        answers=answers,
        gold=gold,
        labels=labels or {},
        candidates=candidates,
        progress=progress,
    )
    outcome = SCORERS[spec.metric](cell) if cell.ids else Outcome(value=None, items=(), parts={})
    return Score(
        task=spec.task,
        language=language,
        metric=spec.metric,
        value=outcome.value,
        n_scored=len(cell.ids),
        n_without_gold=sum(1 for item in answers if item not in gold or not is_given(gold[item])),
        n_unanswered=len(missing),
        n_skipped=len(skipped),
        n_malformed=sum(1 for item in outcome.malformed if item in answers),
        parts=outcome.parts,
        items=outcome.items,
    )


def _known(task: Task | str) -> Task:
    try:
        return Task(task)
    except ValueError:
        raise ScoringError(f"no metric for task {task!r}; the tasks are {', '.join(Task)}") from None
