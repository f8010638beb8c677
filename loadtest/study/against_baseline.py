"""A new measurement against an old one: run against run, or replicates against replicates.

Rules: runs are compared only where they are alike - the same trace (items, schedule, seed) and the same
machine, cores and generator - unless the caller insists, and then every difference is told. Arms may
differ, for they may be what is compared: other names and variants are told and refuse nothing. Runs pair
up by replicate. One pair gives ratios and no interval; its verdict is inconclusive, however large the ratio.
All measures share one chance of a false alarm (Holm), since any of them fails a gate. Runs that were not made
in turn are told: whatever changed between the two sittings looks like a difference of what is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from loadtest.analysis.equivalence import Comparison, Margins, Verdict, compare
from loadtest.analysis.multiplicity import holm
from loadtest.report.records import Summary
from loadtest.study.measures import Measure
from loadtest.study.study_file import MarginsTable, StudyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.random import Generator

# What makes two traces one, and two machines one; versions of the service are what is compared.
TRACE_KEYS = ("law", "duration_s", "seed", "num_arrivals", "mix", "items_sha256", "gold_sha256", "options")
MACHINE_KEYS = (
    "machine",
    "cpu_model",
    "num_cores",
    "affinity",
    "server_cpus",
    "kernel",
    "python",
    "packages",
)
# Below saturation an open loop completes what it was offered: its throughput compares schedules, not servers.
OPEN_MEASURES = (Measure.P50, Measure.P95, Measure.P99, Measure.GOODPUT)
OFFLINE_MEASURES = (Measure.OFFLINE_INPUTS, Measure.OFFLINE_TOKENS)
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One measure, new over old. ``ratio``: None where neither pair allows one."""

    measure: Measure
    ratio: float | None
    found: Comparison | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """A comparison with a baseline.

    ``unlike``: how the measurements differ beside what is measured. ``arms``: how the arms differ, in name
    and in the variant of each task. ``notes``: what else a reader should know before believing it.
    """

    changes: tuple[Change, ...]
    num_pairs: int
    unlike: tuple[str, ...]
    arms: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def regressed(self) -> tuple[Change, ...]:
        """The measures that were found slower."""
        return tuple(c for c in self.changes if c.found is not None and c.found.verdict is Verdict.SLOWER)

    @property
    def open(self) -> bool:
        """Whether some measure is neither different nor equivalent."""
        words = [c.found.verdict for c in self.changes if c.found is not None]
        return not words or Verdict.INCONCLUSIVE in words

    def beyond(self, ratio: float) -> tuple[Change, ...]:
        """Return the measures whose ratio alone is worse than a factor, verdict or not."""
        return tuple(c for c in self.changes if c.ratio is not None and _slowdown(c) > ratio)


def read_runs(folder: Path) -> tuple[Summary, ...]:
    """Return the summary of a run, or of every run in a folder of replicates, in order of name.

    Raises:
        StudyError: there is none, or one is damaged.
    """
    files = [folder / "summary.json"] if (folder / "samples.parquet").is_file() else []
    files = files or sorted(folder.glob("*/summary.json"))
    if not files:
        raise StudyError(f"{folder} holds no run: no samples.parquet and no RUN/summary.json in it")
    return tuple(_read(file) for file in files)


def against(
    baseline: Sequence[Summary], new: Sequence[Summary], margins: MarginsTable, rng: Generator
) -> Against:
    """Compare runs that pair up in order.

    Raises:
        StudyError: they do not pair up.
    """
    if len(baseline) != len(new):
        raise StudyError(
            f"{len(baseline)} runs cannot be paired with {len(new)}; give as many replicates of one trace"
        )
    pairs = list(zip(baseline, new, strict=True))
    unlike = dict.fromkeys(text for old, fresh in pairs for text in _differences(old, fresh))
    arms = dict.fromkeys(text for old, fresh in pairs for text in _arm_differences(old, fresh))
    usable = [(old, fresh) for old, fresh in pairs if old.valid and fresh.valid]
    return Against(
        changes=_corrected([_change(measure, usable, margins, rng) for measure in _measures(pairs)]),
        num_pairs=len(usable),
        unlike=tuple(unlike),
        arms=tuple(arms),
        notes=(*_left_out(len(pairs) - len(usable)), *_one_after_the_other(usable)),
    )


def _measures(pairs: Sequence[tuple[Summary, Summary]]) -> tuple[Measure, ...]:
    """Return what these runs can be compared in, by how their requests were sent."""
    is_offline = any(run.trace.get("law") == "offline" for pair in pairs for run in pair)
    return OFFLINE_MEASURES if is_offline else OPEN_MEASURES


def _change(
    measure: Measure, pairs: Iterable[tuple[Summary, Summary]], margins: MarginsTable, rng: Generator
) -> Change:
    values = [(measure.of(old.overall), measure.of(new.overall)) for old, new in pairs]
    ratios = [math.log(new / old) for old, new in values if old and new]
    if not ratios:
        return Change(measure=measure, ratio=None, found=None)
    declared: Margins = measure.margins(margins)
    found = compare([np.array(ratios)], margins=declared, direction=measure.direction, rng=rng, alpha=ALPHA)
    return Change(measure=measure, ratio=math.exp(sum(ratios) / len(ratios)), found=found)


def _corrected(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Take back differences that do not survive Holm's correction over all measures."""
    p_values = {one.measure: None if one.found is None else one.found.p_difference for one in changes}
    adjusted = holm(p_values)
    return tuple(_judged(change, adjusted[change.measure]) for change in changes)


def _judged(change: Change, p_value: float | None) -> Change:
    differs = change.found is not None and change.found.verdict in (Verdict.FASTER, Verdict.SLOWER)
    if change.found is None or not differs or (p_value is not None and p_value < ALPHA):
        return change
    return replace(change, found=replace(change.found, verdict=Verdict.INCONCLUSIVE))


def _left_out(num: int) -> Iterable[str]:
    if num:
        pairs = "1 pair is" if num == 1 else f"{num} pairs are"
        yield f"{pairs} left out, since a run of it is not valid; its summary.json says why"


def _one_after_the_other(pairs: Sequence[tuple[Summary, Summary]]) -> Iterable[str]:
    """Say where all runs of one side were begun before any of the other."""
    old, new = ([pair[side].started for pair in pairs] for side in (0, 1))
    known = [[at for at in side if at is not None] for side in (old, new)]
    if len(pairs) < 2 or any(len(side) < len(pairs) for side in known):  # noqa: PLR2004 - a turn takes two
        return
    first, second = sorted(known, key=min)
    if max(first) < min(second):
        yield (
            "all runs of one side were made before those of the other, so that whatever changed meanwhile "
            "counts as a difference; 'xlmr-load ab' makes the runs of two arms in turn"
        )


def _slowdown(change: Change) -> float:
    assert change.ratio is not None, "Only measures with a ratio are asked. This is a bug."
    return change.ratio if change.measure.direction.value.endswith("slower") else 1 / change.ratio


def _differences(old: Summary, new: Summary) -> Iterable[str]:
    yield from _unequal("trace", old.trace, new.trace, TRACE_KEYS)
    if "arrivals_sha256" in old.trace and "arrivals_sha256" in new.trace:  # not in summaries of old
        yield from _unequal("trace", old.trace, new.trace, ("arrivals_sha256",))
    yield from _unequal("goodput", _objective(old), _objective(new), ("objective_s",))
    yield from _unequal("environment", old.environment, new.environment, MACHINE_KEYS)


def _arm_differences(old: Summary, new: Summary) -> Iterable[str]:
    ours, theirs = _arms(old), _arms(new)
    yield from _unequal("arm", ours, theirs, dict.fromkeys((*ours, *theirs)))


def _objective(run: Summary) -> dict[str, Any]:
    """Return within which time an answer counts as good."""
    goodput = run.overall.goodput
    return {} if goodput is None else {"objective_s": goodput.objective_s}


def _arms(run: Summary) -> dict[str, Any]:
    """Return the name of a run's arm, and which variant answered each task."""
    by_task = {task: one.name for one in run.variants for task in one.tasks}
    return {"name": ", ".join(run.by_arm), **dict(sorted(by_task.items()))}


def _unequal(what: str, old: dict[str, Any], new: dict[str, Any], keys: Iterable[str]) -> Iterable[str]:
    """Tell each key whose values differ; of tables, each key in them."""
    for key in keys:
        ours, theirs = old.get(key), new.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            yield from _unequal(f"{what}.{key}", ours, theirs, dict.fromkeys((*ours, *theirs)))
        elif ours != theirs:
            yield f"{what}.{key}: {ours!r} against {theirs!r}"


def _read(file: Path) -> Summary:
    try:
        return Summary.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{file} cannot be read ({error.strerror}); run 'xlmr-load report' on it") from error
    except ValidationError as error:
        raise StudyError(f"{file} is of another version; run 'xlmr-load report' on its folder") from error
