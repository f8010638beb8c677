"""How cost grows with load, number of variants, length and HTTP processes; `make bench-scale`.

    python benchmarks/bench_scale.py [--quick] [--size base] [--parts load,variants,..] [--stop-after S]

CPU time of the service a request (all its processes), latency, and throughput: against the offered load, as
Poisson arrivals at shares of what a closed loop reaches; against the number of variants that share the same
load; against the length of the texts; and, on a mini model, against the HTTP processes. What is compared
runs in turns. Every finished measurement is kept below ``--models``, and the same command goes on where it
was stopped; ``--stop-after`` stops it in time. A part is in the results when it is whole, and parts that are
not asked for stay as they are there. Writes scale.md, scale.json and scale.svg into docs/benchmarks;
``--quick`` takes two minutes, and its figures are no result, say so, and are written elsewhere.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import uvloop
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmarks.http_client import AnswerError
from benchmarks.peers_store import Store, StoreError
from benchmarks.scale_chart import chart
from benchmarks.scale_parts import CASES, Bench, settings_of
from benchmarks.scale_report import page, tables_of, verdicts
from benchmarks.server_process import ServerError
from loadtest.driver.environment import describe_environment
from models.synthetic import Size

ROOT = Path(__file__).resolve().parents[1]
_FAILED, _USAGE = 1, 2


async def measure(
    arguments: argparse.Namespace, progress: Progress, record: dict[str, Any], until: float
) -> bool:
    """Run the parts; each is written when it is whole. Return whether all are."""
    is_whole = True
    for part in arguments.parts:
        store = Store(_kept(arguments, part))
        total = arguments.repeats * len(CASES[part])
        kept = store.under(part, settings_of(arguments))
        there = len([one for one in kept if one["cell"]["repeat"] is not None])
        bar = progress.add_task(part, total=total, completed=min(there, total))
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(arguments, Path(folder), until, lambda bar=bar: progress.advance(bar))  # type: ignore[misc]  # a lambda's default
            is_part_whole = await bench.run(part, store)
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        store.put(("sitting", part, at), seconds=time.perf_counter() - began)
        if is_part_whole:
            record["parts"][part] = _part(arguments, part, store, at)
            write(arguments.out, record)
        is_whole = is_whole and is_part_whole
    if is_whole:  # the next run measures anew
        for part in arguments.parts:
            _kept(arguments, part).unlink(missing_ok=True)
    return is_whole


def _kept(arguments: argparse.Namespace, part: str) -> Path:
    found: Path = arguments.models / f"scale-{part}{'-quick' if arguments.quick else ''}.jsonl"
    return found


def _part(arguments: argparse.Namespace, part: str, store: Store, at: str) -> dict[str, Any]:
    return {
        "at": at,
        "environment": {key: value for key, value in describe_environment().items() if key != "host"},
        "seconds": sum(one["seconds"] for one in store.under("sitting", part)),
        "repeats": arguments.repeats,
        "size": arguments.size.value if part != "workers" else Size.MINI.value,
        "seed": arguments.seed,
        "quick": arguments.quick,
        "cells": [one["cell"] for one in store.under(part, settings_of(arguments))],
    }


def write(out: Path, record: dict[str, Any]) -> None:
    """Write table, chart and everything that was seen."""
    out.mkdir(parents=True, exist_ok=True)
    record["verdicts"] = verdicts(record["parts"])
    (out / "scale.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (out / "scale.svg").write_text(chart(record["parts"]), encoding="utf-8")
    (out / "scale.md").write_text(page(record), encoding="utf-8")


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=Size, default=Size.BASE, choices=list(Size))
    parser.add_argument("--parts", type=lambda given: given.split(","), default=list(CASES))
    parser.add_argument("--data", default="bundled", help="folder of data sets; else the sample")
    parser.add_argument("--requests", type=int, default=400, help="a measurement")
    parser.add_argument("--tokens", type=int, default=16_384, help="a measurement of a length")
    parser.add_argument("--load-s", type=float, default=20.0, help="a measurement of an offered load")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--stop-after",
        type=float,
        default=float("inf"),
        metavar="S",
        help="begin nothing that would end later",
    )
    parser.add_argument("--models", type=Path, default=ROOT / "var" / "benchmarks")
    parser.add_argument("--out", type=Path, default=None, help="docs/benchmarks")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(CASES):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if arguments.quick:
        arguments.size, arguments.repeats, arguments.requests, arguments.tokens = Size.MINI, 1, 200, 4096
        arguments.load_s = 4.0
    if arguments.out is None:  # a quick try must not take the place of a result
        arguments.out = arguments.models / "quick" if arguments.quick else ROOT / "docs" / "benchmarks"
    return arguments


def main() -> int:
    """Measure, print, write."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that servers are ended
    arguments, console = read_arguments(), Console(width=150)
    record: dict[str, Any] = {"parts": {}}
    earlier = arguments.out / "scale.json"
    if earlier.exists():
        record = json.loads(earlier.read_text(encoding="utf-8"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    is_whole = False
    try:
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
            is_whole = uvloop.run(measure(arguments, progress, record, began + arguments.stop_after))
    except (StoreError, ServerError, AnswerError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return _USAGE if isinstance(error, StoreError) else _FAILED
    except KeyboardInterrupt:
        console.print("Interrupted.")
    for title, lines in tables_of(record["parts"]).items():
        console.print(f"\n{title}\n{lines}", markup=False, highlight=False, soft_wrap=True)
    console.print("\n" + "\n".join(verdicts(record["parts"])), markup=False, highlight=False, soft_wrap=True)
    console.print(f"This took {(time.monotonic() - began) / 60:.1f} minutes.")
    console.print(f"results: {arguments.out / 'scale.md'}", soft_wrap=True)
    if not is_whole:
        console.print("Stopped; what was finished is kept, and the same command goes on from there.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
