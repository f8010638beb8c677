"""Checks and objectives as JUnit XML, which CI systems show beside tests.

Rules: an objective that is missed is a failure; a check of the run that fails is an error, since nothing was
measured; what could not be told is skipped, never passed.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtest.report.records import Check, ObjectiveVerdict, Summary


def junit_of(summary: Summary, title: str) -> str:
    """Return the XML document."""
    root = ET.Element("testsuites", name="xlmr-load")
    _suite(root, f"{title}: validity", [_check(check) for check in summary.checks])
    _suite(root, f"{title}: objectives", [_objective(one) for one in summary.objectives])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ET.Element, name: str, cases: list[ET.Element]) -> None:
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


def _check(check: Check) -> ET.Element:
    name = f"{check.run}: {check.name}" if check.run else check.name
    case = ET.Element("testcase", classname="validity", name=_text(name))
    if check.passed is None:
        ET.SubElement(case, "skipped", message=_text(check.sentence))
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
