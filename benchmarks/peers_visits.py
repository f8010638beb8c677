"""Visits: a server is started, asked for its cells of a round, ended; round by round, one alive at a time.

Rules: order differs between rounds and follows from the seed; whatever ended is kept at once, so that the
next run goes on behind it; a visit that would end too late is not begun. A server that cannot be started is
told of and passed over.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn

from benchmarks.peers_forward import measure_forward
from benchmarks.peers_goals import Figure, best_peer, capacity_of
from benchmarks.peers_grid import Cell, Kind, Load, Mix
from benchmarks.peers_measure import measure, try_settings, warm_up
from benchmarks.peers_results import cells_of, rounds_of, throughputs
from benchmarks.peers_server import ServerError, install, running, versions
from benchmarks.peers_systems import Place, System, systems
from loadtest.driver.environment import describe_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from benchmarks.peers_bench import Bench
    from benchmarks.peers_server import Running
    from benchmarks.peers_systems import Settings

# Longest trial of settings, start and end included; and forward passes, both processes with their imports.
_TRIAL_S, _FORWARD_S = 55.0, 40.0
# The goal that is explained by the forward passes.
_WHY = (Kind.CLASSIFY, Mix.MIXED, Load.CLOSED, 16)


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
                _tell_failure(bench, system, error)
                continue
        if ("versions", system.name) not in bench.store:
            bench.store.put(("versions", system.name), versions=versions(system, pythons[system.name]))
    return pythons


def tune(bench: Bench, system: System, python: Path) -> None:
    """Measure each candidate of a peer's settings that was not measured before."""
    environment = describe_environment()
    where = {name: environment.get(name) for name in ("commit", "cpu_model", "num_cores")}
    for settings in system.candidates:
        key = ("trial", system.name, json.dumps(settings, sort_keys=True))
        if len(system.candidates) == 1 or key in bench.trials.here or bench.left_s() < _TRIAL_S:
            continue
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        try:
            found = asyncio.run(_try(bench, system, settings, python))
        except ServerError as error:
            found = {"score": None, "why": str(error)}
        bench.trials.here.put(key, settings=settings, at=at, **where, **found)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One start of a server, and the cells of a round that are measured meanwhile."""

    system: System
    number: int
    python: Path
    cells: Sequence[Cell]


async def visit(bench: Bench, planned: Visit, ended: Callable[[], None]) -> None:
    """Start a server, measure what is pending of a round, end it. ``ended`` is told of each cell's end.

    Raises:
        ServerError: it cannot be started.
    """
    system, number, cells = planned.system, planned.number, planned.cells
    settings, began = bench.trials.settings(system), time.perf_counter()
    load_average, cells_s = os.getloadavg()[0], 0.0
    async with _served(bench, system, settings, planned.python) as server:
        for kind in {cell.kind: None for cell in cells}:
            await warm_up(server, kind, bench.traces[Mix.MIXED])
        for cell in cells:
            rate = _rate(bench, cell) * cell.level if cell.load is Load.OPEN else 0.0
            if cell.load is not Load.OPEN or rate > 0:
                found = await measure(
                    server, cell, bench.traces[cell.mix], seed=bench.seed, number=number, rate_per_s=rate
                )
                cells_s += found.get("elapsed_s", 0.0)
                bench.store.put(("cell", system.name, str(number), cell.name), **found)
            ended()
        start_s, memory_bytes = server.start_s, server.memory_bytes()
    bench.store.put(
        ("visit", system.name, str(number)),
        settings=settings,
        start_s=round(start_s, 1),
        memory_bytes=memory_bytes,
        wall_s=round(time.perf_counter() - began, 1),
        cells_s=round(cells_s, 1),
        load_average=load_average,
    )


def _rate(bench: Bench, cell: Cell) -> float:
    known = bench.store.get("capacity", *cell.group)
    return 0.0 if known is None else float(known["per_s"])


def declare_capacities(bench: Bench) -> None:
    """Keep the best peer's capacity of each rate's group as the first round found it; declared once."""
    peers = [system.name for system in systems() if system.is_peer]
    first = [one for one in cells_of(bench.store) if one["round"] == 0]
    for group in {cell.group: None for cell in bench.grid.cells if cell.load is Load.OPEN}:
        if ("capacity", *group) in bench.store:
            continue
        peer, per_s = capacity_of(throughputs(first, bench.grid), bench.grid, group, peers)
        if per_s > 0:
            bench.store.put(("capacity", *group), per_s=per_s, peer=peer)


class _Bar:
    """The progress that a user sees: what is done now, how long it has been, and how long it can take."""

    def __init__(self, bench: Bench, progress: Progress, rounds: int) -> None:
        self._bench, self._progress, self._rounds = bench, progress, rounds
        self._began = time.monotonic()
        self._bar = progress.add_task("", says="")

    def show(self, doing: str) -> None:
        """Tell what is done now."""
        left_s = min(self._bench.to_come_s(self._rounds), max(0.0, self._bench.left_s()))
        gone_s = time.monotonic() - self._began
        self._progress.update(
            self._bar,
            description=doing,
            total=gone_s + left_s,
            completed=gone_s,
            says=f"{gone_s / 60:.0f} min, at most {left_s / 60:.0f} more",
        )


def run(bench: Bench, pythons: Mapping[str, Path], rounds: int) -> bool:
    """Make all visits that are pending and fit; return whether none was left out for want of time."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[says]}"))
    with Progress(*columns, console=bench.console, transient=True) as progress:
        bar = _Bar(bench, progress, rounds)
        for number in range(rounds):
            if number:
                declare_capacities(bench)
            if not _round(bench, number, pythons, bar):
                return False
    return True


def _round(bench: Bench, number: int, pythons: Mapping[str, Path], bar: _Bar) -> bool:
    order = random.Random(f"{bench.seed} {number}")  # noqa: S311 - an order, no secret
    for system in order.sample(bench.chosen, len(bench.chosen)):
        cells = bench.pending(bench.contest(), system, number)
        if not cells or system.name not in pythons:
            continue
        if bench.pace().visit_s(system.name, cells) > bench.left_s():
            return False
        planned = Visit(system=system, number=number, python=pythons[system.name], cells=cells)
        show = partial(bar.show, f"round {number + 1}, {system.title}, {len(cells)} cells")
        show()
        try:
            asyncio.run(visit(bench, planned, show))
        except ServerError as error:
            _tell_failure(bench, system, error)
    if number == 0:
        return True
    bar.show(f"round {number + 1}, forward passes alone")
    return forward(bench, number, pythons)


def _tell_failure(bench: Bench, system: System, error: ServerError) -> None:
    bench.store.put(("failed", system.name), why=str(error))
    bench.console.print(f"{system.title}: {error}", markup=False, soft_wrap=True)


def forward(bench: Bench, number: int, pythons: Mapping[str, Path]) -> bool:
    """Measure the forward passes alone beside the best peer's of the mix; return whether there was time."""
    key = ("forward", str(number))
    contest = bench.contest()
    (cell,) = (cell for cell in bench.grid.cells if (cell.kind, cell.mix, cell.load, cell.level) == _WHY)
    found = rounds_of(contest.records, cell.name, Figure.THROUGHPUT)
    best = best_peer(found, contest.standing(cell), more_is_better=True)
    peer = next((system for system in bench.chosen if system.name == best), None)
    if key in bench.store or peer is None or peer.name not in pythons:
        return True
    if bench.left_s() < _FORWARD_S:
        return False
    try:
        measured = measure_forward(
            peer=peer,
            settings=bench.trials.settings(peer),
            python=pythons[peer.name],
            checkpoint=bench.checkpoints[Kind.CLASSIFY],
            size=bench.size,
            traces=bench.traces,
            number=number,
        )
    except ServerError as error:
        bench.console.print(str(error), soft_wrap=True)
        return True
    bench.store.put(key, **measured)
    return True
