"""What one stall of two seconds looks like in an open loop, and in a closed one.

    python benchmarks/bench_load_stall.py [--seconds 10] [--quick] [--out FILE]

A server with one serial worker of 4 ms stalls once for 2 s. Sent 50 requests a second whatever it does, every
request that was due during the stall waited for it: p95 is near 1.7 s. Ten clients that wait for their
answers stop asking while it stalls, and report about 0.05 s: omission, not speed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadtest.driver.run import RunOptions, run
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import every, null_server, write_arm, write_trace

RATE_PER_S, STALL_S, SERVICE_S, CLIENTS = 50, 2.0, 0.004, 10
WIDTH = 110


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
    for share in (0.5, 0.9, 0.95, 0.99):
        row[f"p{share * 100:g}_s"] = float(np.quantile(latency_s, share, method="inverted_cdf"))
    return {**row, "steal_ratio": gauges["steal_ratio"], "hub_delay_p99_s": gauges["hub_delay_p99_s"]}


def main() -> int:
    """Send both loops and print their percentiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    parser.add_argument("--out", type=Path, help="JSON with both rows")
    arguments = parser.parse_args()
    count = round(RATE_PER_S * arguments.seconds)
    console = Console(width=WIDTH)
    with Console(stderr=True).status("two runs"):
        rows = [
            measure(f"constant:{RATE_PER_S}", every(1 / RATE_PER_S, count)),
            measure(f"closed:{CLIENTS}", [0] * count),
        ]
    table = Table(title=f"one stall of {STALL_S:g} s, latency in ms")
    for head in ("law", "n", "p50", "p90", "p95", "p99"):
        table.add_column(head, justify="right")
    for row in rows:
        shown = (f"{1e3 * float(row[f'p{p}_s']):.0f}" for p in (50, 90, 95, 99))
        table.add_row(str(row["law"]), str(row["n"]), *shown)
    console.print(table)
    if arguments.out:
        arguments.out.write_text(json.dumps({"rows": rows}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
