"""What this service costs around the model: CPU time of its HTTP path; `make bench-frontend`.

    python benchmarks/bench_frontend.py [--quick] [--tokenizer FILE] [--data DIR] [--repeats 7] [--out DIR]

The whole path, from socket to socket, tokenization, queue, metrics and log included, on a device that takes
no time; over that of a bare typed FastAPI endpoint that returns the same JSON, and beside two that also cut
the texts. Each in a process of its own, whose CPU time (all threads) is divided by its requests; one client
with kept-alive connections; they take turns in an order that changes, and for one kind of requests the
service also without its log and without its queue and engine, so that each part's cost is told. Then, with a
model of true size on this CPU, tokens a second served over those of the engine by itself. Writes frontend.md
and frontend.json into docs/benchmarks. ``--quick`` takes half a minute; its figures are no result and say so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import uvloop
from rich.console import Console
from rich.progress import Progress

from benchmarks import frontend_parts as parts
from benchmarks import frontend_throughput as throughput
from benchmarks.frontend_report import ARMS, BARE, CUTTING, NAIVE, SERVICE, Cell, page, table, verdicts
from benchmarks.frontend_texts import MIXED, PAIRS, Texts, requests_of
from benchmarks.http_client import closed_loop, connect
from benchmarks.server_process import ServerProcess, busy_s, total_cpu_s
from loadtest.driver.environment import describe_environment
from models.synthetic import Size
from models.tokenizer import bundled_file

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
CONCURRENCIES = (1, 16)
HEADS = ("classify", "embed")
ALL_ARMS = (*ARMS, *parts.WITHOUT)
_US_PER_S = 1e6
_PACKAGES = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "tokenizers", "structlog")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured: a head's requests, so many at once."""

    head: str
    mix: str
    concurrency: int

    @property
    def arms(self) -> tuple[str, ...]:
        """The servers that are asked: for one kind of requests those without a part, too."""
        return ALL_ARMS if (self.head, self.mix) == (HEADS[0], PAIRS) else ARMS


def start(stack: ExitStack, arguments: argparse.Namespace) -> dict[str, ServerProcess]:
    """Start a server for each arm."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    script = str(Path(__file__).with_name("frontend_server.py"))
    return {
        arm: stack.enter_context(
            ServerProcess([sys.executable, script, arm, str(arguments.tokenizer), str(folder / f"{arm}.log")])
        )
        for arm in ALL_ARMS
    }


async def ask_once(servers: Mapping[str, ServerProcess], request: bytes) -> dict[str, Any]:
    """Return what each server answers."""
    answers = {}
    for arm, server in servers.items():
        (connection,) = await connect(server.address, 1)
        answers[arm] = json.loads(await connection.ask(request))
        connection.close()
    return answers


async def check_answers(servers: Mapping[str, ServerProcess], texts: Mapping[str, Texts]) -> None:
    """Hold the answers against each other: the same, but for what only the service counts.

    It alone says what was truncated; the bare one does not count tokens either.
    """
    for head in HEADS:
        for request in (one for some in texts.values() for one in requests_of(head, some.take(20))):
            answers = await ask_once(servers, request)
            for answer in answers.values():
                answer["outputs"][0]["usage"].pop("truncated")
            for arm in (NAIVE, CUTTING, *parts.WITHOUT):
                assert answers[arm] == answers[SERVICE], f"{arm} and the service answer differently."
            for answer in answers.values():
                answer["outputs"][0]["usage"].pop("tokens")
            assert answers[BARE] == answers[SERVICE], f"{BARE} and the service answer differently."


async def cost_us(server: ServerProcess, requests: list[bytes], concurrency: int) -> tuple[float, float]:
    """Return the server's CPU time a request in microseconds, and the client's share of a core.

    The first requests are not counted: connections are new, and another server had the caches.
    """
    connections = await connect(server.address, concurrency)
    num_warm = len(requests) // 10
    await closed_loop(connections, requests[:num_warm])
    requests = requests[num_warm:]
    before = server.cpu_s()
    load = await closed_loop(connections, requests)
    spent = server.cpu_s() - before
    for connection in connections:
        connection.close()
    return spent / len(requests) * _US_PER_S, load.cpu_s / load.wall_s


async def measure(
    servers: Mapping[str, ServerProcess],
    texts: Mapping[str, Texts],
    arguments: argparse.Namespace,
    progress: Progress,
) -> tuple[list[Cell], list[float]]:
    """Run every repeat; return the cells, and the share of the cores that others had in each repeat."""
    await check_answers(servers, texts)
    cases = [
        Case(head=head, mix=mix, concurrency=concurrency)
        for head in HEADS
        for mix in texts
        for concurrency in CONCURRENCIES
    ]
    order = random.Random(arguments.seed)  # noqa: S311 - an order, no secret
    found: dict[tuple[Case, str], list[tuple[float, float]]] = {
        (case, arm): [] for case in cases for arm in case.arms
    }
    others = []
    bar = progress.add_task("measuring", total=arguments.repeats * len(found))
    for _ in range(arguments.repeats):
        before, began = (busy_s(), total_cpu_s(servers.values())), time.perf_counter()
        for case in order.sample(cases, len(cases)):
            requests = requests_of(case.head, texts[case.mix].take(arguments.requests))
            for arm in order.sample(case.arms, len(case.arms)):
                found[case, arm].append(await cost_us(servers[arm], requests, case.concurrency))
                progress.advance(bar)
        spent = (busy_s() - before[0]) - (total_cpu_s(servers.values()) - before[1])
        others.append(max(0.0, spent / ((time.perf_counter() - began) * (os.cpu_count() or 1))))
    cells = [
        Cell(
            **asdict(case),
            cpu_us={arm: tuple(cost for cost, _ in found[case, arm]) for arm in case.arms},
            client_ratio={arm: max(share for _, share in found[case, arm]) for arm in case.arms},
        )
        for case in cases
    ]
    return cells, others


def record_of(
    arguments: argparse.Namespace, cells: list[Cell], others: list[float], runs: list[throughput.Run]
) -> dict[str, Any]:
    """Return everything that was seen, as plain values."""
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": arguments.quick,
        "seed": arguments.seed,
        "repeats": arguments.repeats,
        "requests": arguments.requests,
        "tokenizer": "bundled" if arguments.tokenizer == bundled_file() else "given",
        "data": "bundled" if arguments.data == "bundled" else "given",
        "environment": {key: value for key, value in describe_environment().items() if key != "host"}
        | {"frontend_packages": {name: version(name) for name in _PACKAGES}},
        "others_ratio": others,
        "cells": [asdict(cell) for cell in cells],
        "size": arguments.size.value,
        "inputs": arguments.inputs,
        "runs": [asdict(run) for run in runs],
        "verdicts": [*verdicts(cells), throughput.verdict(runs)],
    }


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--tokenizer", type=Path, default=bundled_file(), help="tokenizer.json; else the small one"
    )
    parser.add_argument("--data", default="bundled", help="folder of data sets; else the sample")
    parser.add_argument("--requests", type=int, default=500, help="a measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--size", type=Size, default=Size.BASE, choices=list(Size))
    parser.add_argument("--inputs", type=int, default=120, help="a trace of the model")
    parser.add_argument("--traces", type=int, default=4, help="repeats with the model")
    parser.add_argument("--models", type=Path, default=ROOT / "var" / "benchmarks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.requests = 2, 300
        arguments.size, arguments.inputs, arguments.traces = Size.MINI, 200, 1
    return arguments


def main() -> int:
    """Measure, print, write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are ended too
    arguments, console = read_arguments(), Console(width=150)
    with console.status("reading texts"):
        texts = {mix: Texts(arguments.data, mix, arguments.seed) for mix in (PAIRS, MIXED)}
    with ExitStack() as stack, Progress(console=console, transient=True) as progress:
        cells, others = uvloop.run(measure(start(stack, arguments), texts, arguments, progress))
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console=console, transient=True) as progress,
    ):
        bar = progress.add_task("with a model", total=arguments.traces * len(texts))
        runs = uvloop.run(throughput.compare(arguments, Path(folder), texts, lambda: progress.advance(bar)))
    record = record_of(arguments, cells, others, runs)
    tables = {
        "CPU time a request": table(cells),
        "What each part costs": parts.table(cells),
        "Served over offline": throughput.table(runs),
    }
    for title, lines in tables.items():
        console.print(f"\n{title}\n{lines}\n", markup=False, highlight=False, soft_wrap=True)
    console.print("\n".join(record["verdicts"]), markup=False, highlight=False, soft_wrap=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "frontend.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "frontend.md").write_text(page(record, cells, tables), encoding="utf-8")
    console.print(f"results: {arguments.out / 'frontend.md'}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
