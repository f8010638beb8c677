"""One look at the samples of one or more runs: scored, compared, measured by group, judged.

Rules: what the page draws and what the summary says come from the same look; nothing is computed twice.
Several runs may be of several arms; an arm's runs are pooled, never averaged.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import polars as pl

from loadtest.analysis.attainment import Evidence, attain
from loadtest.analysis.objectives import ObjectiveError, What, latency_limit_s, parse_objectives
from loadtest.analysis.scoring import Tolerance
from loadtest.report.answers import read_answers, read_searched
from loadtest.report.frames import MICRO, pool
from loadtest.report.grouping import Grouping, Verdicts
from loadtest.report.measure import Window
from loadtest.report.mismatch import compare_cells, unloaded_answers
from loadtest.report.quality import Key, Scored, score_arm, score_lookup
from loadtest.report.records import ObjectiveVerdict
from loadtest.report.run_files import OFFLINE, OPEN, ReportError, served_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loadtest.analysis.objectives import Objective
    from loadtest.analysis.scoring import Agreement, Answer, Score
    from loadtest.report.quality import Cell
    from loadtest.report.run_files import RunFiles


TIMED = (What.LATENCY, What.SERVICE, What.LATENESS, What.GOODPUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The pooled samples (with durations and ``correct``), their groups, and the objectives' verdicts.

    ``problems``: what could not be scored, and why.
    """

    frame: pl.DataFrame
    grouping: Grouping
    window: Window
    objectives: tuple[ObjectiveVerdict, ...]
    problems: tuple[str, ...]


def examine(
    runs: Sequence[RunFiles],
    references: Sequence[RunFiles] = (),
    objectives: Sequence[str] | None = None,
    told: Callable[[str, int, int], None] = lambda *_: None,
) -> Examined:
    """Score, compare and measure ``runs``.

    ``references``: runs against an unloaded server, one an arm, that answers are compared with.
    ``objectives``: instead of those that the runs were made with. ``told`` hears (what is being done, how
    much is done, of how much).

    Raises:
        ReportError: an objective that a run names cannot be read.
    """
    declared = _objectives(runs) if objectives is None else parse_all(objectives)
    frame = pool([run.samples for run in runs])
    scored, answers = score_runs(runs, frame, told)
    unloaded, unloaded_scores = _unloaded(references, frame, told)
    frame = _with_correct(frame, scored)
    agreements = _agreements(frame, answers, unloaded, _tolerances(runs))
    verdicts = {
        arm: Verdicts(scores=found.cells, agreements=agreements.get(arm, {})) for arm, found in scored.items()
    }
    window = window_of(frame, runs)
    is_offline = any(run.mode == OFFLINE for run in runs)
    evidence = Evidence(
        samples=frame,
        makespan_s=window.makespan_s,
        scores=score_lookup({arm: found.cells for arm, found in scored.items()}),
        unloaded_scores=score_lookup(unloaded_scores) if unloaded_scores else None,
    )
    return Examined(
        frame=frame,
        grouping=Grouping(
            frame=frame,
            window_of=lambda rows: window_of(rows, runs),
            verdicts=verdicts,
            objective_s=None if is_offline else latency_limit_s(declared),
        ),
        window=window,
        objectives=_verdicts(declared, evidence, is_offline=is_offline) if len(scored) == 1 else (),
        problems=tuple(problem for found in scored.values() for problem in found.problems),
    )


def _tolerances(runs: Sequence[RunFiles]) -> dict[str, Tolerance]:
    """Return, by variant, how far numbers may lie apart where its dtype says so."""
    cards = [card for run in runs for card in run.info.variants]
    return {card.name: Tolerance.for_dtype(card.dtype) for card in cards}


def _agreements(
    frame: pl.DataFrame,
    answers: Mapping[int, Answer],
    unloaded: Mapping[str, Mapping[str, Answer]],
    tolerances: Mapping[str, Tolerance],
) -> dict[str, dict[Cell, Agreement]]:
    """Compare each arm's answers with its own unloaded ones, where there are any."""
    return {
        arm: compare_cells(frame.filter(pl.col("arm") == arm), answers, before, tolerances)
        for arm, before in unloaded.items()
    }


def _verdicts(
    declared: Sequence[Objective], evidence: Evidence, *, is_offline: bool
) -> tuple[ObjectiveVerdict, ...]:
    """Hold one arm's samples against objectives; over several arms pooled a verdict would be nobody's.

    Where all was due at once, times are places in a queue: objectives on them are left open.
    """
    held = [ObjectiveVerdict(**asdict(one)) for one in attain(declared, evidence)]
    if not is_offline:
        return tuple(held)
    return tuple(
        verdict.model_copy(update=_left_open(objective)) if objective.what in TIMED else verdict
        for objective, verdict in zip(declared, held, strict=True)
    )


def _left_open(objective: Objective) -> dict[str, object]:
    sentence = f"{objective.text} cannot be told: offline, all was due at once."
    return {"met": None, "measured": None, "sentence": sentence}


def window_of(frame: pl.DataFrame, runs: Sequence[RunFiles]) -> Window:
    """Add up the spans of the runs that ``frame`` holds rows of."""
    spans = frame.group_by("run").agg(span=pl.col("done_us").max() - pl.col("intended_us").min())
    held = [runs[number] for number in spans["run"]]
    durations = [run.header.duration_s for run in held if run.header is not None and run.mode == OPEN]
    return Window(
        makespan_s=int(spans["span"].sum()) * MICRO,
        duration_s=sum(durations) if durations and len(durations) == len(held) else None,
    )


def parse_all(texts: Sequence[str]) -> tuple[Objective, ...]:
    """Return the objectives of several texts.

    Raises:
        ReportError: one of them cannot be read.
    """
    try:
        return tuple(one for text in texts for one in parse_objectives(text))
    except ObjectiveError as error:
        raise ReportError(str(error)) from error


def _objectives(runs: Sequence[RunFiles]) -> tuple[Objective, ...]:
    """Return what the runs were made to meet, each once."""
    texts = dict.fromkeys(text for run in runs for text in run.info.objectives)
    try:
        return parse_all(list(texts))
    except ReportError as error:
        raise ReportError(f"{runs[0].folder}: {error}") from error


def score_runs(
    runs: Sequence[RunFiles], frame: pl.DataFrame, told: Callable[[str, int, int], None]
) -> tuple[dict[str, Scored], dict[int, Answer]]:
    """Read every run's answers and score each arm's, with the gold of the traces that its runs replayed."""
    answers: dict[int, Answer] = {}
    for number, run in enumerate(runs):
        told("Reading answers", number, len(runs))
        answers.update(read_answers(run.folder, frame.filter(pl.col("run") == number)))
    scored = {}
    for arm in frame["arm"].unique(maintain_order=True):
        rows = frame.filter(pl.col("arm") == arm)
        key = _key([runs[number] for number in rows["run"].unique(maintain_order=True)], rows)
        if key.gold:
            scored[str(arm)] = score_arm(
                rows, answers, key, lambda done, total: told("Scoring answers", done, total)
            )
        else:
            scored[str(arm)] = Scored(cells={}, correct=frozenset())
    return scored, answers


def _key(runs: Sequence[RunFiles], rows: pl.DataFrame) -> Key:
    gold = {item: answer.gold for run in runs for item, answer in run.gold.items()}
    return Key(
        gold=gold,
        labels={task: labels for run in runs for task, labels in served_labels(run.info).items()},
        candidates=read_searched(runs[0].folder, rows["task"].unique()),
    )


def _unloaded(
    references: Sequence[RunFiles], asked: pl.DataFrame, told: Callable[[str, int, int], None]
) -> tuple[dict[str, dict[str, Answer]], dict[str, Mapping[Cell, Score]]]:
    """Return each arm's unloaded answers by item, and their scores, of the items that were asked under load.

    A score over other items than those would differ from the loaded one whatever the load did.
    """
    if not references:
        return {}, {}
    frame = pool([run.samples for run in references])
    frame = frame.join(asked.select("arm", "item"), on=["arm", "item"], how="semi", maintain_order="left")
    scored, answers = score_runs(references, frame, told)
    by_arm = {arm: unloaded_answers(frame.filter(pl.col("arm") == arm), answers) for arm in scored}
    return by_arm, {arm: found.cells for arm, found in scored.items()}


def _with_correct(frame: pl.DataFrame, scored: Mapping[str, Scored]) -> pl.DataFrame:
    """Add ``correct``: whether a request's answer was right; null where no cell of its kind was scored."""
    cells = {(arm, *cell) for arm, found in scored.items() for cell in found.cells}
    right = {row for found in scored.values() for row in found.correct}
    known = pl.DataFrame(
        list(cells), schema={"arm": pl.String, "task": pl.String, "language": pl.String}, orient="row"
    ).with_columns(is_scored=pl.lit(value=True))
    marked = pl.DataFrame({"row": pl.Series(sorted(right), dtype=frame.schema["row"])}).with_columns(
        is_right=pl.lit(value=True)
    )
    return (
        frame.join(known, on=["arm", "task", "language"], how="left", maintain_order="left")
        .join(marked, on="row", how="left", maintain_order="left")
        .with_columns(correct=pl.when("is_scored").then(pl.col("is_right").fill_null(value=False)))
        .drop("is_scored", "is_right")
    )
