"""Replays a trace with Locust's own command, web UI, CSV, master and workers.

::

    locust -f loadtest/driver/locustfile.py --host http://127.0.0.1:8000 --trace DIR --arm FILE [--out DIR]
    locust -f ... --headless --processes 4 ...          or --master / --worker on several hosts

Every worker runs one user, the dispatcher, which sends its part of the schedule at the
scheduled instants and waits for no reply. Locust's statistics show the corrected latency:
from the intended instant to the end of the answer.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import locust.stats
from locust import LoadTestShape, User, events, task
from locust.runners import MasterRunner, WorkerRunner

from loadtest.driver.buckets import three_digits
from loadtest.driver.director import EXIT_USAGE, Director
from loadtest.driver.errors import UsageError
from loadtest.driver.options import Options
from loadtest.driver.trace_source import TraceSource
from loadtest.driver.worker import Worker

if TYPE_CHECKING:
    from locust.argument_parser import LocustArgumentParser
    from locust.env import Environment

DEFAULT_TIMEOUT_S = 60.0
DEFAULT_MAX_INFLIGHT = 256
DEFAULT_READY_TIMEOUT_S = 60.0
DEFAULT_NUM_WARM = 16


class Dispatcher(User):
    """The one user of a worker: sends the worker's part of the schedule."""

    worker: ClassVar[Worker | None] = None

    @task
    def take_part(self) -> None:
        """Wait for a shard, send it, and wait for the next."""
        assert self.worker is not None, "The init event comes before the first user. This is a bug."
        self.worker.take_part()


class OneDispatcherAWorker(LoadTestShape):
    """As many users as workers, until the schedule has been sent and answered."""

    director: Director | None = None

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users; None when the run is over."""
        assert self.director is not None, "The init event comes before the first tick. This is a bug."
        return self.director.tick()


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]  # Locust's, untyped
def add_options(parser: LocustArgumentParser) -> None:
    """Add what a replay needs to Locust's own options."""
    group = parser.add_argument_group("Replay of a trace")
    add: Any = group.add_argument
    add(
        "--trace",
        metavar="DIR",
        default=None,
        help="Folder with items.jsonl and schedule.jsonl, on every worker",
    )
    add("--arm", metavar="FILE", default=None, help="arm.toml: which variant answers each task")
    add(
        "--out",
        metavar="DIR",
        default=None,
        help="Where samples.parquet and run.json go; none are kept without it",
    )
    add(
        "--request-timeout",
        metavar="S",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        help="Seconds until a request is given up",
    )
    add(
        "--max-inflight",
        metavar="N",
        type=int,
        default=DEFAULT_MAX_INFLIGHT,
        help="Outstanding requests of an offline trace",
    )
    add(
        "--ready-timeout",
        metavar="S",
        type=float,
        default=DEFAULT_READY_TIMEOUT_S,
        help="Seconds to wait for the target",
    )
    add(
        "--warm-connections",
        metavar="N",
        type=int,
        default=DEFAULT_NUM_WARM,
        help="Connections that each worker opens before the start",
    )
    add("--replicate", metavar="K", type=int, default=0, help="Number of this run, kept with its samples")
    add(
        "--metrics-port",
        metavar="N",
        type=int,
        default=None,
        help="Port of the run's own metrics for Prometheus; none without it",
    )
    add("--metrics-host", metavar="HOST", default="127.0.0.1", help="Address at which they are served")
    add("--prepared", metavar="DIR", default=None, help="Folder of a run that 'xlmr-load run' has prepared")
    add("--progress-fd", metavar="FD", type=int, default=None, help="Descriptor for readings of the progress")


@events.init.add_listener  # type: ignore[untyped-decorator]  # Locust's, untyped
def begin(environment: Environment, **_: Any) -> None:
    """Make this process a worker, a coordinator, or both."""
    parsed: Any = environment.parsed_options
    if not parsed.trace:
        logging.getLogger(__name__).error("Say which trace to replay: --trace DIR (see 'xlmr-load trace').")
        sys.exit(EXIT_USAGE)
    locust.stats.bucket_response_time = three_digits  # type: ignore[assignment]  # finer than whole ms
    trace = TraceSource(Path(parsed.trace).resolve())
    if not isinstance(environment.runner, MasterRunner):
        Dispatcher.worker = Worker(environment, trace)
        Dispatcher.worker.listen()
    if isinstance(environment.runner, WorkerRunner):
        return
    director = Director(environment, trace, _options(parsed))
    try:
        director.listen()
    except UsageError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - a sentence for the user
        sys.exit(EXIT_USAGE)
    assert isinstance(environment.shape_class, OneDispatcherAWorker), (
        "Locust found another shape. This is a bug."
    )
    environment.shape_class.director = director


def _options(parsed: Any) -> Options:
    def path(text: str | None) -> Path | None:
        return None if text is None else Path(text).resolve()

    return Options(
        arm=path(parsed.arm),
        out=path(parsed.out),
        prepared=path(parsed.prepared),
        progress_fd=parsed.progress_fd,
        replicate=parsed.replicate,
        timeout_s=parsed.request_timeout,
        max_inflight=parsed.max_inflight,
        ready_timeout_s=parsed.ready_timeout,
        num_warm=parsed.warm_connections,
        headless=parsed.headless,
        metrics_host=parsed.metrics_host,
        metrics_port=parsed.metrics_port,
    )
