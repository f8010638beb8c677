"""From a run's folder to its samples: what workers received becomes one row an arrival.

An arrival without a record has a row too: its worker was lost, or it was never sent. Nothing is
thrown away that a reader could miss: records that come twice, and answers of no shape, are counted.
"""

from __future__ import annotations

import mmap
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from loadtest.datasets.tasks import TASKS, Task
from loadtest.driver.answers import STAGES, Answer, read_answer, read_timing, whole
from loadtest.driver.outcome import FILE_NAME as OUTCOME_FILE
from loadtest.driver.outcome import Fate, Outcome, read_outcome
from loadtest.driver.plan import FILE_NAME as PLAN_FILE
from loadtest.driver.plan import Mode, Plan, read_plan
from loadtest.driver.spool import read_records
from loadtest.trace.embeddings import write_queries
from loadtest.trace.samples import BAD_ANSWER, CUT_SHORT, SCHEMA, write_samples
from loadtest.trace.schedule import load_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from loadtest.driver.spool import Record
    from loadtest.trace.schedule import Arrival, Trace

PARTS_FOLDER = "parts"
_SHOW_EVERY = 500


@dataclass(slots=True)
class Collected:
    """What was found while collecting.

    ``num_recorded``: arrivals whose end a worker saw, whatever it was. ``revisions``: of each variant,
    as its answers said. ``last_us``: when the last of them ended, since the shared start.
    """

    num_scheduled: int = 0
    num_recorded: int = 0
    num_duplicates: int = 0
    last_us: int = 0
    revisions: dict[str, set[str]] = field(default_factory=dict)


def collect(out: Path, trace_folder: Path, show: Callable[[int, int], None]) -> Collected:
    """Write samples and query vectors of the run in ``out``; ``show`` is told rows done and all rows.

    Raises:
        EngineError: the run left no report of its end.
        TraceError: the trace is gone or was changed since.
    """
    trace, plan = load_trace(trace_folder), read_plan(out / PLAN_FILE)
    collector = _Collector(trace, plan, read_outcome(out / OUTCOME_FILE))
    for worker in collector.outcome.workers:
        for record in _records(out / worker.spool):
            collector.add(record)
            if len(collector.rows) % _SHOW_EVERY == 0:
                show(len(collector.rows), len(trace.arrivals))
    collector.add_missing()
    show(len(trace.arrivals), len(trace.arrivals))
    write_samples(out, pl.DataFrame(collector.rows, schema=SCHEMA, orient="row"))
    for task, vectors in collector.vectors.items():
        write_queries(out, task, np.stack(vectors))
    return collector.found


def remove_parts(out: Path) -> None:
    """Remove what workers received, once samples hold it."""
    shutil.rmtree(out / PARTS_FOLDER, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How an arrival ended."""

    intended_us: int
    sent_us: int | None
    done_us: int
    status: int | None
    error: str | None
    censored: bool


class _Collector:
    """Rows of samples in the making; each of its lists of vectors is of one length throughout."""

    def __init__(self, trace: Trace, plan: Plan, outcome: Outcome) -> None:
        self._trace = trace
        self._plan = plan
        self.outcome = outcome
        self._seen = bytearray(len(trace.arrivals))
        self.rows: list[tuple[Any, ...]] = []
        self.vectors: dict[str, list[NDArray[np.float32]]] = {}
        self.found = Collected(num_scheduled=len(trace.arrivals))

    def add(self, record: Record) -> None:
        """Make a row of a record; the first of an arrival counts."""
        if record.i >= len(self._seen) or self._seen[record.i]:
            self.found.num_duplicates += 1
            return
        self._seen[record.i] = 1
        self.found.last_us = max(self.found.last_us, record.done_us)
        self.found.num_recorded += record.error not in CUT_SHORT
        arrival = self._trace.arrivals[record.i]
        answer = self._answer(record, arrival)
        timing = read_timing(record.timing) if record.timing else {}
        tokens = answer.tokens if answer.tokens is not None else whole(timing.get("tokens"))
        end = _End(
            intended_us=record.intended_us,
            sent_us=record.sent_us,
            done_us=max(record.done_us, record.intended_us),
            status=record.status,
            error=record.error or answer.error,
            censored=record.censored,
        )
        self._append(arrival, end, (tokens, *_split(timing), self._text(answer, arrival)))

    def add_missing(self) -> None:
        """Make a censored row of each arrival that no record speaks of."""
        end_us = max(self.outcome.end_us, self.found.last_us)
        num_shards = max(1, len(self.outcome.workers))
        lost = {worker.shard for worker in self.outcome.workers if worker.fate is Fate.LOST}
        for arrival in self._trace.arrivals:
            if self._seen[arrival.i]:
                continue
            intended_us = end_us if self._plan.mode is Mode.CLOSED else arrival.t_us
            end = _End(
                intended_us=intended_us,
                sent_us=None,
                done_us=max(intended_us, end_us),
                status=None,
                error="worker lost" if arrival.i % num_shards in lost else "not sent",
                censored=True,
            )
            self._append(arrival, end, (None, *_split({}), None))

    def _answer(self, record: Record, arrival: Arrival) -> Answer:
        task = self._trace.items[arrival.item].task
        if record.error or record.status is None:
            return Answer()
        answer = read_answer(record.body, TASKS[Task(task)].head)
        if answer.revision is not None:
            self.found.revisions.setdefault(self._plan.variants[task], set()).add(answer.revision)
        kept = self.vectors.get(task)
        if answer.vector is not None and kept and kept[0].shape != answer.vector.shape:
            return Answer(error=f"{BAD_ANSWER}embedding of another length", tokens=answer.tokens)
        return answer

    def _text(self, answer: Answer, arrival: Arrival) -> str | None:
        if answer.vector is None:
            return answer.text
        rows = self.vectors.setdefault(self._trace.items[arrival.item].task, [])
        rows.append(answer.vector)
        return str(len(rows) - 1)

    def _append(self, arrival: Arrival, end: _End, rest: tuple[Any, ...]) -> None:
        """Add a row; ``rest``: tokens, the split and the answer."""
        item, plan = self._trace.items[arrival.item], self._plan
        self.rows.append(
            (
                arrival.i,
                item.id,
                item.task,
                item.language,
                plan.variants[item.task],
                plan.arm,
                plan.replicate,
                end.intended_us,
                end.sent_us,
                end.done_us,
                end.status,
                end.error,
                end.censored,
                *rest,
            )
        )


def _split(timing: Mapping[str, float]) -> tuple[float | None, ...]:
    return tuple(timing.get(stage) for stage in STAGES)


def _records(path: Path) -> Iterator[Record]:
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield from read_records(data)
