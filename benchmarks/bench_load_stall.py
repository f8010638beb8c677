"""What one stall of two seconds looks like in an open loop, and in a closed one.

    python benchmarks/bench_load_stall.py [--seconds 10] [--repeats 3] [--quick] [--out FILE]

A server with one serial worker of 4 ms stalls once for 2 s. Sent 50 requests a second whatever it does, every
request that was due during the stall waited for it: p95 is near 1.7 s. Ten clients that wait for their
answers stop asking while it stalls, and report about 0.05 s: omission, not speed. Exit status 1 where
it is not so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load_record import UNFINISHED, Budget, LoadRecord, markdown_table
from loadtest.driver.run import RunOptions, run
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import every, null_server, write_arm, write_trace

RATE_PER_S, STALL_S, SERVICE_S, CLIENTS = 50, 2.0, 0.004, 10
SHARES = (0.5, 0.9, 0.95, 0.99)
# Of 500 arrivals 100 come during the stall: the 25th of them, p95, waits three quarters of 2 s and more.
SHOWN_S, HIDDEN_S = 1.5, 0.2


def measure(law: str, times_us: list[int]) -> dict[str, float | str | int]:
    """Send one schedule to a server that stalls a second after its first request."""
    with (
        tempfile.TemporaryDirectory(prefix="bench_load_stall_") as name,
        null_server(service_s=SERVICE_S, stall_at_s=1.0, stall_s=STALL_S) as world,
    ):
        folder = Path(name)
        options = RunOptions(
            trace=write_trace(folder / "trace", times_us, law=law),
            target=world.url,
            arm=write_arm(folder / "arm.toml", xnli="v.xnli"),
            out=folder / "out",
        )
        run(options)
        samples = read_samples(options.out)
        gauges = json.loads((options.out / "run.json").read_text(encoding="utf-8"))["gauges"]
    latency_s = (samples["done_us"] - samples["intended_us"]).to_numpy() / 1e6
    row: dict[str, float | str | int] = {"law": law, "n": samples.height}
    for share in SHARES:
        row[f"p{share * 100:g}_s"] = float(np.quantile(latency_s, share, method="inverted_cdf"))
    return {**row, "steal_ratio": gauges["steal_ratio"], "hub_delay_p99_s": gauges["hub_delay_p99_s"]}


def page(record: LoadRecord) -> bool:
    """Write and print what was seen; whether the stall shows in the open loop and hides in the closed one."""
    laws = list(dict.fromkeys(row["law"] for row in record.rows))
    lines = []
    for law in laws:
        of = [row for row in record.rows if row["law"] == law]
        shown = (
            f"{1e3 * float(np.median([row[f'p{100 * share:g}_s'] for row in of])):.0f}" for share in SHARES
        )
        lines.append([law, str(len(of)), str(of[0]["n"]), *shown])
    open_s = [row["p95_s"] for row in record.rows if row["law"].startswith("constant")]
    closed_s = [row["p95_s"] for row in record.rows if row["law"].startswith("closed")]
    good = min(open_s, default=0.0) >= SHOWN_S and max(closed_s, default=0.0) <= HIDDEN_S
    table = markdown_table(["law", "repeats", "requests", "p50", "p90", "p95", "p99"], lines)
    said = (
        f"A server with one serial worker of {1e3 * SERVICE_S:g} ms stalls once for {STALL_S:g} s; latency "
        f"in ms, medians over repeats. Wanted: the open loop's p95 shows the stall (at least {SHOWN_S:g} s), "
        f"the closed loop's does not (at most {HIDDEN_S:g} s). "
        f"{'It is so in every repeat.' if good else '**It is not so.**'}"
    )
    record.write_page("A stall, in an open and in a closed loop", said, table)
    sys.stdout.write(f"{table}\n\n{said}\n")
    return good


def main() -> int:
    """Send both loops, repeats in turn, and print their percentiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one repeat: a try, no result")
    parser.add_argument("--at-most", type=float, help="seconds that this call may take")
    parser.add_argument("--out", type=Path, help="JSON with every row; its page goes beside it")
    arguments = parser.parse_args()
    repeats = 1 if arguments.quick else arguments.repeats
    settings = {"seconds": arguments.seconds, "repeats": repeats, "quick": arguments.quick}
    record, budget = LoadRecord(arguments.out, settings), Budget(arguments.at_most)
    count = round(RATE_PER_S * arguments.seconds)
    loops = ((f"constant:{RATE_PER_S}", every(1 / RATE_PER_S, count)), (f"closed:{CLIENTS}", [0] * count))
    for repeat in range(repeats):
        for law, times_us in loops:
            if record.has(law=law, repeat=repeat):
                continue
            if not budget.allows_another():
                return UNFINISHED
            sys.stderr.write(f"{law}, repeat {repeat + 1} of {repeats}\n")
            record.add({"repeat": repeat, **measure(law, times_us)})
    return 0 if page(record) else 1


if __name__ == "__main__":
    sys.exit(main())
