"""What a study says that cannot go on with its plan: what it found before, why it stopped. Pure.

Rule: it may not speak of its arms. Pairs that were made are listed and not compared, since a verdict after
some of the declared pairs would be one of many that could have been taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.report.formats import capital, plural
from loadtest.report.study_record import StudyRecord, Verdict, VerdictWord
from loadtest.study.departures import departures
from loadtest.study.record import capacities_of, declared_arms, design_record, synthetic_arms
from loadtest.study.run_list import listed, preliminary
from loadtest.study.token_share import token_fit

if TYPE_CHECKING:
    from loadtest.study.capacity_search import Target
    from loadtest.study.made import Made
    from loadtest.study.study_file import StoppedError, Study


def stopped_record(study: Study, stopped: StoppedError, target: Target, command: str) -> StudyRecord:
    """Tell what a study measured before it stopped."""
    declared, made = study.declared, stopped.made
    assert made is not None, "Without a run there is nothing to tell, and no page. This is a bug."
    said = f"{str(stopped).rstrip('.')}."
    named = said.partition(" ")[0].endswith(":")  # by the run that could not be made
    reason = said if named else capital(said)
    compared = " and ".join((*declared.compared, declared.reference))
    sentence = f"This study may not speak of {compared}: {said}"
    return StudyRecord(
        name=declared.name,
        question=declared.question,
        valid=False,
        reasons=(reason,),
        verdict=Verdict(
            word=VerdictWord.INVALID, sentence=sentence, paragraph=f"{sentence} {_kept(made, target)}"
        ),
        command=command,
        reference=declared.reference,
        arms=declared_arms(declared, synthetic_arms(made)),
        runs=(*preliminary(made), *map(listed, made.blocks)),
        capacities=capacities_of(made, target),
        token_fits=tuple(filter(None, (token_fit(arm, one) for arm, one in made.unloaded.items()))),
        design=design_record(study, made),
        environment=made.unloaded[declared.reference].environment,
        deviations=departures(declared, made),
    )


def _kept(made: Made, target: Target) -> str:
    """Say what there is, in numbers."""
    kept = [plural(len(made.unloaded), "unloaded run")]
    if made.at_once is not None and made.at_once.overall.throughput_per_s:
        kept.append(f"one of all items at once, at {made.at_once.overall.throughput_per_s:.4g} a second")
    if made.probed:
        kept.append(f"{plural(len(made.probed), 'probe')} under {target.text}")
    if made.blocks:
        kept.append(f"{plural(len(made.blocks), 'run')} of the plan, not compared")
    return f"Made and kept: {', '.join(kept)}."
