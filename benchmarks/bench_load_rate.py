"""How fast one core of the load generator can send on time, against a server that does nothing.

    python benchmarks/bench_load_rate.py [--rates 500,1000,..] [--seconds 20] [--repeats 3] [--out FILE]

The null server gets a core and the generator another (``--server-cpu``, ``--load-cpu``). A rate is met
when the 99th percentile of lateness is at most 5 ms; required is 1,000 a second, the goal 1,500. Where
the host steals more than 1 % of the generator's core, or other processes keep it waiting for 2 % of
the time, a repeat says nothing: it is marked, and a table of marked rows decides nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadtest.driver.run import RunOptions, Silence, run
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import every, null_server, write_arm, write_trace

if TYPE_CHECKING:
    from loadtest.driver.progress import Progress
    from tests.loadtest.driver_world import World

LATENESS_BOUND_S = 0.005
STEAL_BOUND_RATIO = 0.01
WAIT_BOUND_RATIO = 0.02
REQUIRED_PER_S, GOAL_PER_S = 1_000, 1_500
MIN_CORES = 2
WIDTH = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run at one rate; times in seconds."""

    rate_per_s: int
    achieved_per_s: float
    lateness_p50_s: float
    lateness_p99_s: float
    lateness_max_s: float
    service_p50_s: float
    service_p99_s: float
    hub_delay_p99_s: float
    generator_cpu_ratio: float
    cpu_us_a_request: float
    wait_ratio: float | None
    steal_ratio: float | None
    num_failed: int

    @property
    def quiet(self) -> bool:
        """Whether the host and its other processes left the generator's core to it."""
        if self.steal_ratio is None or self.wait_ratio is None:
            return False
        return self.steal_ratio <= STEAL_BOUND_RATIO and self.wait_ratio <= WAIT_BOUND_RATIO

    @property
    def met(self) -> bool:
        """Whether the rate was sent on time."""
        return self.lateness_p99_s <= LATENESS_BOUND_S and not self.num_failed


class OneLine(Silence):
    """Shows a run on one line."""

    def __init__(self, console: Console) -> None:
        self._status = console.status("starting")

    def __enter__(self) -> OneLine:  # noqa: PYI034 - final in spirit
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def measuring(self, progress: Progress) -> None:
        """Show a reading."""
        self._status.update(progress.sentence())


def measure(world: World, rate: int, arguments: argparse.Namespace, show: OneLine) -> Row:
    """Send ``rate`` requests a second for a while, and return what was seen."""
    with tempfile.TemporaryDirectory(prefix="bench_load_rate_") as name:
        folder = Path(name)
        options = RunOptions(
            trace=write_trace(
                folder / "trace", every(1 / rate, rate * arguments.seconds), law=f"constant:{rate}"
            ),
            target=world.url,
            arm=write_arm(folder / "arm.toml", xnli="v.xnli"),
            out=folder / "out",
            processes=arguments.processes,
        )
        run(options, show)
        samples = read_samples(options.out)
        gauges = json.loads((options.out / "run.json").read_text(encoding="utf-8"))["gauges"]
    lateness_s = (samples["sent_us"] - samples["intended_us"]) / 1e6
    service_s = (samples["done_us"] - samples["sent_us"]) / 1e6
    sent_us = samples["sent_us"].to_numpy()
    span_s = float(sent_us.max() - sent_us.min()) / 1e6
    cpu_ratio = gauges["generator_cpu_ratio"]
    return Row(
        rate_per_s=rate,
        achieved_per_s=(samples.height - 1) / span_s,
        lateness_p50_s=_percentile(lateness_s, 0.5),
        lateness_p99_s=_percentile(lateness_s, 0.99),
        lateness_max_s=_percentile(lateness_s, 1.0),
        service_p50_s=_percentile(service_s, 0.5),
        service_p99_s=_percentile(service_s, 0.99),
        hub_delay_p99_s=gauges["hub_delay_p99_s"],
        generator_cpu_ratio=cpu_ratio,
        cpu_us_a_request=1e6 * cpu_ratio * arguments.processes / rate,
        wait_ratio=gauges["generator_wait_ratio"],
        steal_ratio=gauges["steal_ratio"],
        num_failed=samples["error"].len() - samples["error"].null_count(),
    )


def _percentile(values: Any, p: float) -> float:
    return float(values.quantile(p, interpolation="higher"))


def table_of(rows: list[Row]) -> Table:
    """Return every run as a line, in milliseconds where it is a time."""
    table = Table(title="lateness of sending, null server")
    heads = ("rate/s", "sent/s", "late p50", "p99", "max ms", "service p50", "p99 ms", "hub p99 ms")
    for head in (*heads, "cpu", "us/request", "waited", "steal", ""):
        table.add_column(head, justify="right")
    for row in rows:
        shares = ["?" if ratio is None else f"{ratio:.1%}" for ratio in (row.wait_ratio, row.steal_ratio)]
        word = ("met" if row.met else "late") if row.quiet else "not quiet"
        times = (
            row.lateness_p50_s,
            row.lateness_p99_s,
            row.lateness_max_s,
            row.service_p50_s,
            row.service_p99_s,
        )
        table.add_row(
            f"{row.rate_per_s:,}",
            f"{row.achieved_per_s:,.0f}",
            *(f"{1e3 * value:.2f}" for value in (*times, row.hub_delay_p99_s)),
            f"{row.generator_cpu_ratio:.0%}",
            f"{row.cpu_us_a_request:.0f}",
            *shares,
            word,
        )
    return table


def verdict(rows: list[Row]) -> str:
    """Say the highest rate that most of its quiet repeats met, or that nothing can be said."""
    quiet = [row for row in rows if row.quiet]
    if not quiet:
        return "No repeat was quiet: this machine can say nothing now."
    rates = sorted({row.rate_per_s for row in quiet})
    met = [
        rate for rate in rates if statistics.median(row.met for row in quiet if row.rate_per_s == rate) == 1
    ]
    best = max(met, default=0)
    goals = (
        f"required {REQUIRED_PER_S:,}: {best >= REQUIRED_PER_S}; goal {GOAL_PER_S:,}: {best >= GOAL_PER_S}"
    )
    return f"Highest rate with lateness p99 <= {1e3 * LATENESS_BOUND_S:.0f} ms: {best:,}/s ({goals})."


def main() -> int:
    """Measure every rate, repeats in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--rates", default="500,1000,1500,2000")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--server-cpu", type=int, default=1)
    parser.add_argument("--load-cpu", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON with every row and the environment")
    arguments = parser.parse_args()
    console = Console(width=WIDTH)
    if len(os.sched_getaffinity(0)) < MIN_CORES:
        console.print("This needs two cores: one for the server, one for the generator.")
        return 2
    rows = []
    with null_server(blind=True) as world, OneLine(console) as show:
        os.sched_setaffinity(world.process.pid, {arguments.server_cpu})
        os.sched_setaffinity(0, {arguments.load_cpu})
        for _ in range(arguments.repeats):
            rows += [measure(world, int(rate), arguments, show) for rate in arguments.rates.split(",")]
    console.print(table_of(rows))
    console.print(verdict(rows))
    if arguments.out:
        arguments.out.write_text(
            json.dumps({"rows": [asdict(row) for row in rows]}, indent=1), encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
