"""The folder of a study: its record, and the runs whose samples its page pools.

Rules: latency at different loads is never pooled: the runs shown are the pairs at one load, that of the
primary comparisons, else the highest. Runs that are not valid are left out unless none of their arm is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from loadtest.report import formats
from loadtest.report.run_files import ReportError, read_run
from loadtest.report.study_record import Phase, StudyRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loadtest.report.run_files import RunFiles
    from loadtest.report.study_record import StudyRun

STUDY_FILE = "study.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """Which runs the figures pool, in words, how many were left out as not valid, and whose are not valid."""

    sentence: str
    num_left_out: int
    arms_without_valid: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFiles:
    """A study as it lies on disk."""

    record: StudyRecord
    runs: tuple[RunFiles, ...]
    references: tuple[RunFiles, ...]
    pooling: Pooling


def is_study(folder: Path) -> bool:
    """Whether a folder holds a study."""
    return (folder / STUDY_FILE).is_file()


def save_study(folder: Path, record: StudyRecord) -> Path:
    """Write a study's record and return the file's path."""
    path = folder / STUDY_FILE
    path.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path


def read_study(folder: Path) -> StudyFiles:
    """Read a study's record and the runs that its page shows, the reference arm's first.

    Raises:
        ReportError: the record or a run is missing or damaged, or the record names no run.
    """
    record = read_record(folder / STUDY_FILE)
    chosen, pooling = choose_runs(record)
    order = [record.reference, *(arm.name for arm in record.arms)]
    chosen = tuple(sorted(chosen, key=lambda run: order.index(run.arm) if run.arm in order else len(order)))
    unloaded = [run for run in record.runs if run.phase is Phase.UNLOADED]
    return StudyFiles(
        record=record,
        runs=tuple(read_run(folder / run.path) for run in chosen),
        references=tuple(read_run(folder / run.path) for run in unloaded),
        pooling=pooling,
    )


def choose_runs(record: StudyRecord) -> tuple[tuple[StudyRun, ...], Pooling]:
    """Choose the runs to pool.

    Raises:
        ReportError: the record names no run.
    """
    pairs = [run for run in record.runs if run.phase is Phase.PAIR]
    shown = pairs or [run for run in record.runs if run.phase is not Phase.UNLOADED] or list(record.runs)
    if not shown:
        raise ReportError("The study's record names no run, so there is nothing to report; run the study.")
    load = _load_of(record, shown)
    shown = [run for run in shown if run.load_ratio == load]
    speaking = {run.arm for run in shown if run.valid}
    valid = [run for run in shown if run.valid or run.arm not in speaking]
    left_out = len(shown) - len(valid)
    at = "" if load is None else f" at {load:g} of the reference arm's capacity"
    which = "that is not valid is" if left_out == 1 else "that are not valid are"
    without = f" {formats.plural(left_out, 'run')} {which} left out." if left_out else ""
    silent = tuple(dict.fromkeys(run.arm for run in shown if run.arm not in speaking))
    unfounded = (
        f" No run of {' and '.join(silent)} is valid, and they are pooled all the same." if silent else ""
    )
    return tuple(valid), Pooling(
        sentence=f"Figures by arm pool {formats.plural(len(valid), 'run')}{at}.{without}{unfounded}",
        num_left_out=left_out,
        arms_without_valid=silent,
    )


def _load_of(record: StudyRecord, shown: Sequence[StudyRun]) -> float | None:
    loads = {run.load_ratio for run in shown if run.load_ratio is not None}
    primary = [c.load_ratio for c in record.comparisons if c.primary and c.load_ratio in loads]
    return next((load for load in primary if load is not None), max(loads, default=None))


def read_record(path: Path) -> StudyRecord:
    """Return a study's record.

    Raises:
        ReportError: there is none, or it is of another make.
    """
    try:
        return StudyRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read ({error.strerror}). Is this the folder of a study?"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ReportError(f"{path} is no record of a study: {where}: {first['msg']}.") from error
