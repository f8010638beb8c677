"""Does the load tester measure what queueing theory says, over real sockets?

    python benchmarks/bench_load_queues.py [--seconds 60] [--repeats 8] [--quick] [--out FILE]

A server with one serial worker of 20 ms, constant (M/D/1) or exponential (M/M/1), is sent Poisson arrivals at
0.3, 0.6 and 0.8 of what it can do. Two questions: does the closed form lie inside the 99.9 % interval over
repeats of mean and p95 (widened by what a request costs beside its queue, which is measured); and do the
percentiles of each repeat equal Lindley's recursion over its own arrivals, within its lateness and that cost?
An interval wider than half the closed form answers nothing ("too few"), nor does a machine that is not quiet.
Service times are seeded, so the recursion knows them. Each repeat drops its first sixth, in which the queue
fills. Exit status 1 where an answer is no and the machine was quiet.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadtest.analysis.interval import student_interval
from loadtest.analysis.queueing import MD1, MM1, simulate
from loadtest.driver.run import RunOptions, run
from loadtest.trace.arrivals import parse_law
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import null_server, write_arm, write_trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

SERVICE_S = 0.020
UTILISATIONS = (0.3, 0.6, 0.8)
LEVEL = 0.999
WARM_UP_RATIO = 1 / 6
STEAL_BOUND_RATIO = 0.01
HUB_BOUND_S = 0.020
WIDEST_RATIO = 0.5  # an interval wider than half the closed form could hold anything
WIDTH = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One run; times in seconds. ``cost_s``: what the median request took beside its turn in the queue."""

    mean_s: float
    p95_s: float
    recursion_mean_s: float
    recursion_p95_s: float
    lateness_p99_s: float
    cost_s: float
    steal_ratio: float | None
    hub_delay_p99_s: float
    num_requests: int

    @property
    def quiet(self) -> bool:
        """Whether the host left its cores to this run."""
        steal = self.steal_ratio
        return steal is not None and steal <= STEAL_BOUND_RATIO and self.hub_delay_p99_s <= HUB_BOUND_S

    @property
    def agrees(self) -> bool:
        """Whether the percentiles are those of the recursion."""
        return abs(self.p95_s - self.recursion_p95_s) <= self.lateness_p99_s + 2 * self.cost_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One queue at one utilisation, over its repeats."""

    queue: str
    utilisation: float
    mean_s: tuple[float, float]
    closed_mean_s: float
    p95_s: tuple[float, float]
    closed_p95_s: float
    repeats: tuple[Repeat, ...]

    @property
    def holds(self) -> bool:
        """Whether both closed forms lie inside their intervals."""
        cost_s = max(repeat.cost_s for repeat in self.repeats)
        return all(
            low - 2 * cost_s <= closed <= high
            for (low, high), closed in ((self.mean_s, self.closed_mean_s), (self.p95_s, self.closed_p95_s))
        )

    @property
    def word(self) -> str:
        """What the row says."""
        if not all(repeat.quiet for repeat in self.repeats):
            return "not quiet"
        widest = max(
            (ends[1] - ends[0]) / closed
            for ends, closed in ((self.mean_s, self.closed_mean_s), (self.p95_s, self.closed_p95_s))
        )
        if self.holds and widest > WIDEST_RATIO:
            return "too few"
        return "holds" if self.holds and all(repeat.agrees for repeat in self.repeats) else "DOES NOT HOLD"


def measure(queue: str, utilisation: float, seed: int, seconds: float) -> Repeat:
    """Run one schedule against one server, both from a seed."""
    arrivals = parse_law(f"poisson:{utilisation / SERVICE_S}").times_us(seconds, np.random.default_rng(seed))
    exponential = {"exponential_seed": seed} if queue == "M/M/1" else {}
    with (
        tempfile.TemporaryDirectory(prefix="bench_load_queues_") as name,
        null_server(service_s=SERVICE_S, **exponential) as world,
    ):
        folder = Path(name)
        options = RunOptions(
            trace=write_trace(
                folder / "trace", arrivals.tolist(), law=f"poisson:{utilisation / SERVICE_S:g}"
            ),
            target=world.url,
            arm=write_arm(folder / "arm.toml", xnli="v.xnli"),
            out=folder / "out",
        )
        run(options)
        samples = read_samples(options.out).sort("i")
        gauges = json.loads((options.out / "run.json").read_text(encoding="utf-8"))["gauges"]
    done = simulate(arrivals, _services_us(queue, seed, arrivals.size))
    kept = arrivals > WARM_UP_RATIO * seconds * 1e6
    seen_s = ((samples["done_us"] - samples["intended_us"]).to_numpy() / 1e6)[kept]
    true_s = ((done - arrivals) / 1e6)[kept]
    lateness_s = (samples["sent_us"] - samples["intended_us"]).to_numpy() / 1e6
    return Repeat(
        mean_s=float(seen_s.mean()),
        p95_s=_p95(seen_s),
        recursion_mean_s=float(true_s.mean()),
        recursion_p95_s=_p95(true_s),
        lateness_p99_s=float(np.quantile(lateness_s, 0.99, method="higher")),
        cost_s=float(np.median(np.abs(seen_s - true_s))),
        steal_ratio=gauges["steal_ratio"],
        hub_delay_p99_s=gauges["hub_delay_p99_s"],
        num_requests=int(kept.sum()),
    )


def _services_us(queue: str, seed: int, n: int) -> NDArray[np.int64]:
    """Return the server's own service times, in the order in which it draws them."""
    if queue == "M/D/1":
        return np.full(n, round(SERVICE_S * 1e6))
    drawn = random.Random(seed)  # noqa: S311 - the null server's generator, no secrets
    return np.array([round(drawn.expovariate(1 / SERVICE_S) * 1e6) for _ in range(n)])


def _p95(values: NDArray[np.float64]) -> float:
    return float(np.quantile(values, 0.95, method="inverted_cdf"))


def summed_up(queue: str, utilisation: float, repeats: list[Repeat]) -> Row:
    """Hold repeats against the closed form."""
    rate = utilisation / SERVICE_S
    exact = (
        MM1(arrivals_per_s=rate, served_per_s=1 / SERVICE_S)
        if queue == "M/M/1"
        else MD1(arrivals_per_s=rate, service_s=SERVICE_S)
    )
    means, tails = (
        student_interval(values, LEVEL)
        for values in ([one.mean_s for one in repeats], [one.p95_s for one in repeats])
    )
    return Row(
        queue=queue,
        utilisation=utilisation,
        mean_s=(means.low, means.high),
        closed_mean_s=exact.mean_sojourn_s,
        p95_s=(tails.low, tails.high),
        closed_p95_s=exact.sojourn_percentile(0.95),
        repeats=tuple(repeats),
    )


def table_of(rows: list[Row]) -> Table:
    """Return every queue as a line, times in milliseconds."""
    table = Table(title="latency of queues over real sockets, ms")
    heads = ("queue", "load", "closed mean", "99.9 % interval", "closed p95", "99.9 % interval")
    for head in (*heads, "p95 off recursion", "late p99", "cost", ""):
        table.add_column(head, justify="right")
    for row in rows:
        off = max(abs(one.p95_s - one.recursion_p95_s) for one in row.repeats)
        late = max(one.lateness_p99_s for one in row.repeats)
        cost = max(one.cost_s for one in row.repeats)
        table.add_row(
            row.queue,
            f"{row.utilisation:g}",
            f"{1e3 * row.closed_mean_s:.1f}",
            " to ".join(f"{1e3 * end:.1f}" for end in row.mean_s),
            f"{1e3 * row.closed_p95_s:.1f}",
            " to ".join(f"{1e3 * end:.1f}" for end in row.p95_s),
            *(f"{1e3 * value:.2f}" for value in (off, late, cost)),
            row.word,
        )
    return table


def main() -> int:
    """Measure both queues at every utilisation, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each repeat")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two repeats of six seconds: a try, no result")
    parser.add_argument("--out", type=Path, help="JSON with every repeat")
    arguments = parser.parse_args()
    seconds, repeats = (6.0, 2) if arguments.quick else (arguments.seconds, arguments.repeats)
    console = Console(width=WIDTH)
    rows = []
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("runs", total=2 * len(UTILISATIONS) * repeats)
        for queue in ("M/D/1", "M/M/1"):
            for utilisation in UTILISATIONS:
                found = []
                for repeat in range(repeats):
                    progress.update(bar, description=f"{queue} at {utilisation:g}")
                    found.append(measure(queue, utilisation, arguments.seed * 1000 + repeat, seconds))
                    progress.advance(bar)
                rows.append(summed_up(queue, utilisation, found))
    console.print(table_of(rows))
    if arguments.out:
        values = [{**asdict(row), "word": row.word} for row in rows]
        arguments.out.write_text(json.dumps({"rows": values}, indent=1), encoding="utf-8")
    return int(any(row.word == "DOES NOT HOLD" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
