"""Studies that a command line declares instead of a file: `ab`, `aa` and `capacity`.

They are studies like any other, against a server that runs already; what was declared is hashed, so that
an interrupted one can only be resumed as it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from loadtest.study.study_file import (
    ArmTable,
    CapacityTable,
    ControlsTable,
    DesignTable,
    LoadTable,
    ServerTable,
    Study,
    StudyError,
    StudyFile,
    TraceTable,
    first_fault,
)
from loadtest.trace.arm import load_arm

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a command line asks for. ``aa_pairs`` of 0 leaves the control out."""

    name: str
    target: str
    reference: Path
    arm: Path
    trace: TraceTable
    seed: int
    pairs: int
    load_ratios: tuple[float, ...]
    replicate_s: float
    law: str
    offline_pairs: int
    aa_pairs: int
    objective: str
    capacity_method: str
    processes: int
    replicates: int = 3


def declare(wish: Wish, here: Path) -> Study:
    """Return the study that a command line describes; names of files are relative to ``here``.

    Raises:
        StudyError: it asks for what cannot be run.
        ArmError: an arm file cannot be used.
    """
    names = _names(wish.reference, wish.arm)
    try:
        declared = StudyFile(
            name=wish.name,
            question=f"Does {names[1]} serve as fast as {names[0]}?",
            seed=wish.seed,
            reference=names[0],
            server=ServerTable(target=wish.target),
            arms={
                names[0]: ArmTable(file=str(wish.reference)),
                names[1]: ArmTable(file=str(wish.arm)),
            },
            load=LoadTable(processes=wish.processes),
            trace=wish.trace,
            design=_design(wish),
            capacity=CapacityTable.model_validate(
                {
                    "method": wish.capacity_method,
                    "objective": wish.objective,
                    "replicates": wish.replicates,
                    "replicate_s": wish.replicate_s,
                }
            ),
            controls=ControlsTable(aa_pairs=wish.aa_pairs),
        )
    except ValidationError as error:
        raise StudyError(first_fault(error)) from error
    text = declared.model_dump_json()
    return Study(
        path=here / "command-line", sha256=hashlib.sha256(text.encode()).hexdigest(), declared=declared
    )


def _design(wish: Wish) -> DesignTable:
    return DesignTable(
        pairs=wish.pairs,
        restarts=1,
        load_ratios=list(wish.load_ratios),
        primary_load_ratio=wish.load_ratios[len(wish.load_ratios) // 2],
        replicate_s=wish.replicate_s,
        law=wish.law,
        offline_pairs=wish.offline_pairs,
    )


def _names(reference: Path, arm: Path) -> tuple[str, str]:
    """Return the names that the arm files give, the second with a mark where it is the same."""
    first, second = load_arm(reference).name, load_arm(arm).name
    return first, second if second != first else f"{second}-again"
