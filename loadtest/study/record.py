"""What a study found, as `study.json`: every run in order, every comparison, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.analysis import design
from loadtest.analysis.interval import student_interval
from loadtest.report.examine import score_runs
from loadtest.report.frames import pool
from loadtest.report.run_files import read_run
from loadtest.report.study_record import Offline, Phase, StudyArm, StudyRecord, StudyRun
from loadtest.study.capacity_search import capacities, ratio
from loadtest.study.comparisons import Comparer, interval_of
from loadtest.study.controls import judge_controls
from loadtest.study.differences import compare_quality
from loadtest.study.replay import unloaded_name
from loadtest.study.token_share import token_fit
from loadtest.study.verdict import also, answer, capacity_answer
from loadtest.trace.mix import ITEMS
from loadtest.trace.seeds import stream_keys, streams

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.random import Generator
    from pydantic import JsonValue

    from loadtest.analysis.scoring import Score
    from loadtest.report.records import Summary
    from loadtest.report.study_record import Capacity, Comparison, QualityDifference
    from loadtest.study.capacity_search import Target
    from loadtest.study.conduct import Made
    from loadtest.study.folder import StudyFolder
    from loadtest.study.observed import Observed
    from loadtest.study.study_file import Study, StudyFile


def build_record(study: Study, folder: StudyFolder, made: Made, target: Target, command: str) -> StudyRecord:
    """Judge everything that was measured.

    Raises:
        ReportError: a run's files are missing or damaged.
    """
    declared = study.declared
    rng = streams(declared.seed).bootstrap
    comparer = Comparer(runs=made.blocks, declared=declared, rng=rng)
    controls = judge_controls(comparer)
    compared: list[Comparison] = []
    for arm in declared.compared:
        compared += comparer.overall(arm)
        compared += [*comparer.tasks(arm), *comparer.languages(arm), *comparer.cells(arm)]
    ratios = _capacity_ratios(made, target, declared)
    quality = _quality(declared, folder, rng)
    fits = [fit for arm in made.unloaded if (fit := token_fit(arm, made.unloaded[arm])) is not None]
    synthetic = _synthetic(made)
    first, *others = declared.compared
    primaries = {
        arm: [c for c in (*compared, *ratios.values()) if c.primary and c.arm == arm]
        for arm in declared.compared
    }
    verdict = answer(
        primaries[first],
        controls,
        quality,
        fits,
        arm=first,
        reference=declared.reference,
        synthetic=bool(synthetic),
        others=[also(arm, primaries[arm], controls.problems) for arm in others],
    )
    summaries = [run.summary for run in made.blocks]
    return StudyRecord(
        name=declared.name,
        question=declared.question,
        valid=not controls.problems and any(c.num_pairs for c in compared if c.primary),
        reasons=controls.problems,
        verdict=verdict,
        command=command,
        reference=declared.reference,
        arms=tuple(
            StudyArm(name=name, description=arm.description, synthetic=name in synthetic)
            for name, arm in declared.arms.items()
        ),
        runs=(*_preliminary(made), *(_run(run) for run in made.blocks)),
        comparisons=(*compared, *(ratios[arm] for arm in others if arm in ratios)),
        aa=controls.aa,
        positive_control=controls.positive,
        capacities=_capacities(made, target),
        capacity_ratio=ratios.get(first),
        offline=tuple(_offline(made.blocks, arm) for arm in _arms(declared) if _at_once(made.blocks, arm)),
        quality=quality,
        token_fits=tuple(fits),
        design=_design(study, made),
        environment=made.unloaded[declared.reference].environment,
        deviations=(*_mixed(declared), *_preliminaries(made), *_deviations(summaries)),
    )


def capacity_record(study: Study, made: Made, target: Target, command: str) -> StudyRecord:
    """Tell what a search for one arm's capacity found."""
    declared = study.declared
    reference = declared.reference
    found = _capacities(made, target)
    summary = made.unloaded[reference]
    return StudyRecord(
        name=declared.name,
        question=f"How many requests a second does {reference} answer under {target.text}?",
        valid=bool(found),
        reasons=() if found or made.swept is None else (made.swept.reason,),
        verdict=capacity_answer(
            reference,
            found[0] if found else None,
            target.text,
            "" if made.swept is None else made.swept.reason,
        ),
        command=command,
        reference=reference,
        arms=(StudyArm(name=reference, synthetic=any(v.synthetic for v in summary.variants)),),
        runs=tuple(_preliminary(made)),
        capacities=found,
        design=_design(study, made),
        environment=summary.environment,
        deviations=(*_preliminaries(made), *summary.deviations),
    )


def _capacity_ratios(made: Made, target: Target, declared: StudyFile) -> dict[str, Comparison]:
    """Return each arm's capacity over the reference's, where the sweep holds both."""
    if made.swept is None:
        return {}
    found = {arm: ratio(made.swept, target, declared, arm) for arm in declared.compared}
    return {arm: compared for arm, compared in found.items() if compared is not None}


def _synthetic(made: Made) -> frozenset[str]:
    """Return the arms that some synthetic variant answers for."""
    runs = [*made.unloaded.items(), *((run.block.arm, run.summary) for run in made.blocks)]
    return frozenset(arm for arm, summary in runs if any(variant.synthetic for variant in summary.variants))


def _mixed(declared: StudyFile) -> Iterable[str]:
    """Say where loads are shares of what another mix allows."""
    wanted = declared.trace
    if declared.capacity.method == "offline" and (wanted.task_mix, wanted.language_mix) != (ITEMS, ITEMS):
        yield (
            "Loads are shares of the rate at which every item is answered once; open schedules mix tasks "
            f"{wanted.task_mix!r} and languages {wanted.language_mix!r}, whose requests may cost otherwise."
        )


def _preliminaries(made: Made) -> Iterable[str]:
    """Say which runs before the plan were not valid; nothing is paired with them, and so they stay."""
    for arm, summary in made.unloaded.items():
        if not summary.valid:
            yield (
                f"The unloaded run of {arm} was not valid ({summary.reasons[0]}) Answers and scores stand; "
                "its times, and what tokens explain of them, are doubtful."
            )
    if made.at_once is not None and not made.at_once.valid:
        yield (
            "The run that sent all at once, from which the loads were set, was not valid "
            f"({made.at_once.reasons[0]}) Shares of capacity are rough; the arms of a pair had one rate."
        )


def _arms(declared: StudyFile) -> tuple[str, ...]:
    return (declared.reference, *declared.compared)


def _capacities(made: Made, target: Target) -> tuple[Capacity, ...]:
    return () if made.swept is None else capacities(made.swept, target)


def _quality(declared: StudyFile, folder: StudyFolder, rng: Generator) -> tuple[QualityDifference, ...]:
    """Compare the scores of the unloaded runs of the reference and of the first arm."""
    ours, theirs = (_scores(folder, arm) for arm in (declared.compared[0], declared.reference))
    return compare_quality(ours, theirs, rng, alpha=1 - declared.design.confidence)


def _scores(folder: StudyFolder, arm: str) -> list[Score]:
    runs = [read_run(folder.run(unloaded_name(arm)))]
    scored, _ = score_runs(runs, pool([run.samples for run in runs]), lambda *_: None)
    return [score for found in scored.values() for score in found.cells.values()]


def _run(run: Observed) -> StudyRun:
    block = run.block
    return StudyRun(
        path=run.path,
        arm=block.arm,
        phase=Phase(block.phase.value),
        replicate=block.pair,
        pair=block.pair,
        restart=block.restart,
        rate_per_s=run.rate_per_s,
        load_ratio=block.load_ratio,
        valid=run.summary.valid,
        reasons=run.summary.reasons,
    )


def _preliminary(made: Made) -> Iterable[StudyRun]:
    for arm, summary in made.unloaded.items():
        yield StudyRun(
            path=f"runs/{unloaded_name(arm)}",
            arm=arm,
            phase=Phase.UNLOADED,
            replicate=0,
            valid=summary.valid,
            reasons=summary.reasons,
        )


def _at_once(runs: Iterable[Observed], arm: str) -> list[Summary]:
    return [
        run.summary
        for run in runs
        if run.block.phase is design.Phase.OFFLINE and run.block.arm == arm and run.summary.valid
    ]


def _offline(runs: Iterable[Observed], arm: str) -> Offline:
    found = _at_once(runs, arm)
    inputs = [summary.overall.inputs_per_s or 0.0 for summary in found]
    tokens = [summary.overall.tokens_per_s or 0.0 for summary in found]
    several = len(found) > 1
    return Offline(
        arm=arm,
        num_runs=len(found),
        inputs_per_s=sum(inputs) / len(found),
        inputs_interval=interval_of(student_interval(inputs, 0.95)) if several else None,
        tokens_per_s=sum(tokens) / len(found),
        tokens_interval=interval_of(student_interval(tokens, 0.95)) if several else None,
    )


def _design(study: Study, made: Made) -> dict[str, JsonValue]:
    declared = study.declared
    return {
        "study_file": study.path.name,
        "study_file_sha256": study.sha256,
        "seeds": dict(stream_keys(declared.seed)),
        "capacity_per_s": made.capacity_per_s,
        "capacity_method": declared.capacity.method,
        "server_cpus": declared.server.cpus,
        "load_cpus": declared.load.cpus,
        **declared.design.model_dump(),
        "restarts": declared.num_restarts,
        "controls": declared.controls.model_dump(),
    }


def _deviations(summaries: list[Summary]) -> tuple[str, ...]:
    """Say what was left out, and in which ways requests were not the benchmark's."""
    invalid = sum(not summary.valid for summary in summaries)
    said = [f"{invalid} of {len(summaries)} runs of the plan were not valid; their pairs are left out."]
    requests = dict.fromkeys(text for summary in summaries for text in summary.deviations)
    return (*(said if invalid else ()), *requests)
