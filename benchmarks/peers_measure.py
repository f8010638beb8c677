"""One cell of one server: the load, and the figures that are kept of it.

Rules: every system gets the same texts from the same place of the trace, and the same instants of an open
loop, in the same round; throughput is the number of answers over the time until the last of them; CPU time
is that of all of the server's processes. All latencies are kept, in the order in which requests were due.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from benchmarks.peers_client import Reply, Stream, closed_loop, open_loop
from benchmarks.peers_grid import Cell, Kind, Load, Mix
from benchmarks.peers_insight import look
from loadtest.trace.arrivals import Poisson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.peers_server import Running
    from benchmarks.peers_trace import Item

_WARM_REQUESTS, _WARM_CONCURRENCY = 8, 8
_ANSWERS_CONCURRENCY = 4
_TRIAL_CONCURRENCY, _TRIAL_S = 16, 3.0
_DIGITS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    """Wall time, and the CPU time of all cores, the server and this process."""

    wall_s: float
    busy_s: float
    server_s: float
    own_s: float

    @classmethod
    def read(cls, server: Running) -> Self:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        user, nice, system, _idle, _wait, hard, soft, steal = (int(field) for field in fields[:8])
        busy_s = (user + nice + system + hard + soft + steal) / os.sysconf("SC_CLK_TCK")
        return cls(
            wall_s=time.perf_counter(), busy_s=busy_s, server_s=server.cpu_s(), own_s=time.process_time()
        )

    def since(self, before: _Clock, num_requests: int) -> dict[str, float]:
        """Return CPU times a request, and the share of the cores that nobody here had."""
        wall_s, server_s, own_s = (
            self.wall_s - before.wall_s,
            self.server_s - before.server_s,
            self.own_s - before.own_s,
        )
        others_s = self.busy_s - before.busy_s - server_s - own_s
        return {
            "server_cpu_ms_a_request": 1e3 * server_s / num_requests,
            "client_cpu_ms_a_request": 1e3 * own_s / num_requests,
            "others_ratio": max(0.0, others_s / (wall_s * (os.cpu_count() or 1))),
        }


async def warm_up(server: Running, kind: Kind, items: Sequence[Item]) -> None:
    """Send a few requests whose times nobody looks at."""
    stream = _stream(server, kind, items[:_WARM_REQUESTS])
    await closed_loop(stream, concurrency=_WARM_CONCURRENCY, duration_s=0, at_least=len(stream.bodies))


async def measure(  # noqa: PLR0913 - all but the first three by keyword
    server: Running, cell: Cell, items: Sequence[Item], *, seed: int, number: int, rate_per_s: float
) -> dict[str, Any]:
    """Measure a cell in a round; return its record."""
    rng = np.random.default_rng([seed, number, *cell.name.encode()])
    stream = _stream(server, cell.kind, items, first=int(rng.integers(len(items))))
    counters = await look(server.port) if server.system.is_own else None
    before = _Clock.read(server)
    match cell.load:
        case Load.ANSWERS:
            replies = await _each(_stream(server, cell.kind, items[: int(cell.level)]))
            return figures(replies, items) | {"answers": _answers(server, cell.kind, replies)}
        case Load.CLOSED:
            level = int(cell.level)
            replies = await closed_loop(stream, concurrency=level, duration_s=cell.duration_s, at_least=level)
        case Load.OPEN:
            times_us = Poisson(rate_per_s=rate_per_s).times_us(cell.duration_s, rng)
            replies = await open_loop(stream, times_s=(times_us / 1e6).tolist())
    after = _Clock.read(server)
    found = figures(replies, items) | after.since(before, len(replies))
    if counters is not None:
        found["batches"] = (await look(server.port)).since(counters, after.wall_s - before.wall_s)
    return found | ({"rate_per_s": rate_per_s} if cell.load is Load.OPEN else {})


async def try_settings(server: Running, traces: Mapping[Mix, Sequence[Item]]) -> dict[str, Any]:
    """Return throughputs of labels on both mixes, and their geometric mean as the score."""
    await warm_up(server, Kind.CLASSIFY, traces[Mix.MIXED])
    reached = {}
    for mix, items in traces.items():
        cell = Cell(
            kind=Kind.CLASSIFY, mix=mix, load=Load.CLOSED, level=_TRIAL_CONCURRENCY, duration_s=_TRIAL_S
        )
        found = await measure(server, cell, items, seed=0, number=0, rate_per_s=0)
        reached[str(mix)] = found["throughput_per_s"] if found["num_failed"] == 0 else 0.0
    return {"score": math.prod(reached.values()) ** (1 / len(reached)), "throughput_per_s": reached}


def figures(replies: Sequence[Reply], items: Sequence[Item]) -> dict[str, Any]:
    """Return what is kept of a load's replies."""
    good = [reply for reply in replies if reply.is_ok]
    kept: dict[str, Any] = {"num_replies": len(replies), "num_failed": len(replies) - len(good)}
    if not good:
        return kept
    elapsed_s = max(reply.done_s for reply in replies)
    latencies = np.array([reply.latency_s for reply in sorted(good, key=lambda reply: reply.due_s)])
    p50, p90, p99 = (float(np.quantile(latencies, p, method="inverted_cdf")) for p in (0.5, 0.9, 0.99))
    return kept | {
        "elapsed_s": elapsed_s,
        "throughput_per_s": len(good) / elapsed_s,
        "tokens_per_s": sum(items[reply.item].num_tokens for reply in good) / elapsed_s,
        "p50_s": p50,
        "p90_s": p90,
        "p99_s": p99,
        "latencies_ms": [round(1e3 * value, 1) for value in latencies.tolist()],
    }


def _stream(server: Running, kind: Kind, items: Sequence[Item], first: int = 0) -> Stream:
    bodies = [server.system.body(kind, item) for item in items]
    return Stream(target=server.target(kind), bodies=bodies, first=first)


async def _each(stream: Stream) -> list[Reply]:
    return await closed_loop(
        stream, concurrency=_ANSWERS_CONCURRENCY, duration_s=0, at_least=len(stream.bodies)
    )


def _answers(server: Running, kind: Kind, replies: Sequence[Reply]) -> dict[str, list[float]]:
    read = {reply.item: server.system.answer(kind, reply.body) for reply in replies if reply.is_ok}
    return {str(item): [round(value, _DIGITS) for value in read[item]] for item in sorted(read)}
