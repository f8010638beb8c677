"""The arms of a study as files of its own, each under the name that the study gives it.

The arm file may have another name, or be two arms' (an arm against itself): runs, samples and reports know
an arm by its key in ``[arms]`` alone. Rule: an arm is settled when the study begins; one whose variants or
labels were changed since is refused, as a changed study file is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from loadtest.study.study_file import StudyError
from loadtest.trace.arm import load_arm

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loadtest.study.folder import StudyFolder
    from loadtest.study.study_file import Study
    from loadtest.trace.arm import Arm


def settle_arms(study: Study, folder: StudyFolder) -> dict[str, Path]:
    """Write each arm into the study's folder, and return where.

    Raises:
        ArmError: an arm file cannot be used.
        StudyError: an arm is not what it was when the study began.
    """
    settled: dict[str, Path] = {}
    for name, table in study.declared.arms.items():
        source = study.resolve(table.file)
        text = arm_text(name, load_arm(source))
        path = folder.arm(name)
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise StudyError(
                f"{source} has changed since this study began; give another --out, or restore it to resume"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        settled[name] = path
    return settled


def arm_text(name: str, arm: Arm) -> str:
    """Return an arm as TOML, under a name."""
    parts = [f"name = {_quoted(name)}\n\n[variants]\n{_table(arm.variants)}"]
    parts += [f"\n[labels.{_quoted(task)}]\n{_table(table)}" for task, table in sorted(arm.labels.items())]
    return "".join(parts)


def _table(values: Mapping[str, str]) -> str:
    return "".join(f"{_quoted(key)} = {_quoted(value)}\n" for key, value in sorted(values.items()))


def _quoted(text: str) -> str:
    """Return a TOML basic string; JSON's is one but for letters beyond the basic plane, left as they are."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
