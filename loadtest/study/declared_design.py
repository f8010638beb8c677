"""A study's declaration as the design that blocks are planned from. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.analysis.design import Design

if TYPE_CHECKING:
    from loadtest.study.study_file import StudyFile


def design_of(declared: StudyFile) -> Design:
    """Return the pairs, restarts, loads and controls that a study declares."""
    design, controls = declared.design, declared.controls
    return Design(
        reference=declared.reference,
        arms=declared.compared,
        num_pairs=design.pairs,
        num_restarts=declared.num_restarts,
        load_ratios=tuple(design.load_ratios),
        control_load_ratio=design.primary_load_ratio,
        num_aa_pairs=controls.aa_pairs,
        control=controls.positive,
        num_control_pairs=0 if controls.positive is None else controls.positive_pairs,
        num_offline_pairs=design.offline_pairs,
    )
