"""How a run went, as the coordinator saw it: ``driver.json``, which outlives Locust's process.

Written when the run ends in whatever way, and read by whoever makes samples of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from loadtest.driver.errors import EngineError
from loadtest.trace.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME = "driver.json"


class Status(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"  # every worker that was left drained its shard
    INTERRUPTED = "interrupted"  # stopped from outside; what was measured until then is kept
    FAILED = "failed"  # never started, or the coordinator gave up


class Fate(StrEnum):
    """What became of a worker."""

    DONE = "done"
    INTERRUPTED = "interrupted"
    LOST = "lost"  # its process died or no longer answers


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOutcome:
    """One worker. ``spool`` is relative to the run's folder; ``report`` holds its last words."""

    shard: int
    client: str
    fate: Fate
    spool: str
    clock: Mapping[str, Any]
    identity: Mapping[str, Any]
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run. ``end_us``: its end, in microseconds since the shared start, which was ``start_wall_ns``."""

    status: Status
    message: str
    start_wall_ns: int
    end_us: int
    locust: str
    workers: tuple[WorkerOutcome, ...] = field(default=())


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write an outcome in one step, so that a reader never sees half of it."""
    write_whole(path, json.dumps(asdict(outcome)))


def read_outcome(path: Path) -> Outcome:
    """Read an outcome.

    Raises:
        EngineError: there is none, so the run ended before the coordinator could say how.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        workers = tuple(WorkerOutcome(**(row | {"fate": Fate(row["fate"])})) for row in values.pop("workers"))
        return Outcome(**(values | {"status": Status(values["status"]), "workers": workers}))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EngineError(
            f"{path} cannot be read ({error}): the load generator ended without a report."
        ) from error
