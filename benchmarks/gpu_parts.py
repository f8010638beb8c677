"""What is measured on a GPU: products, the packed forward and its parts, batches from host to host, clients.

Rules: a time is the median of runs from the call to the GPU's end, after runs that are not counted.
FLOP/s are told of what multiplies every real token in every layer, and of nothing else: from host to host the
engine leaves out of the last layer what no head reads, and only its times are told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from benchmarks.engine_batches import Batch, draw_lengths, useful_flops
from benchmarks.engine_served import opened
from models.attention_varlen import choose_attention
from models.checkpoint import load_model
from models.encoder import Rows
from models.fused import best_form
from models.synthetic import shape_of, write_checkpoint
from models.variant import HeadKind, Variant
from service.batching.packing import PackedBatch
from service.domain import Lane
from service.engine.cuda import CudaRunner
from service.engine.graphs import BUCKETS, buckets_of
from service.engine.torch_device import DeviceOptions, TorchDevice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from models.model import Model
    from models.synthetic import Shape, Size
    from service.engine.graphs import Record

# A repeat, and what was seen in it, by name.
Hear = Callable[[int, dict[str, float]], None]

DTYPE = torch.bfloat16
LANE = Lane(variant="bench")
# Runs of one measurement: at least so many, and more while they are short.
_LEAST_RUNS, _MOST_RUNS, _ENOUGH_S = 5, 50, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many tokens, clients and runs: whole, or few to try the parts out."""

    product_sides: tuple[int, ...] = (2048, 4096, 8192)
    budgets: tuple[int, ...] = (1024, 4096, 16_384, 65_536)
    small_budgets: tuple[int, ...] = (16, 64, 256, 1024, 4096, 8192, 16_384)
    # The service's own, and beyond them, to see from where on recording buys nothing.
    buckets: tuple[int, ...] = (*(bucket.num_tokens for bucket in BUCKETS), 8192, 16_384)
    goal_tokens: int = 16_384
    num_clients: int = 1024
    num_together: int = 16
    num_served_batches: int = 40
    num_served: int = 3


FEW = Sizes(
    product_sides=(16, 32),
    budgets=(32, 64),
    small_budgets=(16, 64),
    buckets=(64,),
    goal_tokens=64,
    num_clients=8,
    num_together=4,
    num_served_batches=3,
    num_served=1,
)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median of some runs, from the call to the device's end."""
    for _ in range(2):
        work()
    times: list[float] = []
    while len(times) < _LEAST_RUNS or (sum(times) < _ENOUGH_S and len(times) < _MOST_RUNS):
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - began)
    return median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def products(sizes: Sizes, device: torch.device) -> dict[str, float]:
    """Return the FLOP/s of square products by side."""
    found = {}
    for side in sizes.product_sides:
        left, right = (torch.randn(side, side, device=device, dtype=DTYPE) for _ in range(2))
        found[str(side)] = 2 * side**3 / seconds(partial(torch.mm, left, right), device)
    return found


class Bench:
    """One model as the service would hold it, and what is measured with it."""

    def __init__(self, folder: Path, size: Size, sizes: Sizes, device: torch.device) -> None:
        """Write the checkpoint unless it is there, and load it."""
        if not (folder / "config.json").exists():
            write_checkpoint(folder, head=HeadKind.CLASSIFY, labels=("a", "b", "c"), size=size)
        self.sizes = sizes
        self.shape: Shape = shape_of(size)
        self.variant = Variant(name="bench", head=HeadKind.CLASSIFY, checkpoint=str(folder.resolve()))
        self._device = device
        form = best_form(device, DTYPE)
        self._model: Model = load_model(self.variant, device=device, dtype=DTYPE, form=form)
        choice = choose_attention(device, DTYPE, head_size=self.shape.hidden_size // self.shape.num_heads)
        self._model.encoder.attention = choice.attention
        self.why_not_varlen = choice.why_not_varlen
        self._plain = CudaRunner(device, record=None)
        self._recorded: CudaRunner | None = None

    @property
    def has_recordings(self) -> bool:
        """Whether ``record`` recorded anything."""
        return self._recorded is not None

    @property
    def vocab_size(self) -> int:
        """How many ids the model knows."""
        return self._model.vocab_size

    def record(self, record: Record) -> float:
        """Record every bucket; returns the seconds that it took.

        Raises:
            RuntimeError: nothing could be recorded.
        """
        began = time.perf_counter()
        runner = CudaRunner(self._device, record=record, buckets=buckets_of(self.sizes.buckets))
        runner.prepare(self._model, None)
        _wait(self._device)
        if not runner.records(self._model, None):
            raise RuntimeError("nothing was recorded; the log says why")
        self._recorded = runner
        return time.perf_counter() - began

    def batch(self, budget: int) -> Batch:
        """Return a batch of mixed lengths on the device."""
        lengths = draw_lengths("mixed", budget, 0)
        return Batch.of(lengths, vocab_size=self.vocab_size, device=self._device.type)

    def flops(self, lengths: tuple[int, ...]) -> float:
        """Count what the encoder multiplies and adds: every token, every layer."""
        shape = self.shape
        return useful_flops(
            lengths, num_layers=shape.num_layers, hidden=shape.hidden_size, inner=shape.intermediate_size
        )

    def forward(self, budget: int) -> dict[str, float]:
        """Run the whole encoder and the head on what lies on the device, unrecorded."""
        batch = self.batch(budget)
        taken = seconds(partial(batch.run_whole, self._model), self._device)
        return {"seconds": taken, "flops_per_s": self.flops(batch.lengths) / taken}

    def linears(self, budget: int) -> dict[str, float]:
        """Run the layers' four linear maps alone: what the products of these shapes reach."""
        hidden, inner = self.shape.hidden_size, self.shape.intermediate_size
        rows = self.batch(budget).num_tokens
        outputs_inputs = ((3 * hidden, hidden), (hidden, hidden), (inner, hidden), (hidden, inner))
        maps = [self._random(*shape) for shape in outputs_inputs]
        biases = [self._random(num_out) for num_out, _ in outputs_inputs]
        given = {num_in: self._random(rows, num_in) for num_in in (hidden, inner)}

        def work() -> None:
            for _ in range(self.shape.num_layers):
                for weight, bias in zip(maps, biases, strict=True):
                    functional.linear(given[weight.shape[1]], weight, bias)

        taken = seconds(work, self._device)
        flops = 2 * rows * sum(weight.numel() for weight in maps) * self.shape.num_layers
        return {"seconds": taken, "flops_per_s": flops / taken}

    def attention(self, budget: int) -> dict[str, float]:
        """Run the layers' attention alone."""
        batch, shape = self.batch(budget), self.shape
        attend = self._model.encoder.attention(batch.cu_seqlens, max(batch.lengths), Rows.ALL)
        states = self._random(batch.num_tokens, 3, shape.num_heads, shape.hidden_size // shape.num_heads)
        query, key, value = states.unbind(1)

        def work() -> None:
            for _ in range(shape.num_layers):
                attend(query, key, value)

        taken = seconds(work, self._device)
        flops = 4 * shape.hidden_size * sum(length * length for length in batch.lengths) * shape.num_layers
        return {"seconds": taken, "flops_per_s": flops / taken}

    def host_to_host(self, budget: int, *, recorded: bool) -> dict[str, float]:
        """Run a batch as the engine does: one copy in, logits out."""
        runner = self._recorded if recorded else self._plain
        assert runner is not None, "Nothing was recorded, and a recording was to run. This is a bug."
        batch = self.batch(budget)
        ids, positions, bounds = (
            part.cpu().numpy() for part in (batch.input_ids, batch.position_ids, batch.cu_seqlens)
        )
        packed = PackedBatch(
            input_ids=ids, position_ids=positions, cu_seqlens=bounds, max_seqlen=max(batch.lengths)
        )
        return {"seconds": seconds(lambda: runner.run(self._model, LANE, packed), self._device)}

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, device=self._device, dtype=DTYPE)


def served(variant: Variant, sizes: Sizes, device: torch.device, vocab_size: int, hear: Hear) -> None:
    """Tell, a few times, what the engine gives offline and what clients get from it, tokens a second."""
    asyncio.run(_served(variant, sizes, device, vocab_size, hear))


async def _served(variant: Variant, sizes: Sizes, device: torch.device, vocab_size: int, hear: Hear) -> None:
    options = DeviceOptions(name=device.type, dtype=str(DTYPE).removeprefix("torch."))
    async with opened(
        lambda: TorchDevice((variant,), options),
        max_batch_tokens=sizes.goal_tokens,
        max_queue_tokens=1 + sizes.goal_tokens * sizes.num_served_batches,
    ) as world:
        for repeat in range(sizes.num_served):
            sequences = list(_sequences(sizes, vocab_size, repeat))
            offline = await world.offline(LANE, sequences)
            one = await world.served(LANE, sequences, sizes.num_clients)
            clients = max(1, sizes.num_clients // sizes.num_together)
            many = await world.served(LANE, sequences, clients, num_together=sizes.num_together)
            hear(repeat, {"offline_per_s": offline, "served_per_s": one, "served_together_per_s": many})


def _sequences(
    sizes: Sizes, vocab_size: int, repeat: int
) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int32]]]:
    rng = np.random.default_rng(repeat)
    lengths = [
        length
        for batch in range(sizes.num_served_batches)
        for length in draw_lengths("mixed", sizes.goal_tokens, sizes.num_served_batches * repeat + batch)
    ]
    rng.shuffle(lengths)
    for length in lengths:
        yield rng.integers(4, vocab_size, length).astype(np.int32)
