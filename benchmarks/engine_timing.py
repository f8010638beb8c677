"""Ways to time the engine: a run, the machine's best product, replicas side by side, and who else ran.

Rules: a time is the least of a few runs, since whatever disturbs a run only makes it longer; what other
processes took meanwhile is told beside it.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING

import torch

from models.linear import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.engine_batches import Batch
    from models.model import Model

# Rows of the products: what a batch has.
PRODUCT_ROWS = (512, 1024, 2048)


def seconds(work: Callable[[], object], *, at_least_s: float = 0.2) -> float:
    """Return the least time of as many runs as fit; of a long one that is one."""
    times: list[float] = []
    while sum(times) < at_least_s:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


class Products:
    """Single-precision products of the model's own shapes, and a square one."""

    def __init__(self, hidden: int, inner: int) -> None:
        self._cases: dict[str, tuple[float, Callable[[], object]]] = {}
        for rows in PRODUCT_ROWS:
            for num_in, num_out in ((hidden, inner), (inner, hidden), (hidden, 3 * hidden), (rows, rows)):
                left, weight = torch.randn(rows, num_in), torch.randn(num_out, num_in)
                packed, flops = pack(weight), 2.0 * rows * num_in * num_out
                name = f"{rows}x{num_in}x{num_out}"
                self._add(f"torch {name}", flops, lambda a=left, b=weight: torch.mm(a, b.T))  # type: ignore[misc]  # a lambda's defaults
                self._add(f"oneDNN {name}", flops, lambda a=left, b=packed: self._onednn(a, b))  # type: ignore[misc]  # as above

    def _add(self, name: str, flops: float, work: Callable[[], object]) -> None:
        self._cases[name] = (flops, work)

    @staticmethod
    def _onednn(left: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(left, packed, None, "none", [], "")  # noqa: SLF001 - torch names it so
        return output

    def measure(self) -> dict[str, float]:
        """Return FLOP/s by product."""
        return {name: flops / seconds(work, at_least_s=0.05) for name, (flops, work) in self._cases.items()}


def replicas(model: Model, batch: Batch, num_threads: int, *, runs: int) -> tuple[float, float]:
    """Return tokens a second of one replica with all threads, and of as many replicas of one thread each.

    ``runs``: of each replica; the one alone does the work of all. Each first runs once unmeasured.
    """
    torch.set_num_threads(num_threads)
    batch.run(model)
    began = time.perf_counter()
    for _ in range(num_threads * runs):
        batch.run(model)
    together = num_threads * runs * batch.num_tokens / (time.perf_counter() - began)
    start = Barrier(num_threads + 1)

    def serve() -> None:
        torch.set_num_threads(1)
        batch.run(model)
        start.wait()
        for _ in range(runs):
            batch.run(model)

    with ThreadPoolExecutor(num_threads) as pool:
        ends = [pool.submit(serve) for _ in range(num_threads)]
        start.wait()
        began = time.perf_counter()
        for end in ends:
            end.result()
        apart = num_threads * runs * batch.num_tokens / (time.perf_counter() - began)
    torch.set_num_threads(num_threads)
    return together, apart


def others_ratio(
    before: tuple[float, float], after: tuple[float, float], num_cores: int, wall_s: float
) -> float:
    """Return the share of the cores that other processes, or the host, had between two readings."""
    busy, own = after[0] - before[0], after[1] - before[1]
    return max(0.0, (busy - own) / (num_cores * wall_s))


def cpu_seconds() -> tuple[float, float]:
    """Read the seconds that all cores were busy or stolen, and those of this process."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, hard, soft, steal = (int(field) for field in fields[:8])
    ticks = user + nice + system + hard + soft + steal
    return ticks / os.sysconf("SC_CLK_TCK"), time.process_time()
