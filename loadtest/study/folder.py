"""Where a study's files lie: traces, runs, logs, and what it has found so far.

::

    OUT/
      declared.json       what this folder's study declares, the hash of its file, and the cores
      lock                held while a process works on the study
      arms/ARM.toml       each arm, under the study's name for it
      traces/base         items and gold; the others hold schedules of the same items
      runs/NAME           one run each; it is complete when its summary is there
      index/ARM           candidates' vectors, made once an arm
      logs/               what the servers wrote; server.json names the one that runs now
      study.json          the record; report.html the page
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest.study.sitting import DECLARED
from loadtest.study.study_file import StudyError
from loadtest.trace.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.study.study_file import Study

_CORES = ("server.cpus", "load.cpus")  # told apart before: the command line may have chosen them
_MAX_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFolder:
    """A study's output folder."""

    root: Path

    @property
    def base_trace(self) -> Path:
        """The trace whose items every schedule asks for."""
        return self.root / "traces" / "base"

    def trace(self, name: str) -> Path:
        """The folder of a schedule."""
        return self.root / "traces" / name

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.root / "runs" / name

    def is_complete(self, name: str) -> bool:
        """Whether a run was finished and summarised."""
        return (self.run(name) / "summary.json").is_file()

    def forget(self, name: str) -> None:
        """Take a run for one that was not finished, so that it is made again."""
        (self.run(name) / "summary.json").unlink(missing_ok=True)

    def arm(self, name: str) -> Path:
        """The file of an arm."""
        return self.root / "arms" / f"{name}.toml"

    def index(self, arm: str) -> Path:
        """The folder of an arm's candidates."""
        return self.root / "index" / arm

    def log(self, name: str) -> Path:
        """The log of a server."""
        return self.root / "logs" / f"{name}.log"

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of the folder; None where it is not there.

        Raises:
            StudyError: it is damaged.
        """
        path = self.root / name
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StudyError(f"{path} cannot be read ({error}); give the study another --out") from error
        return found

    def write(self, name: str, values: dict[str, Any]) -> None:
        """Write a JSON file of the folder, whole or not at all."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(values, indent=1, sort_keys=True) + "\n")


def open_folder(root: Path, study: Study) -> StudyFolder:
    """Return the folder of a study, new or to be resumed.

    Raises:
        StudyError: it belongs to another version of this study.
    """
    folder = StudyFolder(root=root.resolve())
    declared = folder.read(DECLARED)
    cores = {"server_cpus": study.declared.server.cpus, "load_cpus": study.declared.load.cpus}
    if declared is None:
        says = study.declared.model_dump(mode="json")
        folder.write(DECLARED, {"file": study.path.name, "sha256": study.sha256, "declared": says, **cores})
        return folder
    changed = [name for name, cpus in cores.items() if declared.get(name) != cpus]
    if changed:
        raise StudyError(
            f"{root} was begun with {changed[0]} {declared.get(changed[0]) or 'unset'}, not "
            f"{cores[changed[0]] or 'unset'}; runs on other cores are not comparable. Give another --out"
        )
    if declared.get("sha256") != study.sha256:
        raise StudyError(
            f"{root} was begun with another version of {study.path.name}{_changes(declared, study)}; what is "
            "declared may not change under way. Give another --out, or declare what was declared to resume"
        )
    return folder


def _changes(before: dict[str, Any], study: Study) -> str:
    """Say in brackets which keys were declared otherwise; nothing where only comments differ."""
    old, new = _flat(before.get("declared", {})), _flat(study.declared.model_dump(mode="json"))
    keys = [key for key in (*new, *(old.keys() - new.keys())) if old.get(key) != new.get(key)]
    told = [f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in keys if key not in _CORES]
    rest = f", and {len(told) - _MAX_TOLD} more" if len(told) > _MAX_TOLD else ""
    return f" ({', '.join(told[:_MAX_TOLD])}{rest})" if old and told else ""


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found.update(_flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return found
