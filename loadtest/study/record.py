"""What a study found, as `study.json`: every run in order, every comparison, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.report.study_record import StudyArm, StudyRecord
from loadtest.study.answer_scores import quality_of
from loadtest.study.capacity_found import capacities, probed_so_far, ratio
from loadtest.study.comparisons import Comparer, in_sequence
from loadtest.study.controls import judge_controls
from loadtest.study.departures import departures, doubtful
from loadtest.study.offline_rates import offline_rates
from loadtest.study.run_list import listed, preliminary
from loadtest.study.token_share import token_fit
from loadtest.study.verdict import also, answer, capacity_answer
from loadtest.trace.seeds import stream_keys, streams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from loadtest.report.study_record import Capacity, Comparison, QualityDifference, TokenFit, Verdict
    from loadtest.study.capacity_search import Target
    from loadtest.study.controls import Controls
    from loadtest.study.folder import StudyFolder
    from loadtest.study.made import Made
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
    compared = [one for arm in declared.compared for one in comparer.every(arm)]
    ratios = last_in_sequence(compared, _capacity_ratios(made, target, declared))
    quality = quality_of(declared, folder, rng)
    fits = tuple(filter(None, (token_fit(arm, summary) for arm, summary in made.unloaded.items())))
    synthetic = synthetic_arms(made)
    first, *others = declared.compared
    return StudyRecord(
        name=declared.name,
        question=declared.question,
        valid=not controls.problems and any(c.num_pairs for c in compared if c.primary),
        reasons=controls.problems,
        verdict=_verdict(declared, (*compared, *ratios.values()), controls, quality.by_arm, fits, synthetic),
        command=command,
        reference=declared.reference,
        arms=declared_arms(declared, synthetic),
        runs=(*preliminary(made), *map(listed, made.blocks)),
        comparisons=(*compared, *(ratios[arm] for arm in others if arm in ratios)),
        aa=controls.aa,
        positive_control=controls.positive,
        capacities=capacities_of(made, target),
        capacity_ratio=ratios.get(first),
        offline=offline_rates(made.blocks, (declared.reference, *declared.compared)),
        quality=tuple(one for found in quality.by_arm.values() for one in found),
        token_fits=fits,
        design=design_record(study, made),
        environment=made.unloaded[declared.reference].environment,
        deviations=(*departures(declared, made), *quality.doubts),
    )


def capacity_record(
    study: Study, made: Made, target: Target, command: str, stopped: str | None = None
) -> StudyRecord:
    """Tell what a search for one arm's capacity found; ``stopped``: why it found none."""
    declared = study.declared
    reference = declared.reference
    found = capacities_of(made, target)
    summary = made.unloaded[reference]
    return StudyRecord(
        name=declared.name,
        question=f"How many requests a second does {reference} answer under {target.text}?",
        valid=stopped is None,
        reasons=() if stopped is None else (f"{stopped.rstrip('.')}.",),
        verdict=capacity_answer(reference, found[0] if found else None, target.text, stopped),
        command=command,
        reference=reference,
        arms=(StudyArm(name=reference, synthetic=any(v.synthetic for v in summary.variants)),),
        runs=tuple(preliminary(made)),
        capacities=found,
        design=design_record(study, made),
        environment=summary.environment,
        deviations=(*doubtful(made), *summary.deviations),
    )


def _verdict(  # noqa: PLR0913, PLR0917 - everything that the answer tells of
    declared: StudyFile,
    compared: Sequence[Comparison],
    controls: Controls,
    quality: Mapping[str, Sequence[QualityDifference]],
    fits: Sequence[TokenFit],
    synthetic: frozenset[str],
) -> Verdict:
    """Put everything into words, the first arm's findings before the others'."""
    first, *others = declared.compared
    primaries = {arm: [c for c in compared if c.primary and c.arm == arm] for arm in declared.compared}
    return answer(
        primaries[first],
        controls,
        quality[first],
        fits,
        arm=first,
        reference=declared.reference,
        synthetic=bool(synthetic),
        others=[
            also(arm, primaries[arm], controls.problems, quality[arm], synthetic=bool(synthetic))
            for arm in others
        ],
    )


def _capacity_ratios(made: Made, target: Target, declared: StudyFile) -> dict[str, Comparison]:
    """Return each arm's capacity over the reference's, where the sweep holds both."""
    if made.swept is None:
        return {}
    found = {arm: ratio(made.swept, target, declared, arm) for arm in declared.compared}
    return {arm: compared for arm, compared in found.items() if compared is not None}


def last_in_sequence(compared: Sequence[Comparison], ratios: dict[str, Comparison]) -> dict[str, Comparison]:
    """Put each arm's capacity after its other primaries: where one is not different, it claims nothing."""
    return {
        arm: in_sequence([*(one for one in compared if one.arm == arm), ratio_])[-1]
        for arm, ratio_ in ratios.items()
    }


def declared_arms(declared: StudyFile, synthetic: frozenset[str]) -> tuple[StudyArm, ...]:
    """Return every declared arm; ``synthetic``: the names of those with made-up weights."""
    return tuple(
        StudyArm(name=name, description=arm.description, synthetic=name in synthetic)
        for name, arm in declared.arms.items()
    )


def synthetic_arms(made: Made) -> frozenset[str]:
    """Return the arms that some synthetic variant answers for."""
    runs = [*made.unloaded.items(), *((run.block.arm, run.summary) for run in made.blocks)]
    return frozenset(arm for arm, summary in runs if any(variant.synthetic for variant in summary.variants))


def capacities_of(made: Made, target: Target) -> tuple[Capacity, ...]:
    """Return the capacities that a sweep found, else the rates that a search has probed."""
    return probed_so_far(made.probed, target) if made.swept is None else capacities(made.swept, target)


def design_record(study: Study, made: Made) -> dict[str, JsonValue]:
    """Return what was declared, and the rate of which loads are shares."""
    declared = study.declared
    return {
        "study_file": study.path.name,
        "study_file_sha256": study.sha256,
        "seeds": dict(stream_keys(declared.seed)),
        "capacity_per_s": made.capacity_per_s or None,
        "capacity_method": declared.capacity.method,
        "server_cpus": declared.server.cpus,
        "load_cpus": declared.load.cpus,
        **declared.design.model_dump(),
        "restarts": declared.num_restarts,
        "controls": declared.controls.model_dump(),
    }
