"""How a run begins, from a command of ours or from Locust's own: prepared, and its setup written down.

Rule: whoever starts a run, the same things are checked, in the same order, and the same record is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.driver.errors import UsageError
from loadtest.driver.prepare import Request, prepare
from loadtest.driver.run_record import Setup, write_setup
from loadtest.trace.arm import load_arm

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.driver.prepare import Watcher
    from loadtest.driver.trace_source import TraceSource


MAX_TIMEOUT_S = 86_400.0  # a day; past it a slip is likelier than a wish, and no number would never end


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


def check_limits(name: str, timeout_s: float, ready_timeout_s: float, max_inflight: int) -> None:
    """Raise a UsageError for what would never end, or never begin; ``name``: of the option of the timeout."""
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise UsageError(f"{name} is {timeout_s:g} s; give more than 0, at most {MAX_TIMEOUT_S:g}.")
    if not 0 <= ready_timeout_s <= MAX_TIMEOUT_S:
        raise UsageError(f"--ready-timeout is {ready_timeout_s:g} s; give 0 to {MAX_TIMEOUT_S:g}.")
    if max_inflight < 1:
        raise UsageError(f"--max-inflight is {max_inflight}; give at least 1.")


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
