"""The files of a run, read for the report: samples, what the run says of itself, its trace and its gold.

Rules: nothing here is computed; what a file lacks is None or empty and the report says so; a file that
cannot be read is an error with its path. A run's record may hold more than the report knows of: it is kept
as it is and shown under provenance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from loadtest.analysis.scoring import match_labels
from loadtest.trace.items import TraceError, read_gold
from loadtest.trace.samples import SamplesError, read_samples
from loadtest.trace.schedule import GOLD_FILE, SCHEDULE_FILE, digest_of, read_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from loadtest.trace.items import Gold
    from loadtest.trace.schedule import Header

RUN_FILE = "run.json"
OPEN = "open"
COMPLETE = "complete"
OFFLINE = "offline"
NOT_OPEN = ("closed", OFFLINE)


class ReportError(Exception):
    """A report cannot be made; the sentence says which file and what to do."""


class VariantInfo(BaseModel):
    """A variant as the target described it before the run."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    revision: str | None = None
    synthetic: bool = False
    labels: tuple[str, ...] | None = None
    dtype: str | None = None


class Gauges(BaseModel):
    """What only the generator could measure; None where it could not."""

    model_config = ConfigDict(extra="allow", frozen=True)

    num_scheduled: int | None = None
    num_recorded: int | None = None
    num_workers: int = 1
    num_workers_lost: int = 0
    generator_cpu_ratio: float | None = None
    steal_ratio: float | None = None
    hub_delay_p99_s: float | None = None
    clock_drift_ratio: float | None = None
    changed_weights: tuple[str, ...] | None = None
    target_answers: bool | None = None


class Ending(BaseModel):
    """How the run ended, as the generator's coordinator saw it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    status: str = COMPLETE
    message: str = ""
    start_wall_ns: int = 0


class RunInfo(BaseModel):
    """`run.json`, as far as the report reads it; the rest is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    arm: str | None = None
    command: str | None = None
    target: str | None = None
    trace: str | None = None
    objectives: tuple[str, ...] = ()
    labels: Annotated[dict[str, dict[str, str]], Field(default_factory=dict)]
    environment: Annotated[dict[str, JsonValue], Field(default_factory=dict)]
    tasks: Annotated[dict[str, str], Field(default_factory=dict, description="task to variant")]
    gauges: Gauges = Gauges()
    outcome: Ending = Ending()
    variants: tuple[VariantInfo, ...] = ()
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """One run as it lies on disk.

    ``header``, ``gold`` and ``arrivals_sha256`` (of what is sent when) are None or empty where the trace is
    gone.
    """

    folder: Path
    samples: pl.DataFrame
    info: RunInfo
    header: Header | None = None
    gold: Mapping[str, Gold] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    arrivals_sha256: str = ""

    @property
    def mode(self) -> str:
        """``open``, ``closed`` or ``offline``; a run whose trace is gone is taken to be open, as most are."""
        law = self.header.law.partition(":")[0] if self.header else OPEN
        return law if law in NOT_OPEN else OPEN


def served_labels(info: RunInfo) -> dict[str, Mapping[str, str]]:
    """Return, for each task with named labels, what each label of its variant stands for."""
    cards = {card.name: card for card in info.variants}
    matched: dict[str, Mapping[str, str]] = {}
    for task, name in info.tasks.items():
        card = cards.get(name)
        if card is not None and card.labels:
            matched[task] = match_labels(task, card.labels, info.labels.get(task)).labels
    return {**info.labels, **matched}


def read_run(run_dir: Path) -> RunFiles:
    """Read a run's folder and the trace that it names.

    Raises:
        ReportError: the samples or the run's record are missing or damaged.
    """
    try:
        samples = read_samples(run_dir)
    except SamplesError as error:
        raise ReportError(str(error)) from error
    info = _read_info(run_dir / RUN_FILE)
    return _with_trace(RunFiles(folder=run_dir, samples=samples, info=info))


def read_reference(run_dir: Path, runs: Sequence[RunFiles]) -> RunFiles:
    """Read the run that tells how the unloaded server answers what ``runs`` asked.

    Raises:
        ReportError: its files are missing or damaged, or it is no reference of ``runs``: none of their arms,
            other items under the same names, or other weights.
    """
    reference = read_run(run_dir)
    why = next((why for run in runs if (why := _why_no_reference(reference, run))), None)
    if why is not None:
        raise ReportError(f"{run_dir} is no reference of {runs[0].folder}: {why}.")
    return reference


def _why_no_reference(reference: RunFiles, run: RunFiles) -> str | None:
    arms, others = (sorted(one.samples["arm"].unique()) for one in (run, reference))
    if not set(arms) & set(others):
        return f"its arm is {', '.join(others)}, not {', '.join(arms)}; replay the same arm"
    if run.header and reference.header and run.header.items_sha256 != reference.header.items_sha256:
        return "its trace has other items; replay a trace of the same data, limit and seed"
    now = {card.name: card.revision for card in run.info.variants}
    changed = [one.name for one in reference.info.variants if one.revision != now.get(one.name, one.revision)]
    return f"it had other weights for {', '.join(changed)}; replay it on the same" if changed else None


def _read_info(path: Path) -> RunInfo:
    try:
        return RunInfo.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read ({error.strerror}). Is this the folder of a run?"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ReportError(f"{path} is no record of a run: {where}: {first['msg']}.") from error
    except ValueError as error:
        raise ReportError(f"{path} is no JSON ({error}). Run the measurement again.") from error


def _with_trace(run: RunFiles) -> RunFiles:
    """Add what a run replayed; a trace that is gone costs the scores, not the report."""
    if run.info.trace is None:
        return replace(run, problems=("The run names no trace: its answers could not be scored.",))
    folder = (run.folder / run.info.trace).resolve()
    try:
        header, arrivals = read_schedule(folder / SCHEDULE_FILE)
        run = replace(run, header=header, arrivals_sha256=digest_of(arrivals))
        return replace(run, gold=read_gold(folder / GOLD_FILE))
    except TraceError as error:
        why = f"The run's trace could not be read, so answers were not scored: {error}"
        return replace(run, problems=(why,))
