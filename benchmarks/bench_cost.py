"""How well the cost of a batch is predicted while it is served; `make bench-cost`.

    python benchmarks/bench_cost.py [--quick] [--size base] [--seconds 20] [--repeats 2] [--out DIR]
    python benchmarks/bench_cost.py --replay docs/benchmarks/cost.json

Serves XNLI's pairs in float32 and in int8, in turns to 16 clients in a closed loop and as Poisson arrivals at
60 % of what these reach, and compares what the cost model predicted of each batch with what it took. Under
four minutes. Writes cost.md and cost.json into docs/benchmarks. ``--replay`` measures nothing: it asks the
present cost model of the batches that a file holds. ``--quick`` takes half a minute; its figures are no
result and say so.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import uvloop
from rich.console import Console
from rich.progress import Progress

from benchmarks.cost_log import as_values, of_values, read_log, replay
from benchmarks.cost_report import page, table, verdicts
from benchmarks.engine_report import markdown
from benchmarks.frontend_texts import PAIRS, Texts, requests_of
from benchmarks.http_client import closed_loop, connect, open_loop
from benchmarks.model_variants import write_catalogue
from benchmarks.scale_server import Serving
from benchmarks.server_process import busy_s
from loadtest.driver.environment import describe_environment
from models.synthetic import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.cost_log import Batch, Served

ROOT = Path(__file__).resolve().parents[1]
DTYPES = ("float32", "int8")
AT_ONCE, SHARE = 16, 0.6
CLOSED, POISSON = f"{AT_ONCE} at once", f"Poisson at {SHARE:.0%}"
# Requests of a closed loop between two looks at the clock.
_TURN = 2 * AT_ONCE


class Stretches:
    """Loads that one service is put under, one after the other; each is told as it ends."""

    def __init__(self, serving: Serving, arguments: argparse.Namespace) -> None:
        self._serving = serving
        self._seconds: float = arguments.seconds
        self._texts = Texts(arguments.data, PAIRS, arguments.seed)
        self._rng = np.random.default_rng(arguments.seed)
        self.told: list[dict[str, Any]] = []

    async def closed(self, repeat: int) -> float:
        """Let clients ask without pause; return requests a second."""
        connections = await connect(self._serving.address, AT_ONCE)
        began, count = time.time(), 0
        with self._telling(CLOSED, repeat):
            while time.time() < began + self._seconds:
                await closed_loop(connections, self._requests(_TURN))
                count += _TURN
        for connection in connections:
            connection.close()
        return count / (time.time() - began)

    async def poisson(self, repeat: int, per_s: float) -> None:
        """Let requests come by chance."""
        instants = np.cumsum(self._rng.exponential(1.0 / per_s, max(1, round(per_s * self._seconds))))
        with self._telling(POISSON, repeat):
            await open_loop(self._serving.address, self._requests(len(instants)), instants.tolist())

    def _requests(self, count: int) -> list[bytes]:
        return requests_of("v0", self._texts.take(count))

    def _telling(self, load: str, repeat: int) -> _Telling:
        return _Telling(self.told, self._serving, {"load": load, "repeat": repeat})


class _Telling:
    """Notes when a stretch began and ended, and how much of the cores others had."""

    def __init__(self, told: list[dict[str, Any]], serving: Serving, of_what: dict[str, Any]) -> None:
        self._told, self._serving, self._of_what = told, serving, of_what

    def __enter__(self) -> None:
        self._began, self._others = time.time(), self._others_s()

    def __exit__(self, *_: object) -> None:
        ended = time.time()
        share = (self._others_s() - self._others) / (ended - self._began)
        cores = describe_environment()["num_cores"]
        self._told.append(
            self._of_what
            | {"began_at": self._began, "ended_at": ended, "others_ratio": max(0.0, share / cores)}
        )

    def _others_s(self) -> float:
        return busy_s() - time.process_time() - self._serving.cpu_s()


async def serve(arguments: argparse.Namespace, dtype: str, advance: Callable[[], object]) -> dict[str, Any]:
    """Put one service under every load; return its stretches and its batches as plain values."""
    catalogue = write_catalogue(arguments.models, arguments.size, 1, arguments.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        with Serving(catalogue, Path(folder), dtype=dtype, log_level="debug") as serving:
            stretches = Stretches(serving, arguments)
            for repeat in range(arguments.repeats):
                per_s = await stretches.closed(repeat)
                advance()
                await stretches.poisson(repeat, SHARE * per_s)
                advance()
        served = read_log(serving.log.read_text(encoding="utf-8").splitlines())
    return {"dtype": dtype, "stretches": stretches.told, **as_values(served)}


def phases_of(service: Mapping[str, Any], served: Served) -> list[dict[str, Any]]:
    """Return each stretch with the batches that ended in it."""
    return [
        stretch
        | {"dtype": service["dtype"], "batches": [_judged(batch) for batch in _within(stretch, served)]}
        for stretch in service["stretches"]
    ]


def _within(stretch: Mapping[str, Any], served: Served) -> list[Batch]:
    return [one for one in served.batches if stretch["began_at"] <= one.ended_at <= stretch["ended_at"]]


def _judged(batch: Batch) -> dict[str, Any]:
    return asdict(batch) | {"error": batch.error}


def ask_again(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stretches of a record, as the present model would have predicted their batches."""
    phases = []
    for service in record["services"]:
        served = of_values(service)
        predicted = replay(served)
        batches = [replace(one, predicted_s=s) for one, s in zip(served.batches, predicted, strict=True)]
        phases += phases_of(service, replace(served, batches=batches))
    return phases


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Serve each dtype; return the record."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("stretches", total=2 * arguments.repeats * len(DTYPES))
        services = [await serve(arguments, dtype, lambda: progress.advance(bar)) for dtype in DTYPES]
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "environment": {key: value for key, value in describe_environment().items() if key != "host"},
        "size": arguments.size.value,
        "seconds": arguments.seconds,
        "repeats": arguments.repeats,
        "seed": arguments.seed,
        "quick": arguments.quick,
        "services": services,
    }


def write(out: Path, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Write table and everything that was seen; return the stretches."""
    phases = [phase for service in record["services"] for phase in phases_of(service, of_values(service))]
    record["verdicts"] = verdicts(phases)
    out.mkdir(parents=True, exist_ok=True)
    (out / "cost.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    (out / "cost.md").write_text(page(record | {"phases": phases}), encoding="utf-8")
    return phases


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=Size, default=Size.BASE, choices=list(Size))
    parser.add_argument("--seconds", type=float, default=20.0, help="a stretch of one load")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", default="bundled", help="folder of data sets; else the sample")
    parser.add_argument(
        "--tokenizer", type=Path, help="tokenizer.json; else the one that comes with the project"
    )
    parser.add_argument("--replay", type=Path, help="a cost.json to ask the present model about")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--models", type=Path, default=ROOT / "var" / "benchmarks")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.seconds, arguments.repeats = Size.MINI, 2.0, 1
    return arguments


def main() -> int:
    """Measure, or ask again; print, and write what was measured."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are ended too
    arguments, console = read_arguments(), Console(width=150)
    if arguments.replay is not None:
        phases = ask_again(json.loads(arguments.replay.read_text(encoding="utf-8")))
    else:
        phases = write(arguments.out, uvloop.run(measure(arguments)))
    says = [markdown(table(phases)), "", *verdicts(phases)]
    if arguments.replay is None:
        says.append(f"results: {arguments.out / 'cost.md'}")
    console.print("\n".join(says), markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
