"""Does a search over real sockets find the capacities of two servers, and their ratio?

    python benchmarks/bench_load_capacity.py [--quick] [--at-most S] [--out FILE]

Three arms of one server with a single serial worker: 4 ms a request, 4 ms again (nothing may differ), 5 ms.
Each is searched and swept under ``p95<25ms`` by the code that `xlmr-load study` and `ab` use, in blocks of
Poisson arrivals, the arms in turn and on the same arrivals. Held against the closed form of M/D/1: does each
capacity's interval hold it, does the interval of the slower arm's ratio hold the closed form's and exclude 1,
and does the interval of the arm's ratio to itself hold 1? Every probe is kept as it comes, so that
``--at-most S`` ends early with status 75 and the next call goes on from there: a search asks the same
questions again and finds the answers. Exit status 1 where an answer is no and the machine was quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load_capacity_rows import findings, probes_table, quiet, table_of
from benchmarks.load_record import UNFINISHED, Budget, LoadRecord
from loadtest.driver.run import RunOptions, run
from loadtest.report.records import Distribution, Goodput, Group, Summary
from loadtest.report.summary import write_summary
from loadtest.study.capacity_search import Swept, plan_of, search, target_of
from loadtest.study.study_file import CapacityTable
from loadtest.trace.arrivals import parse_law
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import CARD, NLI, null_server, write_arm, write_trace

if TYPE_CHECKING:
    from loadtest.analysis.capacity_search import Plan

OBJECTIVE = "p95<25ms"
SERVICE_S = {"4 ms": 0.004, "4 ms again": 0.004, "5 ms": 0.005}
BLOCK_S, REPLICATES = 3.0, 3
MIN_CORES = 2


class OutOfTimeError(Exception):
    """The call's time is over; what was probed is kept."""


class Probes:
    """Makes blocks against the null server, or finds them in the record."""

    def __init__(self, record: LoadRecord, budget: Budget, url: str, seed: int, block_s: float) -> None:
        self._record = record
        self._budget = budget
        self._url = url
        self._seed = seed
        self._block_s = block_s

    def make(self, arm: str, rate_per_s: float, number: int) -> Summary:
        """Return the block of an arm at a rate; those of one number share their arrivals, stretched.

        Raises:
            OutOfTimeError: it is not there yet, and there is no time for it.
        """
        for row in self._record.rows:
            if (row["arm"], row["number"]) == (arm, number) and np.isclose(row["rate_per_s"], rate_per_s):
                return _summary(row)
        if not self._budget.allows_another():
            raise OutOfTimeError
        sys.stderr.write(f"{arm} at {rate_per_s:.1f}/s, arrivals {number}\n")
        row = self._measure(arm, rate_per_s, number)
        self._record.add(row)
        return _summary(row)

    def _measure(self, arm: str, rate_per_s: float, number: int) -> dict[str, Any]:
        law = f"poisson:{rate_per_s:.6g}"
        arrivals = parse_law(law).times_us(self._block_s, np.random.default_rng([self._seed, number]))
        with tempfile.TemporaryDirectory(prefix="bench_load_capacity_") as name:
            folder = Path(name)
            out = folder / "out"
            run(
                RunOptions(
                    trace=write_trace(folder / "trace", arrivals.tolist(), law=law),
                    target=self._url,
                    arm=write_arm(folder / "arm.toml", xnli=variant_of(arm)),
                    out=out,
                    objectives=(OBJECTIVE,),
                )
            )
            found = write_summary(out).overall
            summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
            gauges = json.loads((out / "run.json").read_text(encoding="utf-8"))["gauges"]
            took_ms = (pl.col("done_us") - pl.col("intended_us")) / 1e3
            cost_ms = read_samples(out).select((took_ms - pl.col("total_ms")).mean()).item()
        goodput = found.goodput
        return {
            "arm": arm,
            "rate_per_s": rate_per_s,
            "number": number,
            "num_requests": found.n,
            "in_time_ratio": None if goodput is None else goodput.ratio,
            "goodput_per_s": None if goodput is None else goodput.per_s,
            "p95_s": found.latency_s.p95,
            "cost_mean_s": None if cost_ms is None else cost_ms / 1e3,
            "reasons": summary["reasons"],
            "steal_ratio": gauges["steal_ratio"],
            "hub_delay_p99_s": gauges["hub_delay_p99_s"],
        }


def variant_of(arm: str) -> str:
    """Return the variant that answers for an arm."""
    return f"{arm.replace(' ', '-')}.xnli"


def _summary(row: dict[str, Any]) -> Summary:
    """Return as much of a run's summary as a search reads."""
    goodput = None
    if row["in_time_ratio"] is not None:
        limit_s = target_of(OBJECTIVE).limit_s
        goodput = Goodput(objective_s=limit_s, per_s=row["goodput_per_s"], ratio=row["in_time_ratio"])
    latency = Distribution(n=row["num_requests"], mean=None, p50=None, p95=row["p95_s"], p99=None, max=None)
    overall = Group.model_construct(n=row["num_requests"], latency_s=latency, goodput=goodput)
    return Summary.model_construct(reasons=tuple(row["reasons"]), overall=overall)


def page(record: LoadRecord, swept: Swept) -> bool:
    """Write the page; say whether every figure holds, or the machine was not quiet."""
    target = target_of(OBJECTIVE)
    costs = [row["cost_mean_s"] for row in record.rows if row["cost_mean_s"] is not None]
    num_quiet, cost_s = sum(quiet(row) for row in record.rows), float(np.mean(costs))
    found = findings(swept.blocks, SERVICE_S, target.limit_s, target.share, cost_s)
    num_invalid = sum(bool(row["reasons"]) for row in record.rows)
    num_held = sum(one.word == "holds" for one in found)
    text = (
        f"{num_held} of {len(found)} figures hold. One serial worker behind a real socket, constant service "
        f"times, Poisson arrivals in blocks of {record.settings['block_s']:g} s that start empty; capacity "
        f"is where {target.share:.0%} of a block's requests are answered within {1e3 * target.limit_s:g} ms. "
        "*Holds*: the 95 % interval reaches the closed form of M/D/1 (under the whole limit, or under what "
        f"is left of it by the mean cost of {1e3 * cost_s:.2f} ms beside the server's own account), the "
        "slower arm's ratio excludes 1, the ratio of the arm to itself holds it. Services differ by 1.25 and "
        "capacities by more, since the slower server has fewer services within the limit. "
        f"{len(record.rows)} blocks, {num_invalid} not valid and made again, {num_quiet} quiet."
    )
    record.write_page(
        "Capacities of two servers, and their ratio",
        text,
        table_of(found),
        "Each arm was searched and then swept around its own capacity, arms in turn and on the same arrivals "
        "(the sweep's blocks are those below). The share of requests in time, block by block:",
        probes_table(swept.blocks),
    )
    sys.stdout.write(f"{table_of(found)}\n\n{text}\n")
    return num_held == len(found) or num_quiet < len(record.rows)


def planned(*, quick: bool) -> tuple[Plan, float, int]:
    """Return how to search, the seconds of a block, and how many rates a search may try."""
    table = CapacityTable(
        objective=OBJECTIVE,
        replicates=1 if quick else REPLICATES,
        replicate_s=1.0 if quick else BLOCK_S,
    )
    start = 0.5 / next(iter(SERVICE_S.values()))
    plan = plan_of(table, target_of(OBJECTIVE), start)
    # A try must run through, whatever it finds: four blocks from idle to overloaded.
    tried = replace(plan, precision_ratio=1.5, sweep_ratios=(0.5, 0.8, 1.2, 1.6)) if quick else plan
    return tried, table.replicate_s, table.max_probes


def main() -> int:
    """Search and sweep all arms, and print what holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one short block a rate: a try, no result")
    parser.add_argument("--at-most", type=float, help="seconds that this call may take")
    parser.add_argument("--out", type=Path, help="JSON with every block; its page goes beside it")
    arguments = parser.parse_args()
    plan, block_s, max_probes = planned(quick=arguments.quick)
    settings = {
        "objective": OBJECTIVE,
        "service_s": SERVICE_S,
        "block_s": block_s,
        "num_search_blocks": plan.num_blocks,
        "num_sweep_blocks": plan.num_sweep_blocks,
        "sweep_ratios": plan.sweep_ratios,
        "seed": arguments.seed,
        "quick": arguments.quick,
    }
    record, budget = LoadRecord(arguments.out, settings), Budget(arguments.at_most)
    first = next(iter(SERVICE_S.values()))
    options = {
        "variants": [{**CARD, "name": variant_of(arm)} for arm in SERVICE_S],
        "outputs": {
            variant_of(arm): {"label": "neutral", "scores": dict.fromkeys(NLI, 1 / 3)} for arm in SERVICE_S
        },
        "service_s": first,
        "service_ratios": {variant_of(arm): own / first for arm, own in SERVICE_S.items()},
    }
    with null_server(**options) as world:
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) >= MIN_CORES:
            os.sched_setaffinity(world.process.pid, {cores[1]})
        probes = Probes(record, budget, world.url, arguments.seed, block_s)
        try:
            rng = np.random.default_rng(arguments.seed)
            swept = search(tuple(SERVICE_S), plan, max_probes, probes.make, rng)
        except OutOfTimeError:
            sys.stdout.write(f"{len(record.rows)} blocks so far.\n")
            return UNFINISHED
    if swept.reason:
        sys.stdout.write(f"No sweep: {swept.reason}.\n")
        return 1
    return int(not page(record, swept))


if __name__ == "__main__":
    sys.exit(main())
