"""The service beside its peers on the same checkpoints, texts and client; `make bench-peers`.

    python benchmarks/bench_peers.py [--quick] [--only NAME,..] [--data DIR] [--tokenizer FILE] [--tune]

Servers take turns, one alive at a time, in another order in each round. Every finished cell is kept in
``--var``, and the same command goes on where it was stopped; ``--stop-after`` stops it in time. Peers get
environments of their own there. Writes peers-quick or peers-full (.md, .json) into docs/benchmarks.
``--tune`` first measures each peer's candidates of settings, of which the best is then used.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.peers_goals import capacity_of
from benchmarks.peers_grid import Cell, Grid, Kind, Load, Mix, full, quick
from benchmarks.peers_measure import measure, try_settings, warm_up
from benchmarks.peers_report import page, record_of
from benchmarks.peers_results import cells_of, chosen_settings, throughputs
from benchmarks.peers_server import STOP_TIMEOUT_S, ServerError, install, running, versions
from benchmarks.peers_store import Store, StoreError
from benchmarks.peers_systems import LABELS, Place, System, systems
from benchmarks.peers_trace import Item, build, digest_of
from loadtest.datasets.examples import DataError
from loadtest.datasets.library import BUNDLED, open_library
from loadtest.driver.environment import describe_environment
from models.synthetic import Size, write_checkpoint
from models.tokenizer import Tokenizer, TokenizerError, bundled_file
from models.variant import HeadKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from benchmarks.peers_server import Running
    from benchmarks.peers_systems import Settings

ROOT = Path(__file__).resolve().parents[1]
# Of a visit that was never made: starting, warming up and all cells of the quick grid.
_GUESSED_VISIT_S = 110.0
# The quick grid ends within twenty minutes, come what may; the page is written in the rest.
_QUICK_S = 1170.0
_USAGE, _INTERRUPTED = 2, 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything that stays the same during a benchmark."""

    grid: Grid
    store: Store
    tuning: Store
    traces: Mapping[Mix, tuple[Item, ...]]
    checkpoints: Mapping[Kind, Path]
    catalogue: Path
    var: Path
    seed: int
    until: float
    console: Console

    def log(self, system: System) -> Path:
        """Return where a server's words go."""
        return self.var / "logs" / f"{system.name}.log"

    def left(self, needed_s: float) -> bool:
        """Whether something that long still fits in."""
        return time.monotonic() + needed_s < self.until

    def settings(self, system: System) -> Settings:
        """Return what a system is started with."""
        return chosen_settings(self.tuning.under("trial", system.name), system.candidates)

    def pending(self, system: System, number: int) -> list[Cell]:
        """Return what a visit still has to measure, in this visit's own order."""
        cells = [
            cell
            for cell in self.grid.of_round(number)
            if ("cell", system.name, str(number), cell.name) not in self.store
        ]
        order = random.Random(f"{self.seed} {number} {system.name}")  # noqa: S311 - an order, no secret
        return order.sample(cells, len(cells))

    def visit_s(self) -> float:
        """Return how long the longest visit took."""
        return max((visit["wall_s"] for visit in self.store.under("visit")), default=_GUESSED_VISIT_S)


def make_checkpoints(var: Path, tokenizer: Path, size: Size) -> tuple[dict[Kind, Path], Path]:
    """Write the two synthetic checkpoints and the service's catalogue, where they are not there yet."""
    folders = {kind: var / "checkpoints" / size / str(kind) for kind in Kind}
    for kind, folder in folders.items():
        stored = folder / "tokenizer.json"
        if not stored.is_file() or stored.read_bytes() != tokenizer.read_bytes():
            write_checkpoint(
                folder,
                head=HeadKind(str(kind)),
                labels=LABELS if kind is Kind.CLASSIFY else (),
                size=size,
                tokenizer_file=tokenizer,
            )
    catalogue = var / "catalogue.toml"
    pooling = {Kind.EMBED: 'pooling = "mean"\nnormalize = true\n', Kind.CLASSIFY: ""}
    catalogue.write_text(
        "\n".join(
            f'[[variant]]\nname = "{kind}"\nhead = "{kind}"\ncheckpoint = "{folder}"\n{pooling[kind]}'
            for kind, folder in folders.items()
        ),
        encoding="utf-8",
    )
    return folders, catalogue


def make_bench(arguments: argparse.Namespace, console: Console) -> Bench:
    """Prepare texts, checkpoints and what was measured so far.

    Raises:
        StoreError: what was measured had other texts.
    """
    tokenizer_file = arguments.tokenizer or bundled_file()
    tokenizer = Tokenizer.from_file(tokenizer_file)
    library = open_library(arguments.data)
    traces = {mix: build(mix, library, tokenizer, arguments.seed) for mix in Mix}
    with console.status("checkpoints"):
        checkpoints, catalogue = make_checkpoints(arguments.var, tokenizer_file, Size(arguments.size))
    grid = quick() if arguments.quick else full()
    store = Store(arguments.var / f"{grid.name}.jsonl")
    setup = {
        "seed": arguments.seed,
        "size": arguments.size,
        "texts": "the bundled sample" if arguments.data == BUNDLED else "XTREME-R's files",
        "tokenizer": "XLM-R's or another given one" if arguments.tokenizer else "the bundled small one",
        "traces": {str(mix): digest_of(items) for mix, items in traces.items()},
        "vocab_size": tokenizer.vocab_size,
    }
    before = store.get("setup")
    if before is None:
        lengths = {str(mix): _lengths(items) for mix, items in traces.items()}
        store.put(("setup",), **setup, lengths=lengths)
    elif any(before[name] != value for name, value in setup.items()):
        raise StoreError(
            f"{arguments.var}/{grid.name}.jsonl was measured with other texts, tokenizer, size or seed; give "
            "those again, or move the file away to start anew"
        )
    return Bench(
        grid=grid,
        store=store,
        tuning=Store(arguments.var / "tuning.jsonl"),
        traces=traces,
        checkpoints=checkpoints,
        catalogue=catalogue,
        var=arguments.var,
        seed=arguments.seed,
        until=time.monotonic() + arguments.stop_after,
        console=console,
    )


def _lengths(items: Sequence[Item]) -> dict[str, float]:
    counts = sorted(item.num_tokens for item in items)
    return {
        "items": len(counts),
        "mean_tokens": round(sum(counts) / len(counts), 1),
        "p50_tokens": counts[len(counts) // 2],
        "p95_tokens": counts[int(len(counts) * 0.95)],
        "max_tokens": counts[-1],
    }


def tune(bench: Bench, system: System, python: Path) -> None:
    """Measure each candidate of a peer's settings that was not measured before."""
    for settings in system.candidates:
        key = ("trial", system.name, json.dumps(settings, sort_keys=True))
        if len(system.candidates) == 1 or key in bench.tuning or not bench.left(_GUESSED_VISIT_S / 2):
            continue
        try:
            found = asyncio.run(_try(bench, system, settings, python))
        except ServerError as error:
            found = {"score": None, "why": str(error)}
        bench.tuning.put(key, settings=settings, **found)
        bench.console.print(f"tried {system.name} {settings}: {found}", soft_wrap=True)


async def _try(bench: Bench, system: System, settings: Settings, python: Path) -> dict[str, Any]:
    async with _served(bench, system, settings, python) as server:
        return await try_settings(server, bench.traces)


def _served(
    bench: Bench, system: System, settings: Settings, python: Path
) -> AbstractAsyncContextManager[Running]:
    place = Place(
        python=python, checkpoints=bench.checkpoints, catalogue=bench.catalogue, log=bench.log(system)
    )
    return running(system, settings, place)


async def visit(bench: Bench, system: System, number: int, python: Path, progress: Progress) -> None:
    """Start a server, measure what is pending of a round, end it.

    Raises:
        ServerError: it cannot be started.
    """
    cells, settings, began = bench.pending(system, number), bench.settings(system), time.perf_counter()
    bar = progress.add_task(f"round {number}, {system.title}", total=len(cells))
    async with _served(bench, system, settings, python) as server:
        for kind in {cell.kind: None for cell in cells}:
            await warm_up(server, kind, bench.traces[Mix.MIXED])
        for cell in cells:
            rate = _rate(bench, cell.group) * cell.level if cell.load is Load.OPEN else 0.0
            if cell.load is not Load.OPEN or rate > 0:
                found = await measure(
                    server, cell, bench.traces[cell.mix], seed=bench.seed, number=number, rate_per_s=rate
                )
                bench.store.put(("cell", system.name, str(number), cell.name), **found)
            progress.advance(bar)
        bench.store.put(
            ("visit", system.name, str(number)),
            settings=settings,
            start_s=round(server.start_s, 1),
            memory_bytes=server.memory_bytes(),
            wall_s=round(time.perf_counter() - began, 1),
            load_average=os.getloadavg()[0],
        )
    progress.remove_task(bar)


def _rate(bench: Bench, group: tuple[Kind, Mix]) -> float:
    """Return the best peer's capacity as the first round found it; declared once."""
    known = bench.store.get("capacity", *group)
    if known is not None:
        return float(known["per_s"])
    first = {
        name: {system: {0: by_round[0]} for system, by_round in rounds.items() if 0 in by_round}
        for name, rounds in throughputs(cells_of(bench.store), bench.grid).items()
    }
    peers = [system.name for system in systems() if system.is_peer]
    capacity = capacity_of(first, bench.grid, group, peers)
    if capacity > 0:
        bench.store.put(("capacity", *group), per_s=capacity)
    return capacity


def run(bench: Bench, chosen: Sequence[System], pythons: Mapping[str, Path], rounds: int) -> bool:
    """Make all visits that are pending and fit; return whether none was left out for want of time."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=bench.console, transient=True) as progress:
        whole = progress.add_task("visits", total=rounds * len(chosen))
        for number in range(rounds):
            order = random.Random(f"{bench.seed} {number}")  # noqa: S311 - an order, no secret
            for system in order.sample(chosen, len(chosen)):
                if bench.pending(system, number) and system.name in pythons:
                    if not bench.left(bench.visit_s() + STOP_TIMEOUT_S):
                        return False
                    try:
                        asyncio.run(visit(bench, system, number, pythons[system.name], progress))
                    except ServerError as error:
                        bench.store.put(("failed", system.name), why=str(error))
                        bench.console.print(f"{system.title}: {error}", soft_wrap=True)
                progress.advance(whole)
    return True


def prepare(bench: Bench, chosen: Sequence[System]) -> dict[str, Path]:
    """Make the environments; return each system's interpreter, and keep why one has none."""
    pythons: dict[str, Path] = {}
    for system in chosen:
        with bench.console.status(f"environment of {system.title}"):
            try:
                pythons[system.name] = install(
                    system, bench.var / "venvs", bench.var / "logs" / f"{system.name}-install.log"
                )
            except ServerError as error:
                bench.store.put(("failed", system.name), why=str(error))
                bench.console.print(f"{system.title}: {error}", soft_wrap=True)
                continue
        if ("versions", system.name) not in bench.store:
            bench.store.put(("versions", system.name), versions=versions(system, pythons[system.name]))
    return pythons


def write(bench: Bench, out: Path) -> Path:
    """Write what is there so far as a page and as JSON; return the page."""
    record = record_of(bench.store, bench.tuning, bench.grid, systems())
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
    if arguments.stop_after is None:
        arguments.stop_after = _QUICK_S if arguments.quick else float("inf")
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
    status = 0
    try:
        is_whole = arguments.report or measure_all(bench, arguments)
    except KeyboardInterrupt:
        is_whole, status = False, _INTERRUPTED
    console.print(f"results: {write(bench, arguments.out)}", soft_wrap=True)
    if not is_whole:
        console.print("Stopped; what was finished is kept, and the same command goes on from there.")
    return status


def measure_all(bench: Bench, arguments: argparse.Namespace) -> bool:
    """Make environments, tune where asked, make the visits; return whether none was left out."""
    pythons = prepare(bench, arguments.systems)
    environment = {key: value for key, value in describe_environment().items() if key != "host"}
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    bench.store.put(("session", at), environment=environment)
    if arguments.tune:
        for system in arguments.systems:
            if system.name in pythons:
                tune(bench, system, pythons[system.name])
    most = bench.grid.num_rounds
    rounds = most if arguments.rounds is None else min(arguments.rounds, most)
    return run(bench, arguments.systems, pythons, rounds)


if __name__ == "__main__":
    sys.exit(main())
