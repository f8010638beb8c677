"""How a run begins, from a command of ours or from Locust's own: prepared, and its setup written down.

Rule: whoever starts a run, the same things are checked, in the same order, and the same record is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.driver.prepare import Request, prepare
from loadtest.driver.run_record import Setup, write_setup
from loadtest.trace.arm import load_arm

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.driver.prepare import Watcher
    from loadtest.driver.trace_source import TraceSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A run to begin: what is sent where, under which arm, and the folder that keeps it.

    ``index``: folder of candidates' vectors; None where none are to be made. ``objectives``,
    ``command`` and ``server_cpus`` are kept in the record for the report.
    """

    source: TraceSource
    arm: Path
    target: str
    out: Path
    index: Path | None
    replicate: int
    timeout_s: float
    max_inflight: int
    ready_timeout_s: float
    objectives: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    server_cpus: str | None = None


def begin_run(wanted: Wanted, watcher: Watcher) -> Setup:
    """Check that trace, arm and target fit, embed candidates, and write plan and setup into ``out``.

    Raises:
        ArmError, TraceError, UsageError, TargetError: nothing can be measured; the sentence says why.
    """
    request = Request(
        target=wanted.target,
        replicate=wanted.replicate,
        timeout_s=wanted.timeout_s,
        max_inflight=wanted.max_inflight,
        ready_timeout_s=wanted.ready_timeout_s,
        index=wanted.index,
    )
    arm = load_arm(wanted.arm)
    setup = Setup(
        trace=wanted.source.folder,
        header=wanted.source.load().header,
        index=wanted.index,
        arm=arm,
        prepared=prepare(wanted.source, arm, request, watcher),
        objectives=wanted.objectives,
        command=wanted.command,
        server_cpus=wanted.server_cpus,
    )
    write_setup(wanted.out, setup)
    return setup
