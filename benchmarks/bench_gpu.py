"""The forward pass on a GPU beside the best matrix product of the same run; `make bench-gpu`.

    python benchmarks/bench_gpu.py [--sizes base,large] [--repeats 7] [--out DIR]

Measures in bfloat16, interleaved: square products; the packed forward at 1k to 65k tokens a batch on
XTREME-R's lengths, as a share of the best product (model FLOP utilisation); small batches with and
without recorded graphs; and what a thousand clients are served beside what the engine gives offline. Writes
gpu.md and gpu.json into docs/benchmarks. Ends with 2 where there is no CUDA device.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.engine_batches import Batch, draw_lengths, useful_flops
from benchmarks.engine_report import Spread, markdown, ratio
from benchmarks.engine_served import compare
from loadtest.driver.environment import describe_environment
from models.attention_varlen import choose_attention
from models.checkpoint import load_model
from models.fused import best_form
from models.synthetic import Size, shape_of, write_checkpoint
from models.variant import HeadKind, Variant
from service.batching.packing import PackedBatch
from service.domain import Lane
from service.engine.cuda import CudaRunner
from service.engine.graphs import cuda_recorder
from service.engine.torch_device import DeviceOptions, TorchDevice

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.model import Model

ROOT = Path(__file__).resolve().parents[1]
CUDA, DTYPE = torch.device("cuda"), torch.bfloat16
BUDGETS = (1024, 4096, 16_384, 65_536)
SMALL_BUDGETS = (16, 64, 256, 1024, 4096)
PRODUCT_SIDES = (2048, 4096, 8192)
GOAL_RATIO, GOAL_TOKENS = 0.5, 16_384
# MLPerf's server over offline for BERT-large on an H200 is 0.79.
GOAL_SERVED = 0.8
NUM_CLIENTS = 1024
NUM_SERVED_BATCHES = 40
_USAGE = 2

# By size, a repeat each: what was measured, by its name and budget.
Raw = dict[str, list[dict[str, dict[int, float]]]]


def seconds(work: Callable[[], object]) -> float:
    """Return the least of a few runs, from the call to the GPU's end."""
    work()
    times = []
    for _ in range(5):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)


def load(folder: Path, size: Size) -> tuple[Model, str | None]:
    """Return the model as the service would serve it, and why not with variable-length attention."""
    if not (folder / "config.json").exists():
        write_checkpoint(folder, head=HeadKind.CLASSIFY, labels=("a", "b", "c"), size=size)
    variant = Variant(name="bench", head=HeadKind.CLASSIFY, checkpoint=str(folder.resolve()))
    model = load_model(variant, device=CUDA, dtype=DTYPE, form=best_form(CUDA, DTYPE))
    shape = shape_of(size)
    choice = choose_attention(CUDA, DTYPE, head_size=shape.hidden_size // shape.num_heads)
    model.encoder.attention = choice.attention
    return model, choice.why_not_varlen


def best_product() -> float:
    """Return the FLOP/s of the best square product."""
    found = []
    for side in PRODUCT_SIDES:
        left, right = (torch.randn(side, side, device=CUDA, dtype=DTYPE) for _ in range(2))
        taken = seconds(lambda a=left, b=right: torch.mm(a, b))  # type: ignore[misc]  # a lambda's defaults
        found.append(2 * side**3 / taken)
    return max(found)


def packed(budget: int, vocab_size: int) -> PackedBatch:
    """Return a batch of mixed lengths as the engine gets it."""
    batch = Batch.of(draw_lengths("mixed", budget, 0), vocab_size=vocab_size)
    return PackedBatch(
        input_ids=batch.input_ids.numpy(),
        position_ids=batch.position_ids.numpy(),
        cu_seqlens=batch.cu_seqlens.numpy(),
        max_seqlen=max(batch.lengths),
    )


def measure(model: Model, size: Size, *, graphs: bool) -> dict[str, dict[int, float]]:
    """Run every batch once: FLOP/s of large ones, seconds of small ones without and with graphs."""
    shape = shape_of(size)
    seen: dict[str, dict[int, float]] = {"flops_per_s": {}, "plain_s": {}, "graphs_s": {}}
    for budget in BUDGETS:
        lengths = draw_lengths("mixed", budget, 0)
        batch = Batch.of(lengths, vocab_size=model.vocab_size, device="cuda")
        flops = useful_flops(
            lengths, num_layers=shape.num_layers, hidden=shape.hidden_size, inner=shape.intermediate_size
        )
        seen["flops_per_s"][budget] = flops / seconds(lambda b=batch: b.run(model))  # type: ignore[misc]  # as above
    plain = CudaRunner(CUDA, record=None)
    recorded = CudaRunner(CUDA, record=cuda_recorder() if graphs else None)
    recorded.prepare(model, None)
    lane = Lane(variant="bench")
    for budget in SMALL_BUDGETS:
        one = packed(budget, model.vocab_size)
        for name, runner in (("plain_s", plain), ("graphs_s", recorded)):
            seen[name][budget] = seconds(lambda r=runner, b=one: r.run(model, lane, b))  # type: ignore[misc]  # as above
    return seen


def measure_served(folder: Path, vocab_size: int, repeat: int) -> dict[int, float]:
    """Return served over offline throughput, by the budget of a batch."""
    variant = Variant(name="bench", head=HeadKind.CLASSIFY, checkpoint=str(folder.resolve()))
    rng = np.random.default_rng(repeat)
    lengths = [
        length
        for batch in range(NUM_SERVED_BATCHES)
        for length in draw_lengths("mixed", GOAL_TOKENS, NUM_SERVED_BATCHES * repeat + batch)
    ]
    rng.shuffle(lengths)
    seen = asyncio.run(
        compare(
            lambda: TorchDevice((variant,), DeviceOptions(name="cuda", dtype="bfloat16")),
            Lane(variant="bench"),
            [rng.integers(4, vocab_size, length).astype(np.int32) for length in lengths],
            max_batch_tokens=GOAL_TOKENS,
            num_clients=NUM_CLIENTS,
        )
    )
    return {GOAL_TOKENS: seen.served_per_s / seen.offline_per_s}


def tables_of(raw: Raw, products: list[float]) -> dict[str, list[list[str]]]:
    """Return the tables by their titles."""
    large = [["size", "tokens", "TFLOP/s", "share of the best product"]]
    small = [["size", "tokens", "plain ms", "graphs ms", "graphs / plain"]]
    for size, repeats in raw.items():
        for budget in BUDGETS:
            speeds = [one["flops_per_s"][budget] for one in repeats]
            large.append([size, f"{budget:,}", f"{median(speeds) / 1e12:.0f}", str(ratio(speeds, products))])
        for budget in SMALL_BUDGETS:
            plain, graphs = ([one[name][budget] for one in repeats] for name in ("plain_s", "graphs_s"))
            times = [f"{1e3 * median(values):.2f}" for values in (plain, graphs)]
            small.append([size, f"{budget:,}", *times, str(ratio(graphs, plain))])
    served = [["size", "tokens", "clients", "served / offline"]]
    served += [
        [size, f"{budget:,}", f"{NUM_CLIENTS:,}", str(Spread.of(one["served"][budget] for one in repeats))]
        for size, repeats in raw.items()
        for budget in repeats[0]["served"]
    ]
    return {"Large batches": large, "Small batches": small, "Served": served}


def verdicts_of(raw: Raw, products: list[float]) -> list[str]:
    """Say of each size whether the goal is met."""
    shares = {
        size: ratio([one["flops_per_s"][GOAL_TOKENS] for one in repeats], products)
        for size, repeats in raw.items()
    }
    served = {size: Spread.of(one["served"][GOAL_TOKENS] for one in repeats) for size, repeats in raw.items()}
    return [
        f"{size}: >= {GOAL_RATIO} of the best product at {GOAL_TOKENS:,} tokens: "
        f"{'met' if share.middle >= GOAL_RATIO else 'MISSED'} ({share})"
        for size, share in shares.items()
    ] + [
        f"{size}: served >= {GOAL_SERVED} of offline at {NUM_CLIENTS:,} clients: "
        f"{'met' if share.middle >= GOAL_SERVED else 'MISSED'} ({share})"
        for size, share in served.items()
    ]


def page(record: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    products = record["products_flops_per_s"]
    parts = [
        "# The engine on a GPU",
        (
            f"{record['at']}, {record['device']}, torch {record['torch']}, CUDA {record['cuda']}, commit "
            f"{record['environment'].get('commit')}; bfloat16, {record['repeats']} interleaved repeats; "
            "medians, with the smallest and largest repeat in brackets. Best product: "
            f"{median(products) / 1e12:.0f} TFLOP/s."
        ),
        "\n".join(f"- {line}" for line in record["verdicts"]),
    ]
    parts += [
        f"**{size}: no variable-length attention, no graphs: {reason}.**"
        for size, reason in record["varlen_unavailable"].items()
        if reason is not None
    ]
    for title, lines in tables_of(record["raw"], products).items():
        parts += [f"## {title}", markdown(lines)]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", default="base,large")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--models", type=Path, default=ROOT / "var" / "benchmarks")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    arguments, console = parser.parse_args(), Console(width=150)
    if not torch.cuda.is_available():
        console.print("There is no CUDA device here; run this where there is one.")
        return _USAGE
    sizes = [Size(name) for name in arguments.sizes.split(",")]
    with console.status("loading"):
        loaded = {size: load(arguments.models / size.value, size) for size in sizes}
    raw: Raw = {size.value: [] for size in sizes}
    products = []
    with torch.inference_mode(), Progress(console=console, transient=True) as progress:
        for _ in progress.track(range(arguments.repeats), description="repeats"):
            products.append(best_product())
            for size, (model, why_not) in loaded.items():
                raw[size.value].append(measure(model, size, graphs=why_not is None))
        for size, (model, _) in loaded.items():
            for repeat, one in enumerate(raw[size.value]):
                one["served"] = measure_served(arguments.models / size.value, model.vocab_size, repeat)
    reasons = {size.value: reason for size, (_, reason) in loaded.items()}
    record = record_of(raw, products, reasons)
    text = page(record)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gpu.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "gpu.md").write_text(text, encoding="utf-8")
    return 0


def record_of(raw: Raw, products: list[float], why_not: dict[str, str | None]) -> dict[str, Any]:
    """Return everything that was seen, as plain values."""
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "device": torch.cuda.get_device_name(),
        "capability": torch.cuda.get_device_capability(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "varlen_unavailable": why_not,
        "environment": {key: value for key, value in describe_environment().items() if key != "host"},
        "repeats": len(products),
        "products_flops_per_s": products,
        "raw": raw,
        "verdicts": verdicts_of(raw, products),
    }


if __name__ == "__main__":
    sys.exit(main())
