"""Does the load tester measure what queueing theory says, over real sockets?

    python benchmarks/bench_load_queues.py [--quick] [--at-most S] [--out FILE]

A server with one serial worker of 1.5 ms, constant (M/D/1) or exponential (M/M/1), is sent Poisson arrivals
at 0.3, 0.6 and 0.8 of what it can do. Two questions: does the closed form lie inside the 99.9 % interval over
repeats of mean and p95 (its lower end lowered by twice what a request costs beside its queue, in the median:
a mean of costs lies above their median, since some are slow); and do the
p95 of each repeat equal that of Lindley's recursion over its own arrivals, within lateness and cost?
An interval wider than half the closed form answers nothing ("too few"), nor does a machine that is not quiet.
Service times are seeded, so the recursion knows them. Each repeat drops its first sixth, in which the queue
fills; busier queues forget slower and get longer and more repeats. ``--at-most S`` ends early with status 75;
the next call goes on from there. Exit status 1 where an answer is no and the machine was quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load_record import UNFINISHED, Budget, LoadRecord, markdown_table
from loadtest.analysis.interval import student_interval
from loadtest.analysis.queueing import MD1, MM1, simulate
from loadtest.driver.run import RunOptions, run
from loadtest.trace.arrivals import parse_law
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import null_server, write_arm, write_trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

SERVICE_S = 0.0015
LEVEL = 0.999
WARM_UP_RATIO = 1 / 6
STEAL_BOUND_RATIO = 0.01
HUB_BOUND_S = 0.020
WIDEST_RATIO = 0.5  # an interval wider than half the closed form could hold anything
MIN_CORES = 2
# Repeats and seconds of each. A queue's memory is about service / (1 - sqrt(utilisation))^2: 0.007, 0.03 and
# 0.135 s; with these the intervals come out at a tenth to a half of the closed form, and all of it in twelve
# minutes. More repeats may be asked for later: those that are there stay.
PLAN = {
    ("M/D/1", 0.3): (20, 3.0),
    ("M/D/1", 0.6): (14, 4.0),
    ("M/D/1", 0.8): (12, 7.0),
    ("M/M/1", 0.3): (20, 3.0),
    ("M/M/1", 0.6): (12, 5.0),
    ("M/M/1", 0.8): (11, 12.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One run; times in seconds.

    ``cost_s``, ``cost_p99_s``: what the median and the hundredth slowest request took beside the server's own
    account of its queue and service.
    """

    queue: str
    utilisation: float
    repeat: int
    seed: int
    mean_s: float
    p95_s: float
    recursion_mean_s: float
    recursion_p95_s: float
    lateness_p99_s: float
    cost_s: float
    cost_p99_s: float
    steal_ratio: float | None
    hub_delay_p99_s: float
    num_requests: int

    @property
    def quiet(self) -> bool:
        """Whether the host left its cores to this run."""
        steal = self.steal_ratio
        return steal is not None and steal <= STEAL_BOUND_RATIO and self.hub_delay_p99_s <= HUB_BOUND_S

    @property
    def off_s(self) -> float:
        """How far the p95 is from the recursion's."""
        return abs(self.p95_s - self.recursion_p95_s)

    @property
    def agrees(self) -> bool:
        """Whether the percentiles are those of the recursion."""
        return self.off_s <= self.lateness_p99_s + self.cost_p99_s


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


def measure(queue: str, utilisation: float, repeat: int, seed: int, seconds: float) -> Repeat:
    """Run one schedule against one server, both from a seed."""
    arrivals = parse_law(f"poisson:{utilisation / SERVICE_S}").times_us(seconds, np.random.default_rng(seed))
    exponential = {"exponential_seed": seed} if queue == "M/M/1" else {}
    with (
        tempfile.TemporaryDirectory(prefix="bench_load_queues_") as name,
        null_server(service_s=SERVICE_S, **exponential) as world,
    ):
        folder = Path(name)
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) >= MIN_CORES:
            os.sched_setaffinity(world.process.pid, {cores[1]})
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
    service_s = (samples["done_us"] - samples["sent_us"]).to_numpy() / 1e6
    cost_s = service_s - samples["total_ms"].to_numpy() / 1e3
    lateness_s = (samples["sent_us"] - samples["intended_us"]).to_numpy() / 1e6
    return Repeat(
        queue=queue,
        utilisation=utilisation,
        repeat=repeat,
        seed=seed,
        mean_s=float(seen_s.mean()),
        p95_s=_p95(seen_s),
        recursion_mean_s=float(true_s.mean()),
        recursion_p95_s=_p95(true_s),
        lateness_p99_s=float(np.quantile(lateness_s, 0.99, method="higher")),
        cost_s=float(np.median(cost_s)),
        cost_p99_s=float(np.quantile(cost_s, 0.99, method="higher")),
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


def table_of(rows: list[Row]) -> str:
    """Return every queue as a line, times in milliseconds."""
    heads = ["queue", "load", "repeats", "requests", "closed mean", "99.9 % interval", "closed p95"]
    heads += ["99.9 % interval", "p95 off recursion", "late p99", "cost p99", "verdict"]
    return markdown_table(
        heads,
        [
            [
                row.queue,
                f"{row.utilisation:g}",
                str(len(row.repeats)),
                f"{sum(one.num_requests for one in row.repeats):,}",
                f"{1e3 * row.closed_mean_s:.2f}",
                " to ".join(f"{1e3 * end:.2f}" for end in row.mean_s),
                f"{1e3 * row.closed_p95_s:.2f}",
                " to ".join(f"{1e3 * end:.2f}" for end in row.p95_s),
                *(f"{1e3 * max(values):.2f}" for values in _worst(row)),
                row.word,
            ]
            for row in rows
        ],
    )


def _worst(row: Row) -> tuple[list[float], list[float], list[float]]:
    return (
        [one.off_s for one in row.repeats],
        [one.lateness_p99_s for one in row.repeats],
        [one.cost_p99_s for one in row.repeats],
    )


def page(record: LoadRecord, wanted: int) -> list[Row]:
    """Write the page, and return what it says of every queue that has two repeats or more.

    ``wanted``: repeats of all queues together.
    """
    names = Repeat.__dataclass_fields__
    repeats = [Repeat(**{name: row[name] for name in names}) for row in record.rows]
    rows = []
    for queue, utilisation in PLAN:
        of = [one for one in repeats if (one.queue, one.utilisation) == (queue, utilisation)]
        if len(of) > 1:
            rows.append(summed_up(queue, utilisation, of))
    agree = sum(one.agrees for one in repeats)
    quiet = sum(one.quiet for one in repeats)
    text = (
        f"One serial worker of {1e3 * SERVICE_S:g} ms behind a real socket, Poisson arrivals, times in ms. "
        f"{sum(row.word == 'holds' for row in rows)} of {len(PLAN)} queues hold: the closed form's "
        "mean and p95 within 99.9 % intervals of those measured (their lower ends lowered by twice the "
        "median cost of HTTP, which no closed form has), and the p95 of every repeat equal to Lindley's "
        f"recursion over its own arrivals within lateness and cost ({agree} of {len(repeats)} repeats "
        f"agree, {quiet} were quiet). *Too few*: intervals wider than half the closed form, deciding nothing."
    )
    record.write_page(
        "Queues against their closed forms",
        text + _unfinished(len(repeats), wanted),
        table_of(rows),
        "*off recursion*, *late p99*, *cost p99*: the worst repeat's. *cost*: what a request took beside the "
        "server's own account of its queue and service (HTTP, both ends). Intervals are Student's over "
        "repeats, each without its first sixth.",
    )
    sys.stdout.write(f"{table_of(rows)}\n\n{text}\n")
    return rows


def _unfinished(num_repeats: int, wanted: int) -> str:
    if num_repeats >= wanted:
        return ""
    return (
        f" **{num_repeats} of {wanted} repeats so far**: where a row says *too few*, its intervals are wider "
        "than half the closed form and decide nothing yet."
    )


def main() -> int:
    """Measure both queues at every utilisation, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two repeats of four seconds: a try, no result")
    parser.add_argument("--at-most", type=float, help="seconds that this call may take")
    parser.add_argument("--out", type=Path, help="JSON with every repeat; its page goes beside it")
    arguments = parser.parse_args()
    plan = {key: (2, 4.0) if arguments.quick else whole for key, whole in PLAN.items()}
    settings = {
        "service_s": SERVICE_S,
        "seconds": [[*key, seconds] for key, (_, seconds) in plan.items()],
        "seed": arguments.seed,
        "quick": arguments.quick,
    }
    record, budget = LoadRecord(arguments.out, settings), Budget(arguments.at_most)
    unfinished = False
    # Repeats in turn: what the machine does for a while befalls every queue alike.
    for repeat in range(max(count for count, _ in plan.values())):
        for (queue, utilisation), (count, seconds) in plan.items():
            done = record.has(queue=queue, utilisation=utilisation, repeat=repeat)
            if repeat >= count or done or unfinished:
                continue
            if not budget.allows_another():
                unfinished = True
                continue
            sys.stderr.write(f"{queue} at {utilisation:g}, repeat {repeat + 1} of {count}\n")
            seed = arguments.seed * 1000 + repeat
            record.add(asdict(measure(queue, utilisation, repeat, seed, seconds)))
    rows = page(record, sum(count for count, _ in plan.values()))
    if unfinished:
        return UNFINISHED
    return int(any(row.word == "DOES NOT HOLD" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
