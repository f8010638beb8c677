"""How cost grows with load, number of variants, length and HTTP processes; `make bench-scale`.

    python benchmarks/bench_scale.py [--quick] [--size base] [--parts load,variants,..] [--out DIR]

CPU time of the service a request (all its processes), latency, and throughput: against the offered load, as
Poisson arrivals at shares of what a closed loop reaches; against the number of variants that share the same
load; against the length of the texts; and, on a mini model, against the HTTP processes. What is compared
runs in turns. Each part is written when it is done, so that a run can be continued with ``--parts``. Writes
scale.md, scale.json and scale.svg into docs/benchmarks. ``--quick`` takes two minutes; its figures are no
result and say so.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import uvloop
from rich.console import Console
from rich.progress import Progress

from benchmarks.frontend_texts import PAIRS, Texts, requests_of
from benchmarks.http_client import Load, closed_loop, connect, open_loop
from benchmarks.model_variants import write_catalogue
from benchmarks.scale_chart import chart
from benchmarks.scale_report import page, tables_of, verdicts
from benchmarks.scale_server import Serving
from benchmarks.server_process import busy_s
from loadtest.driver.environment import describe_environment
from models.synthetic import Size
from models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
SHARES = (0.2, 0.4, 0.6, 0.8, 0.9)
VARIANTS = (1, 2, 5, 10)
LENGTHS = (16, 32, 64, 128, 256, 512)
WORKERS = (1, 2, 4)
# So many at once saturate the engine, and leave each of ten variants some to batch.
AT_ONCE = 64
PARTS = ("load", "variants", "length", "workers")
_US_PER_S, _MS_PER_S = 1e6, 1e3


def summary(load: Load, spent_s: float, **of_what: Any) -> dict[str, Any]:
    """Return one measurement as plain values."""
    return of_what | {
        "requests": len(load.latencies_s),
        "per_s": load.per_s,
        "cpu_us": spent_s / len(load.latencies_s) * _US_PER_S,
        "client_ratio": load.cpu_s / load.wall_s,
        "latencies_ms": [round(latency_s * _MS_PER_S, 2) for latency_s in load.latencies_s],
    }


class Bench:
    """What every part needs: where to write, what to ask, and who is asked."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, advance: Callable[[], None]) -> None:
        self._arguments = arguments
        self._folder = folder
        self._advance = advance
        self._order = random.Random(arguments.seed)  # noqa: S311 - an order, no secret
        self._rng = np.random.default_rng(arguments.seed)
        self._texts = Texts(arguments.data, PAIRS, arguments.seed)

    async def load(self) -> list[dict[str, Any]]:
        """Offer shares of what a closed loop reaches."""
        found: list[dict[str, Any]] = []
        with self._serving(1) as serving:
            full = await self._closed(serving, self._requests(["v0"]), AT_ONCE, share=None)
            for repeat in range(self._arguments.repeats):
                for share in self._order.sample(SHARES, len(SHARES)):
                    rate = share * full["per_s"]
                    requests = self._requests(["v0"], share)
                    instants = np.cumsum(self._rng.exponential(1.0 / rate, len(requests))).tolist()
                    before = serving.cpu_s()
                    done = await open_loop(serving.address, requests, instants)
                    found.append(
                        summary(
                            done, serving.cpu_s() - before, share=share, offered_per_s=rate, repeat=repeat
                        )
                    )
                    self._advance()
        return [full, *found]

    async def variants(self) -> list[dict[str, Any]]:
        """Let more and more variants share the same closed loop."""
        found = []
        with self._serving(max(VARIANTS)) as serving:
            everybody = [f"v{number}" for number in range(max(VARIANTS))]
            await self._closed(serving, self._requests(everybody), AT_ONCE)
            for repeat in range(self._arguments.repeats):
                for count in self._order.sample(VARIANTS, len(VARIANTS)):
                    requests = self._requests(everybody[:count])
                    found.append(
                        await self._closed(serving, requests, AT_ONCE, variants=count, repeat=repeat)
                    )
                    self._advance()
        return found

    async def length(self) -> list[dict[str, Any]]:
        """Ask texts of one length at a time, alone and sixteen at once."""
        tokenizer = Tokenizer.bundled()
        found = []
        with self._serving(1) as serving:
            for repeat in range(self._arguments.repeats):
                for length in self._order.sample(LENGTHS, len(LENGTHS)):
                    for at_once in (1, 16):
                        count = max(4, self._arguments.tokens * at_once // (16 * length))
                        requests = requests_of(
                            "v0", [{"text": self._text(tokenizer, length)} for _ in range(count)]
                        )
                        of_what = {"length": length, "at_once": at_once, "repeat": repeat}
                        found.append(await self._closed(serving, requests, at_once, **of_what))
                        self._advance()
        return found

    async def workers(self) -> list[dict[str, Any]]:
        """Put more HTTP processes before one mini model, whose forward pass takes little."""
        found = []
        catalogue = write_catalogue(self._arguments.models, Size.MINI, 1)
        with ExitStack() as stack:
            arms = {
                count: stack.enter_context(Serving(catalogue, self._folder, http_workers=count))
                for count in WORKERS
            }
            for repeat in range(self._arguments.repeats):
                for count in self._order.sample(WORKERS, len(WORKERS)):
                    requests = self._requests(["v0"], 4.0)
                    found.append(
                        await self._closed(arms[count], requests, AT_ONCE, workers=count, repeat=repeat)
                    )
                    self._advance()
        return found

    def _serving(self, count: int) -> Serving:
        arguments = self._arguments
        return Serving(write_catalogue(arguments.models, arguments.size, count), self._folder)

    def _requests(self, variants: list[str], times: float = 1.0) -> list[bytes]:
        """Return so many times the usual number of requests, to each of these variants in turn."""
        inputs = self._texts.take(round(times * self._arguments.requests))
        names = [variants[place % len(variants)] for place in range(len(inputs))]
        return [
            request for name, item in zip(names, inputs, strict=True) for request in requests_of(name, [item])
        ]

    async def _closed(
        self, serving: Serving, requests: list[bytes], at_once: int, **of_what: Any
    ) -> dict[str, Any]:
        connections = await connect(serving.address, at_once)
        await closed_loop(connections, requests[: max(at_once, len(requests) // 10)])
        before = serving.cpu_s()
        done = await closed_loop(connections, requests)
        spent_s = serving.cpu_s() - before
        for connection in connections:
            connection.close()
        return summary(done, spent_s, **of_what)

    def _text(self, tokenizer: Tokenizer, length: int) -> str:
        """Return words that make a sequence of just about this many tokens, special ones included."""
        words: list[str] = []
        num_tokens = 2
        for word in self._words():
            size = len(tokenizer.encode_ids([word])[0])
            if num_tokens + size > length:
                return " ".join(words)
            words.append(word)
            num_tokens += size
        raise AssertionError("Words ended. This is a bug.")

    def _words(self) -> Iterator[str]:
        while True:
            yield from self._texts.take(1)[0]["text"].split()


async def measure(arguments: argparse.Namespace, progress: Progress, record: dict[str, Any]) -> None:
    """Run the parts; each is written when it is done."""
    sizes = {
        "load": len(SHARES),
        "variants": len(VARIANTS),
        "length": 2 * len(LENGTHS),
        "workers": len(WORKERS),
    }
    for part in arguments.parts:
        bar = progress.add_task(part, total=arguments.repeats * sizes[part])
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(arguments, Path(folder), lambda bar=bar: progress.advance(bar))  # type: ignore[misc]  # a lambda's default
            began, busy = time.perf_counter(), busy_s()
            measured = await getattr(bench, part)()
        record["parts"][part] = {
            "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "environment": {key: value for key, value in describe_environment().items() if key != "host"},
            "seconds": time.perf_counter() - began,
            "busy_cores": (busy_s() - busy) / (time.perf_counter() - began),
            "repeats": arguments.repeats,
            "size": arguments.size.value if part != "workers" else Size.MINI.value,
            "seed": arguments.seed,
            "quick": arguments.quick,
            "cells": measured,
        }
        write(arguments.out, record)


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
    parser.add_argument("--parts", type=lambda given: given.split(","), default=list(PARTS))
    parser.add_argument("--data", default="bundled", help="folder of data sets; else the sample")
    parser.add_argument("--requests", type=int, default=400, help="a measurement")
    parser.add_argument("--tokens", type=int, default=16_384, help="a measurement of a length")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--models", type=Path, default=ROOT / "var" / "benchmarks")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if arguments.quick:
        arguments.size, arguments.repeats, arguments.requests, arguments.tokens = Size.MINI, 1, 200, 4096
    return arguments


def main() -> int:
    """Measure, print, write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are ended too
    arguments, console = read_arguments(), Console(width=150)
    record: dict[str, Any] = {"parts": {}}
    earlier = arguments.out / "scale.json"
    if earlier.exists() and set(arguments.parts) != set(PARTS):
        record = json.loads(earlier.read_text(encoding="utf-8"))
    with Progress(console=console, transient=True) as progress:
        uvloop.run(measure(arguments, progress, record))
    for title, lines in tables_of(record["parts"]).items():
        console.print(f"\n{title}\n{lines}", markup=False, highlight=False, soft_wrap=True)
    console.print("\n" + "\n".join(record["verdicts"]), markup=False, highlight=False, soft_wrap=True)
    console.print(f"results: {arguments.out / 'scale.md'}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
