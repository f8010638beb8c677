"""Does the load tester measure what queueing theory says, over real sockets?

    python benchmarks/bench_load_queues.py [--quick] [--at-most S] [--out FILE]

A server with one serial worker, constant (M/D/1) or exponential (M/M/1), is sent Poisson arrivals at 0.3, 0.6
and 0.8 of what it can do. Two questions: does the closed form lie inside the 99.9 % interval over repeats of
mean and p95, its lower end lowered by what requests cost beside their queue (load_queue_rows.py argues by
which cost); and does the p95 of each repeat equal that of Lindley's recursion over its own arrivals within
lateness and HTTP? An interval wider than half the closed form answers nothing ("too few"), nor does a machine
that is not quiet. Service times are seeded, so the recursion knows them. Each repeat drops its first sixth,
in which the queue fills. ``--at-most S`` ends early with status 75; the next call goes on from there.
Exit status 1 where an answer is no and the machine was quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load_queue_rows import Repeat, Row, p95_of, row_of, table_of, tail_cost_s
from benchmarks.load_record import UNFINISHED, Budget, LoadRecord
from loadtest.analysis.queueing import simulate
from loadtest.driver.run import RunOptions, run
from loadtest.trace.arrivals import parse_law
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import null_server, write_arm, write_trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

WARM_UP_RATIO = 1 / 6
MIN_CORES = 2
# What HTTP costs (0.6 ms) is the same at every load, and a queue's memory grows with its service time, as
# service / (1 - sqrt(utilisation))^2: 20, 40 and 135 ms with these. An idle server needs long services to be
# seen beside HTTP, a busy one short ones to be done with in time.
SERVICE_S = {0.3: 0.004, 0.6: 0.002, 0.8: 0.0015}
# Repeats and seconds of each, from virtual time (tests/benchmarks/test_load_queue_rows.py): with these the
# intervals, cost included, are under half the closed form for at least 85 % of seeds, and for the one used.
# A call makes what is missing: more repeats may be asked for later, those that are there stay.
PLAN = {
    ("M/D/1", 0.3): (12, 4.0),
    ("M/D/1", 0.6): (14, 4.0),
    ("M/D/1", 0.8): (13, 9.0),
    ("M/M/1", 0.3): (18, 6.0),
    ("M/M/1", 0.6): (16, 5.0),
    ("M/M/1", 0.8): (14, 14.0),
}


def seed_of(seed: int, repeat: int) -> int:
    """Return the seed of one repeat's arrivals and services."""
    return seed * 1000 + repeat


def arrivals_us(utilisation: float, seed: int, seconds: float) -> NDArray[np.int64]:
    """Return one repeat's Poisson arrivals, microseconds."""
    law = parse_law(f"poisson:{utilisation / SERVICE_S[utilisation]}")
    return law.times_us(seconds, np.random.default_rng(seed))


def services_us(queue: str, service_s: float, seed: int, n: int) -> NDArray[np.int64]:
    """Return the server's own service times, in the order in which it draws them."""
    if queue == "M/D/1":
        return np.full(n, round(service_s * 1e6))
    drawn = random.Random(seed)  # noqa: S311 - the null server's generator, no secrets
    return np.array([round(drawn.expovariate(1 / service_s) * 1e6) for _ in range(n)])


def measure(queue: str, utilisation: float, repeat: int, seed: int, seconds: float) -> Repeat:
    """Run one schedule against one server, both from a seed."""
    service_s = SERVICE_S[utilisation]
    arrivals = arrivals_us(utilisation, seed, seconds)
    exponential = {"exponential_seed": seed} if queue == "M/M/1" else {}
    with (
        tempfile.TemporaryDirectory(prefix="bench_load_queues_") as name,
        null_server(service_s=service_s, **exponential) as world,
    ):
        folder = Path(name)
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) >= MIN_CORES:
            os.sched_setaffinity(world.process.pid, {cores[1]})
        options = RunOptions(
            trace=write_trace(
                folder / "trace", arrivals.tolist(), law=f"poisson:{utilisation / service_s:g}"
            ),
            target=world.url,
            arm=write_arm(folder / "arm.toml", xnli="v.xnli"),
            out=folder / "out",
        )
        run(options)
        samples = read_samples(options.out).sort("i")
        gauges = json.loads((options.out / "run.json").read_text(encoding="utf-8"))["gauges"]
    done = simulate(arrivals, services_us(queue, service_s, seed, arrivals.size))
    kept = arrivals > WARM_UP_RATIO * seconds * 1e6
    seen_s = ((samples["done_us"] - samples["intended_us"]).to_numpy() / 1e6)[kept]
    accounts_s = (samples["total_ms"].to_numpy() / 1e3)[kept]
    true_s = ((done - arrivals) / 1e6)[kept]
    lateness_s = ((samples["sent_us"] - samples["intended_us"]).to_numpy() / 1e6)[kept]
    costs_s = seen_s - accounts_s
    return Repeat(
        queue=queue,
        utilisation=utilisation,
        service_s=service_s,
        repeat=repeat,
        seed=seed,
        mean_s=float(seen_s.mean()),
        p95_s=p95_of(seen_s),
        recursion_mean_s=float(true_s.mean()),
        recursion_p95_s=p95_of(true_s),
        lateness_p99_s=float(np.quantile(lateness_s, 0.99, method="higher")),
        cost_mean_s=float(costs_s.mean()),
        cost_median_s=float(np.median(costs_s)),
        cost_tail_s=tail_cost_s(accounts_s, costs_s),
        http_p99_s=float(np.quantile(costs_s - lateness_s, 0.99, method="higher")),
        steal_ratio=gauges["steal_ratio"],
        hub_delay_p99_s=gauges["hub_delay_p99_s"],
        num_requests=int(kept.sum()),
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
            rows.append(row_of(of))
    agree = sum(one.agrees for one in repeats)
    quiet = sum(one.quiet for one in repeats)
    text = (
        "One serial worker behind a real socket, Poisson arrivals, times in ms. "
        f"{sum(row.word == 'holds' for row in rows)} of {len(PLAN)} queues hold: the closed form's "
        "mean and p95 within 99.9 % intervals of those measured (their lower ends lowered by what requests "
        "cost beside the server's account of its queue and service, which no closed form has: in the mean, "
        "and at the p95), and the p95 of every repeat equal to Lindley's recursion over its own arrivals "
        f"within lateness and HTTP ({agree} of {len(repeats)} repeats agree, {quiet} were quiet). *Too few*: "
        "intervals, so lowered, wider than half the closed form, deciding nothing."
    )
    record.write_page(
        "Queues against their closed forms",
        text + _unfinished(len(repeats), wanted),
        table_of(rows),
        "*cost*: latency less the server's own account of its queue and service, that is, how late a request "
        "was sent and HTTP at both ends; at the p95, of the requests whose account lies there. *off "
        "recursion*, *late p99*, *HTTP p99*: the worst repeat's. Intervals are Student's over repeats, each "
        "without its first sixth.",
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
    parser.add_argument("--quick", action="store_true", help="two repeats of two seconds: a try, no result")
    parser.add_argument("--at-most", type=float, help="seconds that this call may take")
    parser.add_argument("--out", type=Path, help="JSON with every repeat; its page goes beside it")
    arguments = parser.parse_args()
    plan = {key: (2, 2.0) if arguments.quick else whole for key, whole in PLAN.items()}
    settings = {
        "service_s": [[*key, SERVICE_S[key[1]]] for key in plan],
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
            found = measure(queue, utilisation, repeat, seed_of(arguments.seed, repeat), seconds)
            record.add(asdict(found))
    rows = page(record, sum(count for count, _ in plan.values()))
    if unfinished:
        return UNFINISHED
    return int(any(row.word == "DOES NOT HOLD" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
