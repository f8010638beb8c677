"""The service beside its peers on the same checkpoints, texts and client; `make bench-peers`.

    python benchmarks/bench_peers.py [--quick] [--only NAME,..] [--data DIR] [--tokenizer FILE] [--tune]

Servers take turns, one alive at a time, in another order in each round. Every finished cell is kept in
``--var``, and the same command goes on where it was stopped; ``--stop-after`` stops it in time. Peers get
environments of their own there. Writes peers-quick or peers-full (.md, .json) into docs/benchmarks.
``--tune`` first measures each peer's candidates of settings, of which the best is then used; without it
those count that are recorded in benchmarks/peers. ``--quick`` begins nothing that would end after twenty
minutes, in which making the environments, once, is not counted.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console

from benchmarks.peers_bench import make_bench
from benchmarks.peers_report import page, record_of
from benchmarks.peers_store import StoreError
from benchmarks.peers_systems import systems
from benchmarks.peers_visits import prepare, run, tune
from loadtest.datasets.examples import DataError
from loadtest.datasets.library import BUNDLED
from loadtest.driver.environment import describe_environment
from models.tokenizer import TokenizerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.peers_bench import Bench

ROOT = Path(__file__).resolve().parents[1]
# The quick grid ends within twenty minutes, come what may; the page is written in the rest.
_QUICK_S = 1170.0
_USAGE, _INTERRUPTED = 2, 130


def write(bench: Bench, out: Path) -> Path:
    """Write what is there so far as a page and as JSON; return the page."""
    record = record_of(bench.store, bench.trials, bench.grid, systems())
    out.mkdir(parents=True, exist_ok=True)
    name = f"peers-{bench.grid.name}"
    (out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    text = page(record, bench.grid)
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    bench.console.print(text, markup=False, highlight=False, soft_wrap=True)
    return out / f"{name}.md"


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the goals' cells, in under twenty minutes")
    parser.add_argument("--tune", action="store_true", help="measure the peers' candidates of settings first")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the page again")
    names = [system.name for system in systems()]
    parser.add_argument("--only", default=None, help=f"of {','.join(names)}")
    parser.add_argument("--rounds", type=int, default=None, help="fewer than the grid has")
    parser.add_argument("--data", default=BUNDLED, help="a folder of XTREME-R's files, or bundled")
    parser.add_argument("--tokenizer", type=Path, default=None, help="XLM-R's tokenizer.json")
    parser.add_argument("--size", default="base", choices=("mini", "base", "large"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-after", type=float, metavar="S", help="begin nothing that would end later")
    parser.add_argument("--var", type=Path, default=ROOT / "var" / "peers")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    arguments = parser.parse_args()
    arguments.began = time.monotonic()
    usual = [system.name for system in systems() if not system.is_extra or not arguments.quick]
    wanted = usual if arguments.only is None else arguments.only.split(",")
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"no system {', '.join(unknown)}; known are {', '.join(names)}")
    arguments.systems = [system for system in systems() if system.name in wanted]
    return arguments


def main() -> int:
    """Measure what is pending, write the page."""
    arguments, console = read_arguments(), Console(width=150)
    # A server must not outlive a benchmark that is told to end.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        bench = make_bench(arguments, console)
    except (StoreError, DataError, TokenizerError) as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return _USAGE
    is_whole, status = True, 0
    if not arguments.report:
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        environment = {key: value for key, value in describe_environment().items() if key != "host"}
        try:
            is_whole = measure_all(bench, arguments, at, environment)
        except KeyboardInterrupt:
            is_whole, status = False, _INTERRUPTED
        spent_s = time.monotonic() - arguments.began
        bench.store.put(("session", at), environment=environment, wall_s=round(spent_s, 1))
        console.print(f"This took {spent_s / 60:.1f} minutes.")
    console.print(f"results: {write(bench, arguments.out)}", soft_wrap=True)
    if not is_whole:
        console.print("Stopped; what was finished is kept, and the same command goes on from there.")
    return status


def measure_all(
    bench: Bench, arguments: argparse.Namespace, at: str, environment: Mapping[str, object]
) -> bool:
    """Make environments, tune where asked, make the visits; return whether none was left out."""
    pythons = prepare(bench, arguments.systems)
    if arguments.stop_after is None and arguments.quick:
        bench = replace(bench, until=time.monotonic() + _QUICK_S)
    bench.store.put(("session", at), environment=environment)
    if arguments.tune:
        for system in arguments.systems:
            if system.name in pythons:
                tune(bench, system, pythons[system.name])
    most = bench.grid.num_rounds
    rounds = most if arguments.rounds is None else min(arguments.rounds, most)
    return run(bench, pythons, rounds)


if __name__ == "__main__":
    sys.exit(main())
