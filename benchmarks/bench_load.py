"""Everything that the load tester must show of itself, in one go; `make bench-load`.

    python benchmarks/bench_load.py [--quick] [--only rate,queues,..] [--at-most S] [--out docs/benchmarks]

Runs each part as a program of its own, one after the other: rates and lateness against a null server, queues
against closed forms, capacities and their ratio, a stall, and the calibration of every interval. Each writes
load-PART.md (its table and what it means) and load-PART.json (every repeat, with environment and commit). A
call that was stopped, or that ``--at-most S`` ended (status 75), goes on with the next. ``--quick`` tries
every part in about four minutes, into a folder of its own; its figures are no result and say so. Exit status
1 where a part failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNFINISHED = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One program."""

    name: str
    title: str
    script: str


PARTS = (
    Part(name="rate", title="Rates that one core sends on time", script="bench_load_rate.py"),
    Part(name="queues", title="Queues against their closed forms", script="bench_load_queues.py"),
    Part(
        name="capacity", title="Capacities of two servers, and their ratio", script="bench_load_capacity.py"
    ),
    Part(name="stall", title="A stall, in an open and in a closed loop", script="bench_load_stall.py"),
    Part(name="statistics", title="Coverage of every interval", script="bench_statistics.py"),
)


def execute(part: Part, out: Path, *, quick: bool, at_most_s: float | None) -> int:
    """Run a part, and return its status."""
    words = [
        sys.executable,
        str(ROOT / "benchmarks" / part.script),
        "--out",
        str(out / f"load-{part.name}.json"),
    ]
    if quick:
        words.append("--quick")
    if at_most_s is not None:
        words += ["--at-most", f"{at_most_s:.0f}"]
    sys.stdout.write(f"\n{part.title}\n\n")
    sys.stdout.flush()
    return subprocess.run(words, cwd=ROOT, check=False).returncode


def main() -> int:
    """Run every part; each writes what it found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--only", default=",".join(part.name for part in PARTS), help="parts, joined by commas"
    )
    parser.add_argument("--at-most", type=float, help="seconds that this call may take")
    parser.add_argument("--out", type=Path, help="folder of the pages; docs/benchmarks, or var for a try")
    arguments = parser.parse_args()
    out = arguments.out or ROOT / ("var/bench-load" if arguments.quick else "docs/benchmarks")
    chosen = [part for part in PARTS if part.name in arguments.only.split(",")]
    begun_at, failed = time.monotonic(), []
    for part in chosen:
        left_s = None if arguments.at_most is None else arguments.at_most - (time.monotonic() - begun_at)
        status = (
            UNFINISHED
            if left_s is not None and left_s <= 0
            else execute(part, out, quick=arguments.quick, at_most_s=left_s)
        )
        if status == UNFINISHED:
            sys.stdout.write(f"Not finished ({part.name}): call again, and it goes on from there.\n")
            return UNFINISHED
        if status:
            failed.append(part.name)
    sys.stdout.write(f"results: {out}\n" if not failed else f"failed: {', '.join(failed)}; see {out}\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
