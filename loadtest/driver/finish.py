"""After the last answer: samples are made, the weights are looked at again, and ``run.json`` is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.driver.collect import collect, remove_parts
from loadtest.driver.errors import TargetError
from loadtest.driver.outcome import FILE_NAME as OUTCOME_FILE
from loadtest.driver.outcome import Fate, Outcome, Status, read_outcome
from loadtest.driver.plan import FILE_NAME as PLAN_FILE
from loadtest.driver.plan import read_plan
from loadtest.driver.prepare import changed_weights
from loadtest.driver.run_record import RUN_FILE, SETUP_FILE, read_setup, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtest.driver.collect import Collected
    from loadtest.driver.outcome import WorkerOutcome

_P99 = 0.99
_LEFT_OUT = frozenset({"hub_delays_us", "latency", "lateness"})
_US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run on disk. ``status``: how it ended; ``message``: what a user must know of that, or nothing.

    ``num_recorded``: arrivals whose end was seen.
    """

    run_dir: Path
    status: Status
    message: str
    num_scheduled: int
    num_recorded: int
    num_workers_lost: int
    stopped_by_user: bool = False


def finish(out: Path, show: Callable[[int, int], None], *, keep_raw: bool = False) -> RunResult:
    """Make samples and record of the run in ``out``, whose workers have ended.

    Raises:
        EngineError: the load generator left no report.
        TraceError: the trace was changed since the run began.
    """
    setup, outcome = read_setup(out), read_outcome(out / OUTCOME_FILE)
    changed, gone = _look_again(out, setup)
    trace_folder = (out / setup["trace"]).resolve()
    found = collect(out, trace_folder, show)
    gauges = _gauges(outcome, found, changed, answers=not gone)
    record = setup | {
        "gauges": gauges,
        "outcome": {
            "status": str(outcome.status),
            "message": " ".join(filter(None, (outcome.message, gone))),
            "start_wall_ns": outcome.start_wall_ns,
            "end_us": outcome.end_us,
        },
        "workers": [_worker(worker) for worker in outcome.workers],
        "revisions": {variant: sorted(seen) for variant, seen in sorted(found.revisions.items())},
    }
    write_json(out / RUN_FILE, record)
    if not keep_raw:
        remove_parts(out)
        for name in (OUTCOME_FILE, SETUP_FILE, PLAN_FILE):
            (out / name).unlink()
    return RunResult(
        run_dir=out,
        status=outcome.status,
        message=record["outcome"]["message"],
        num_scheduled=gauges["num_scheduled"],
        num_recorded=found.num_recorded,
        num_workers_lost=gauges["num_workers_lost"],
    )


def _look_again(out: Path, setup: dict[str, Any]) -> tuple[tuple[str, ...] | None, str]:
    """Return which weights changed (None: cannot be told), and a sentence if the target is gone."""
    cards = {card["name"]: card for card in setup["variants"]}
    try:
        return changed_weights(read_plan(out / PLAN_FILE), cards), ""
    except TargetError as error:
        return None, f"After the run: {error}"


def _gauges(
    outcome: Outcome, found: Collected, changed: tuple[str, ...] | None, *, answers: bool
) -> dict[str, Any]:
    """Return what only the generator could measure; of several workers the worst."""
    workers = outcome.workers
    return {
        "num_scheduled": found.num_scheduled,
        "num_recorded": found.num_recorded,
        "num_duplicates": found.num_duplicates,
        "num_workers": len(workers),
        "num_workers_lost": sum(worker.fate is Fate.LOST for worker in workers),
        "generator_cpu_ratio": _worst(workers, "cpu_ratio"),
        "generator_wait_ratio": _worst(workers, "wait_ratio"),
        "steal_ratio": _worst(workers, "steal_ratio"),
        "hub_delay_p99_s": max(
            (_hub_delay_p99_s(worker) for worker in workers if _delays(worker)), default=None
        ),
        "clock_drift_ratio": max(_all(workers, "clock_drift_ratio"), key=abs, default=None),
        "clock_error_s": max((worker.clock.get("error_ns", 0) for worker in workers), default=0) / 1e9,
        "makespan_s": found.last_us / _US_PER_S,
        "changed_weights": None if changed is None else list(changed),
        "target_answers": answers,
        "num_connections": sum(_all(workers, "num_connections")),
        "max_inflight": sum(_all(workers, "max_inflight")),
    }


def _all(workers: Sequence[WorkerOutcome], key: str) -> list[Any]:
    return [worker.report[key] for worker in workers if worker.report.get(key) is not None]


def _worst(workers: Sequence[WorkerOutcome], key: str) -> float | None:
    return max(_all(workers, key), default=None)


def _delays(worker: WorkerOutcome) -> list[int]:
    delays: list[int] = worker.report.get("hub_delays_us", [])
    return delays


def _hub_delay_p99_s(worker: WorkerOutcome) -> float:
    """Return the p99 of a worker's heartbeat; of few beats the slowest stands for the tail.

    The beats while requests were sent count by themselves too: a long wait for the last answers would
    otherwise push them out of the tail.
    """
    delays_us = _delays(worker)
    busy_us = delays_us[: worker.report.get("num_busy_beats", len(delays_us))] or delays_us
    p99_us = max(float(np.quantile(us, _P99, method="inverted_cdf")) for us in (busy_us, delays_us))
    return p99_us / _US_PER_S


def _worker(worker: WorkerOutcome) -> dict[str, Any]:
    """Return what the record keeps of a worker: all but the single beats, and what the samples hold."""
    values = asdict(worker) | {"fate": str(worker.fate)}
    values["report"] = {key: value for key, value in worker.report.items() if key not in _LEFT_OUT}
    del values["spool"]
    return values
