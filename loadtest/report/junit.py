"""Checks and objectives as JUnit XML, which CI systems show beside tests.

Rules: an objective that is missed is a failure; a check of the run that fails is an error, since nothing was
measured; what could not be told is skipped, never passed. Of a study, a control that fails is an error, a
primary that was found slower (or an answer worse) a failure, and what is inconclusive is skipped; a run that
was not valid is skipped too, since its pair was left out.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from loadtest.report.study_record import DIFFERENT, VerdictWord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.report.records import Check, ObjectiveVerdict, Summary
    from loadtest.report.study_record import StudyRecord


def junit_of(summary: Summary, title: str, study: StudyRecord | None = None) -> str:
    """Return the XML document."""
    root = ET.Element("testsuites", name="xlmr-load")
    if study is not None:
        add_suite(root, f"{title}: controls", list(_controls(study)))
        add_suite(root, f"{title}: verdicts", list(_verdicts(study)))
    add_suite(
        root, f"{title}: validity", [_check(check, in_study=study is not None) for check in summary.checks]
    )
    add_suite(root, f"{title}: objectives", [_objective(one) for one in summary.objectives])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def add_suite(root: ET.Element, name: str, cases: list[ET.Element]) -> None:
    """Add a suite of cases with its counts to a document."""

    def count(tag: str) -> str:
        return str(sum(case.find(tag) is not None for case in cases))

    suite = ET.SubElement(
        root,
        "testsuite",
        name=_text(name),
        tests=str(len(cases)),
        failures=count("failure"),
        errors=count("error"),
        skipped=count("skipped"),
    )
    suite.extend(cases)


def _controls(study: StudyRecord) -> Iterator[ET.Element]:
    """One case that holds the study's own reasons, then each control."""
    whole = ET.Element("testcase", classname="controls", name="the study may speak of its arms")
    if not study.valid:
        said = "; ".join(study.reasons) or "no pair of valid runs was made"
        ET.SubElement(whole, "error", message=_text(said), type="invalid")
    yield whole
    for one in study.aa:
        case = ET.Element("testcase", classname="controls", name=_text(one.name))
        if not one.num_pairs:
            ET.SubElement(case, "skipped", message="no pair of valid runs")
        elif one.word in DIFFERENT:
            said = f"the reference differs from itself: {one.word.value}"
            ET.SubElement(case, "error", message=said, type="invalid")
        yield case
    if study.positive_control is not None:
        case = ET.Element("testcase", classname="controls", name="the arm that is slower on purpose is found")
        if not study.positive_control.found:
            said = f"it was called {study.positive_control.comparison.word.value}"
            ET.SubElement(case, "error", message=said, type="invalid")
        yield case


def _verdicts(study: StudyRecord) -> Iterator[ET.Element]:
    """Each primary, and each task's score."""
    compared = [*study.comparisons, *([study.capacity_ratio] if study.capacity_ratio else [])]
    named = [(one.name, one.word) for one in compared if one.primary]
    named += [(f"{one.arm}: score of {one.task}".removeprefix(": "), one.word) for one in study.quality]
    for name, word in named:
        case = ET.Element("testcase", classname="verdicts", name=_text(name))
        if word in (VerdictWord.SLOWER, VerdictWord.WORSE):
            ET.SubElement(case, "failure", message=word.value, type="regression")
        elif word in (VerdictWord.INCONCLUSIVE, VerdictWord.INVALID):
            ET.SubElement(case, "skipped", message=word.value)
        yield case


def _check(check: Check, *, in_study: bool) -> ET.Element:
    name = f"{check.run}: {check.name}" if check.run else check.name
    case = ET.Element("testcase", classname="validity", name=_text(name))
    if check.passed is None:
        ET.SubElement(case, "skipped", message=_text(check.sentence))
    elif not check.passed and in_study:
        ET.SubElement(case, "skipped", message=_text(f"its pair was left out: {check.sentence}"))
    elif not check.passed:
        ET.SubElement(case, "error", message=_text(check.sentence), type="invalid")
    return case


def _objective(one: ObjectiveVerdict) -> ET.Element:
    case = ET.Element("testcase", classname="objectives", name=_text(one.objective))
    if one.met is None:
        ET.SubElement(case, "skipped", message=_text(one.sentence))
    elif not one.met:
        ET.SubElement(case, "failure", message=_text(one.sentence), type="missed")
    return case


def _text(text: str) -> str:
    """Leave out what XML 1.0 cannot carry: control characters and lone surrogates."""
    return "".join(
        sign for sign in text if sign in "\t\n" or (sign >= " " and not "\ud800" <= sign <= "\udfff")
    )
