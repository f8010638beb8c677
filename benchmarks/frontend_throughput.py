"""How much of the engine's own throughput is left behind HTTP: a trace offline and served, in turns."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.engine_report import Spread, markdown, ratio
from benchmarks.frontend_texts import requests_of
from benchmarks.http_client import closed_loop, connect
from benchmarks.model_variants import write_catalogue
from benchmarks.server_process import ServerProcess

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.frontend_texts import Texts

GOAL_RATIO = 0.90
# At this many at once the goal is judged: fewer leave batches short, which is no cost of the front end.
SATURATED = 64
CONCURRENCIES = (16, SATURATED)
VARIANT = "v0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One trace, one repeat: tokens a second offline, and served at so many at once. ``batches``: offline."""

    mix: str
    num_tokens: int
    batches: int
    offline_per_s: float
    served_per_s: Mapping[int, float]


async def compare(
    arguments: argparse.Namespace, folder: Path, texts: Mapping[str, Texts], advance: Callable[[], None]
) -> list[Run]:
    """Run every repeat of every mix; in each, offline comes first and last in turns."""
    catalogue = write_catalogue(arguments.models, arguments.size, 1, arguments.tokenizer)
    script = str(Path(__file__).with_name("frontend_engine.py"))
    command = [sys.executable, script, str(catalogue), str(folder / "engine.log")]
    runs = []
    with ServerProcess(command) as server:
        for repeat in range(arguments.traces):
            for mix, source in texts.items():
                inputs = source.take(arguments.inputs)
                requests = requests_of(VARIANT, inputs)
                if not repeat:  # what happens once happens here
                    server.order(inputs=inputs[: arguments.inputs // 4])
                offline = server.order(inputs=inputs) if repeat % 2 == 0 else None
                served = {}
                for concurrency in CONCURRENCIES if repeat % 4 < 2 else CONCURRENCIES[::-1]:  # noqa: PLR2004 - turns
                    connections = await connect(server.address, concurrency)
                    served[concurrency] = (await closed_loop(connections, requests)).wall_s
                    for connection in connections:
                        connection.close()
                offline = offline or server.order(inputs=inputs)
                runs.append(
                    Run(
                        mix=mix,
                        num_tokens=offline["tokens"],
                        batches=offline["batches"],
                        offline_per_s=offline["tokens"] / offline["seconds"],
                        served_per_s={at_once: offline["tokens"] / wall for at_once, wall in served.items()},
                    )
                )
                advance()
    return runs


def ratios(runs: Sequence[Run], mix: str, concurrency: int) -> Spread:
    """Return served over offline throughput."""
    mine = [run for run in runs if run.mix == mix]
    return ratio([run.served_per_s[concurrency] for run in mine], [run.offline_per_s for run in mine])


def table(runs: Sequence[Run]) -> str:
    """Return a line for each mix and concurrency."""
    lines = [["requests", "at once", "offline, tokens/s", "served, tokens/s", "served / offline"]]
    for mix in dict.fromkeys(run.mix for run in runs):
        mine = [run for run in runs if run.mix == mix]
        offline = Spread.of(run.offline_per_s for run in mine).middle
        for concurrency in CONCURRENCIES:
            served = Spread.of(run.served_per_s[concurrency] for run in mine).middle
            share = str(ratios(runs, mix, concurrency))
            lines.append([mix, str(concurrency), f"{offline:,.0f}", f"{served:,.0f}", share])
    return markdown(lines)


def verdict(runs: Sequence[Run]) -> str:
    """Say whether the goal is met, and by which mixes it is missed."""
    goal = f"served over offline throughput >= {GOAL_RATIO} at {SATURATED} at once"
    found = {mix: ratios(runs, mix, SATURATED).middle for mix in dict.fromkeys(run.mix for run in runs)}
    missed = {mix: value for mix, value in found.items() if value < GOAL_RATIO}
    if not missed:
        return f"{goal}: met (least {min(found.values()):.2f})"
    return f"{goal}: MISSED by {'; '.join(f'{mix}: {value:.2f}' for mix, value in missed.items())}"
