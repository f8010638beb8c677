"""An arm: which variant answers each task, and what its labels mean. Read from ``arm.toml``.

::

    name = "english-intermediate"
    [variants]
    xnli = "en-squad2.xnli"
    [labels.xnli]                 # the variant's label = the task's label; else by name
    LABEL_0 = "contradiction"
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from loadtest.datasets.tasks import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KEYS = ("name", "variants", "labels")


class ArmError(Exception):
    """An arm file cannot be used; the sentence names the file, the key and what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One side of a comparison.

    ``variants``: task -> name of the variant that answers it. ``labels``: task -> {label of
    the variant: label of the task}; a task without an entry has its labels matched by name.
    """

    name: str
    variants: Mapping[str, str]
    labels: Mapping[str, Mapping[str, str]]


def load_arm(path: Path) -> Arm:
    """Read an arm file.

    Raises:
        ArmError: the file is missing, is no TOML, or says what an arm cannot.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArmError(f"The arm file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArmError(f"{path} is no valid TOML: {error}.") from error
    unknown = [key for key in table if key not in _KEYS]
    if unknown:
        raise ArmError(f"{path}: the keys {_listed(unknown)} are unknown; an arm has {', '.join(_KEYS)}.")
    name = table.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ArmError(f'{path}: an arm needs a name, as in name = "english-intermediate".')
    return Arm(name=name, variants=_variants(table, path), labels=_labels(table, path))


def _variants(table: Mapping[str, Any], path: Path) -> Mapping[str, str]:
    variants = _strings(table.get("variants", {}), path, "variants", "task", "variant")
    if not variants:
        raise ArmError(f'{path}: name at least one variant under [variants], as in xnli = "en-squad2.xnli".')
    _check_tasks(variants, path, "variants")
    return variants


def _labels(table: Mapping[str, Any], path: Path) -> Mapping[str, Mapping[str, str]]:
    tables = table.get("labels", {})
    if not isinstance(tables, dict):
        raise ArmError(f"{path}: labels is a table of tables, as in [labels.xnli].")
    _check_tasks(tables, path, "labels")
    for task in tables:
        if not TASKS[Task(task)].labels:
            raise ArmError(
                f"{path}: [labels.{task}] has no use, the answers of {task} are no labels; remove it."
            )
        if task not in table["variants"]:
            raise ArmError(f"{path}: [labels.{task}] belongs to no variant; add {task} under [variants].")
    return MappingProxyType(
        {task: _task_labels(mapping, path, task) for task, mapping in tables.items()},
    )


def _task_labels(mapping: Any, path: Path, task: str) -> Mapping[str, str]:
    labels = _strings(mapping, path, f"labels.{task}", "label", "label of the task")
    known = TASKS[Task(task)].labels
    unknown = [gold for gold in labels.values() if gold not in known]
    if unknown:
        raise ArmError(f"{path}: [labels.{task}] maps to {_listed(unknown)}; {task} has {', '.join(known)}.")
    return labels


def _strings(table: Any, path: Path, key: str, left: str, right: str) -> Mapping[str, str]:
    if not isinstance(table, dict):
        raise ArmError(f"{path}: {key} is a table, written [{key}].")
    for name, value in table.items():
        if not isinstance(value, str) or not value:
            raise ArmError(f'{path}: [{key}] maps a {left} to a {right}; write {name} = "...".')
    return MappingProxyType(dict(table))


def _check_tasks(table: Mapping[str, Any], path: Path, key: str) -> None:
    unknown = [task for task in table if task not in {str(known) for known in Task}]
    if unknown:
        raise ArmError(f"{path}: [{key}] names {_listed(unknown)}; the tasks are {', '.join(Task)}.")


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
