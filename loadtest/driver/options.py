"""What Locust's command line says of a run: where its samples go, and the plan that it makes."""

from __future__ import annotations

import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.driver.begin import Wanted, begin_run, check_limits
from loadtest.driver.errors import UsageError
from loadtest.driver.plan import FILE_NAME, read_plan

if TYPE_CHECKING:
    from loadtest.driver.plan import Plan
    from loadtest.driver.prepare import Watcher
    from loadtest.driver.trace_source import TraceSource

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line said.

    ``prepared``: folder of a run that was prepared by who started Locust. ``headless``: Locust ends with
    the run.
    """

    arm: Path | None
    out: Path | None
    prepared: Path | None
    progress_fd: int | None
    replicate: int
    timeout_s: float
    max_inflight: int
    ready_timeout_s: float
    num_warm: int
    headless: bool
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None


def folder_of(options: Options, number: int) -> Path:
    """Return the folder of a process's run of this number; a temporary one where no samples are wanted."""
    if options.prepared is not None:
        return options.prepared
    if options.out is None:
        return Path(tempfile.mkdtemp(prefix="xlmr_load_"))
    return options.out if number <= 1 else options.out.with_name(f"{options.out.name}-{number}")


def plan_of(options: Options, out: Path, target: str | None, trace: TraceSource, watcher: Watcher) -> Plan:
    """Return the plan that was prepared outside, or prepare one now and write it into ``out``.

    Raises:
        ArmError, TraceError, UsageError, TargetError: nothing can be measured; the sentence says why.
    """
    if options.prepared is not None:
        return read_plan(options.prepared / FILE_NAME)
    if not target or options.arm is None:
        raise UsageError("Say what to measure: --host http://HOST:PORT --arm FILE [--out DIR].")
    check_limits("--request-timeout", options.timeout_s, options.ready_timeout_s, options.max_inflight)
    wanted = Wanted(
        source=trace,
        arm=options.arm,
        target=target,
        out=out,
        index=None if options.out is None else out / "index",
        replicate=options.replicate,
        timeout_s=options.timeout_s,
        max_inflight=options.max_inflight,
        ready_timeout_s=options.ready_timeout_s,
        command=tuple(sys.argv),
    )
    prepared = begin_run(wanted, watcher).prepared
    if wanted.index is None:
        logger.info("No --out: nothing is kept, and answers of retrieval tasks are not scored.")
    for sentence in prepared.match.deviations:
        logger.warning("%s", sentence)
    return prepared.plan
