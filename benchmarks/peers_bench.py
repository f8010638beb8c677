"""A comparison under way: what it measures, what it has, and what is still to do.

Rules: what was measured with other texts, tokenizer, size, seed or cells is refused, not mixed in; the
checkpoints and the service's catalogue are written once.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.peers_grid import Cell, Grid, Kind, Mix, full, quick
from benchmarks.peers_plan import Pace
from benchmarks.peers_report import contest_of
from benchmarks.peers_results import cells_of
from benchmarks.peers_settings import RECORDED, Trials
from benchmarks.peers_store import Store, StoreError
from benchmarks.peers_systems import LABELS, System, systems
from benchmarks.peers_trace import Item, build, digest_of
from loadtest.datasets.library import BUNDLED, open_library
from models.synthetic import Size, write_checkpoint
from models.tokenizer import Tokenizer, bundled_file
from models.variant import HeadKind

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from benchmarks.peers_contest import Contest


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything that stays the same during a benchmark. ``chosen``: the systems that are asked at all."""

    grid: Grid
    store: Store
    trials: Trials
    traces: Mapping[Mix, tuple[Item, ...]]
    checkpoints: Mapping[Kind, Path]
    catalogue: Path
    var: Path
    size: Size
    seed: int
    until: float
    chosen: Sequence[System]
    console: Console

    def log(self, system: System) -> Path:
        """Return where a server's words go."""
        return self.var / "logs" / f"{system.name}.log"

    def left_s(self) -> float:
        """How much time there is."""
        return self.until - time.monotonic()

    def contest(self) -> Contest:
        """Return who is asked for what, by what is known now."""
        return contest_of(self.store, self.grid, systems())

    def pending(self, contest: Contest, system: System, number: int) -> list[Cell]:
        """Return what a visit still has to measure, in this visit's own order."""
        cells = [
            cell
            for cell in contest.cells(system.name, number)
            if ("cell", system.name, str(number), cell.name) not in self.store
        ]
        order = random.Random(f"{self.seed} {number} {system.name}")  # noqa: S311 - an order, no secret
        return order.sample(cells, len(cells))

    def pace(self) -> Pace:
        """Return how long things took so far."""
        return Pace(self.store.under("visit"), cells_of(self.store))

    def to_come_s(self, rounds: int) -> float:
        """Return how long everything that is pending takes at most, as far as is known."""
        contest, pace = self.contest(), self.pace()
        return sum(
            pace.visit_s(system.name, self.pending(contest, system, number))
            for number in range(rounds)
            for system in self.chosen
        )


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
        "cells": [f"{cell.name} {cell.duration_s:g}" for cell in grid.cells],
    }
    before = store.get("setup")
    if before is None:
        lengths = {str(mix): _lengths(items) for mix, items in traces.items()}
        store.put(("setup",), **setup, lengths=lengths)
    elif changed := [name for name, value in setup.items() if before.get(name, value) != value]:
        raise StoreError(
            f"{arguments.var}/{grid.name}.jsonl was measured with other {', '.join(changed)}; give those "
            "again, or move the file away to start anew"
        )
    return Bench(
        grid=grid,
        store=store,
        trials=Trials(here=Store(arguments.var / "tuning.jsonl"), recorded=Store(RECORDED)),
        traces=traces,
        checkpoints=checkpoints,
        catalogue=catalogue,
        var=arguments.var,
        size=Size(arguments.size),
        seed=arguments.seed,
        until=arguments.began + (float("inf") if arguments.stop_after is None else arguments.stop_after),
        chosen=arguments.systems,
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
