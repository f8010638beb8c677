"""What a run says of itself: ``setup.json`` before it, ``run.json`` after it.

Paths in them are relative to the run's folder.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest.driver.environment import describe_environment
from loadtest.driver.errors import UsageError
from loadtest.driver.plan import FILE_NAME as PLAN_FILE
from loadtest.driver.plan import write_plan
from loadtest.trace.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loadtest.driver.prepare import Prepared
    from loadtest.trace.arm import Arm
    from loadtest.trace.schedule import Header

SETUP_FILE, RUN_FILE = "setup.json", "run.json"
SCHEMA = "xlmr-run/1"
_HEADER = (
    "name",
    "law",
    "duration_s",
    "seed",
    "seeds",
    "num_items",
    "num_arrivals",
    "items_sha256",
    "gold_sha256",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is known before the first request is sent."""

    trace: Path
    header: Header
    index: Path | None
    arm: Arm
    prepared: Prepared
    objectives: tuple[str, ...]
    command: tuple[str, ...]
    server_cpus: str | None = None


def write_setup(out: Path, setup: Setup) -> None:
    """Write plan and setup into a new run's folder, with the environment as it is now.

    Raises:
        UsageError: the folder holds a run already, or cannot be written.
    """
    check_fresh(out)
    plan, match = setup.prepared.plan, setup.prepared.match
    record = {
        "schema": SCHEMA,
        "arm": setup.arm.name,
        "labels": {task: dict(table) for task, table in setup.arm.labels.items()},
        "replicate": plan.replicate,
        "target": plan.target,
        "mode": str(plan.mode),
        "max_inflight": plan.max_inflight,
        "timeout_s": plan.timeout_s,
        "trace": relative(setup.trace, out),
        "schedule_sha256": plan.schedule_sha256,
        "schedule": {name: getattr(setup.header, name) for name in _HEADER},
        "index": relative(setup.index, out) if setup.index is not None and setup.prepared.indexed else None,
        "tasks": dict(plan.variants),
        "variants": [dict(card) for card in match.cards.values()],
        "layers": plan.as_json()["layers"],
        "deviations": list(match.deviations),
        "objectives": list(setup.objectives),
        "command": shlex.join(setup.command),
        "environment": describe_environment() | _known(server_cpus=setup.server_cpus),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_plan(out / PLAN_FILE, plan)
        write_json(out / SETUP_FILE, record)
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}); choose another --out.") from error


def _known(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def check_fresh(out: Path) -> None:
    """Raise a UsageError where ``out`` is the folder of an earlier run, or no folder."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give a folder with --out.")
    taken = [name for name in (SETUP_FILE, RUN_FILE, "samples.parquet") if (out / name).exists()]
    if taken:
        raise UsageError(f"{out} holds a run already ({taken[0]}); choose another --out, or remove it.")


def read_setup(out: Path) -> dict[str, Any]:
    """Return what ``write_setup`` wrote.

    Raises:
        UsageError: there is none.
    """
    try:
        setup: dict[str, Any] = json.loads((out / SETUP_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{out} is no folder of a run ({error}).") from error
    return setup


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record in one step, so that a reader never sees half of it."""
    write_whole(path, json.dumps(record, ensure_ascii=False, indent=1) + "\n")


def relative(path: Path, folder: Path) -> str:
    """Return how ``path`` is reached from ``folder``."""
    return os.path.relpath(path.resolve(), folder.resolve())
