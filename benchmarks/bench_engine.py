"""The engine's forward pass beside the best matrix product of the same run; `make bench-engine`.

    python benchmarks/bench_engine.py [--quick] [--size base] [--threads N] [--repeats 7] [--out DIR]

Measures, interleaved and in another order in each repeat: single-precision products in several shapes, by
torch's own kernels and by oneDNN's; the packed forward over all rows in float32, bfloat16 and int8, and in
float32 as stored (torch's own kernels), on batches of XTREME-R's lengths; the same beside the forward that is
served to classify, whose last layer is computed for first tokens alone; and one replica with all threads
against replicas of one thread each. Writes engine-SIZE.md and engine-SIZE.json into docs/benchmarks.
``--quick`` takes a minute; its figures are no result and say so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the service does, before torch is loaded
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.engine_batches import MIXES, Batch, draw_lengths, useful_flops
from benchmarks.engine_report import Cell, Spread, markdown, page, ratio, table, verdicts
from benchmarks.engine_timing import Products, cpu_seconds, others_ratio, replicas, seconds
from loadtest.driver.environment import describe_environment
from models.checkpoint import Form, load_model
from models.fused import best_form
from models.linear import multiplies_natively
from models.synthetic import Size, shape_of, write_checkpoint
from models.variant import HeadKind, Variant
from service.engine.threads import choose_threads, usable_cores

if TYPE_CHECKING:
    from models.model import Model

ROOT = Path(__file__).resolve().parents[1]
BUDGETS = (64, 128, 256, 512, 1024, 2048)
QUICK_BUDGETS = (128, 512)
REPLICA_BUDGET = 1024
# What classify saves by reading first tokens alone: many rows a batch, and few.
FIRST_MIXES, FIRST_BUDGET = ("xnli", "qa"), 512
# torch's own kernels, for comparison.
STORED = "float32 as stored"
STORED_BUDGETS = (512,)


def load(folder: Path, size: Size) -> dict[str, Model]:
    """Return the model in each form, as the service would serve it."""
    if not (folder / "config.json").exists():
        write_checkpoint(folder, head=HeadKind.CLASSIFY, labels=("a", "b", "c"), size=size)
    variant = Variant(name="bench", head=HeadKind.CLASSIFY, checkpoint=str(folder.resolve()))
    forms = {STORED: load_model(variant, form=Form.STORED)}
    for dtype in ("float32", "bfloat16", "int8"):
        wanted = getattr(torch, dtype)
        if multiplies_natively(wanted):
            forms[dtype] = load_model(variant, dtype=wanted, form=best_form(torch.device("cpu"), wanted))
    return forms


def measure(arguments: argparse.Namespace, forms: dict[str, Model], progress: Progress) -> dict[str, Any]:
    """Run every repeat; return the raw values."""
    shape = shape_of(arguments.size)
    products = Products(shape.hidden_size, shape.intermediate_size)
    vocab_size = forms["float32"].vocab_size
    batches = {
        (mix, budget): Batch.of(draw_lengths(mix, budget, arguments.seed), vocab_size=vocab_size)
        for mix in MIXES
        for budget in (QUICK_BUDGETS if arguments.quick else BUDGETS)
    }
    cases = [
        (form, mix, budget)
        for form in forms
        for mix, budget in batches
        if form != STORED or budget in STORED_BUDGETS
    ]
    raw: dict[str, Any] = {
        "products": [],
        "times": {case: [] for case in cases},
        "first": {},
        "replicas": {},
        "others": [],
    }
    bar = progress.add_task("repeats", total=arguments.repeats * (len(cases) + 1))
    order = random.Random(arguments.seed)  # noqa: S311 - an order, no secret
    for _ in range(arguments.repeats):
        before, began = cpu_seconds(), time.perf_counter()
        raw["products"].append(products.measure())
        progress.advance(bar)
        for form, mix, budget in order.sample(cases, len(cases)):
            batch, model = batches[mix, budget], forms[form]
            raw["times"][form, mix, budget].append(seconds(lambda: batch.run_whole(model)))  # noqa: B023 - run at once
            progress.advance(bar)
        for form, model in forms.items():
            if form == STORED:
                continue
            for mix in FIRST_MIXES:
                pair = whole_and_first(model, batches[mix, FIRST_BUDGET])
                raw["first"].setdefault(f"{form} {mix}", []).append(pair)
            batch = Batch.of(draw_lengths("xnli", REPLICA_BUDGET, arguments.seed), vocab_size=vocab_size)
            pair = replicas(model, batch, arguments.threads, runs=1 if arguments.quick else 3)
            raw["replicas"].setdefault(form, []).append(pair)
        raw["others"].append(
            others_ratio(before, cpu_seconds(), os.cpu_count() or 1, time.perf_counter() - began)
        )
    raw["batches"] = batches
    return raw


def whole_and_first(model: Model, batch: Batch) -> tuple[float, float]:
    """Return tokens a second of a pass over all rows, and of one that ends with first tokens alone."""
    whole_s, first_s = seconds(lambda: batch.run_whole(model)), seconds(lambda: batch.run(model))
    return batch.num_tokens / whole_s, batch.num_tokens / first_s


def cells_of(raw: dict[str, Any], size: Size) -> list[Cell]:
    """Return useful FLOP/s of every batch and form, over all rows."""
    shape, cells = shape_of(size), []
    for (form, mix, budget), times in raw["times"].items():
        lengths = raw["batches"][mix, budget].lengths
        flops = useful_flops(
            lengths, num_layers=shape.num_layers, hidden=shape.hidden_size, inner=shape.intermediate_size
        )
        cells.append(
            Cell(
                mix=mix,
                budget=budget,
                num_tokens=sum(lengths),
                num_sequences=len(lengths),
                form=form,
                flops_per_s=tuple(flops / taken for taken in times),
            )
        )
    return cells


def thread_lines(model: Model, seed: int) -> list[list[str]]:
    """Measure the typical batch at each number of threads, as the service does at its start."""
    batch = Batch.of(draw_lengths("xnli", 256, seed), vocab_size=model.vocab_size)

    def taken(num_threads: int) -> float:
        torch.set_num_threads(num_threads)
        return seconds(lambda: batch.run(model))

    choice = choose_threads(taken, usable_cores())
    return [["threads", "ms", "chosen"]] + [
        [str(count), f"{1e3 * spent:.1f}", "yes" if count == choice.num_threads else ""]
        for count, spent in choice.seconds.items()
    ]


def tables_of(raw: dict[str, Any], cells: list[Cell], threads: int) -> dict[str, list[list[str]]]:
    """Return every table by its title."""
    sgemm = [max(one.values()) for one in raw["products"]]
    names = [max(one, key=lambda name: one[name]) for one in raw["products"]]
    products = [
        [str(repeat), f"{value / 1e9:.0f}", name]
        for repeat, (value, name) in enumerate(zip(sgemm, names, strict=True))
    ]
    return {
        "Forward pass over all rows": table(cells, sgemm, list(dict.fromkeys(cell.form for cell in cells))),
        f"Classify reads first tokens alone: {FIRST_BUDGET} tokens": [
            ["form, mix", "all rows, tokens/s", "last layer for first tokens, tokens/s", "first / all"],
            *pair_lines(raw["first"]),
        ],
        "Best product": [["repeat", "GF/s", "which"], *products],
        f"One replica with {threads} threads, or {threads} with one each": [
            ["form", "one replica, tokens/s", "replicas of one thread, tokens/s", "replicas / one"],
            *pair_lines(raw["replicas"]),
        ],
        "Threads, float32, 256 tokens of xnli": raw["threads"],
    }


def pair_lines(found: dict[str, list[tuple[float, float]]]) -> list[list[str]]:
    """Return a line for each name: the median of both sides, and the second over the first."""
    return [
        [
            name,
            *(f"{Spread.of(pair[side] for pair in pairs).middle:,.0f}" for side in (0, 1)),
            str(ratio([pair[1] for pair in pairs], [pair[0] for pair in pairs])),
        ]
        for name, pairs in found.items()
    ]


def record_of(
    arguments: argparse.Namespace, raw: dict[str, Any], cells: list[Cell], says: list[str]
) -> dict[str, Any]:
    """Return everything that was seen, as plain values."""
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "size": arguments.size.value,
        "quick": arguments.quick,
        "seed": arguments.seed,
        "repeats": arguments.repeats,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "environment": {key: value for key, value in describe_environment().items() if key != "host"},
        "others_ratio": raw["others"],
        "products_flops_per_s": raw["products"],
        "cells": [asdict(cell) for cell in cells],
        "lengths": {f"{mix} {budget}": batch.lengths for (mix, budget), batch in raw["batches"].items()},
        "all_and_first_rows_tokens_per_s": raw["first"],
        "replicas_tokens_per_s": raw["replicas"],
        "threads_ms": raw["threads"],
        "verdicts": says,
    }


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=Size, default=Size.BASE, choices=list(Size))
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--models", type=Path, default=ROOT / "var" / "benchmarks")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats = 1
    return arguments


def main() -> int:
    """Measure, print, write."""
    arguments, console = read_arguments(), Console(width=150)
    torch.set_num_threads(arguments.threads)
    with console.status("loading"):
        forms = load(arguments.models / arguments.size.value, arguments.size)
    with torch.inference_mode(), Progress(console=console, transient=True) as progress:
        raw = measure(arguments, forms, progress)
        raw["threads"] = thread_lines(forms["float32"], arguments.seed)
    cells = cells_of(raw, arguments.size)
    tables = tables_of(raw, cells, arguments.threads)
    says = verdicts(cells, [max(one.values()) for one in raw["products"]])
    record = record_of(arguments, raw, cells, says)
    for title, lines in tables.items():
        console.print(f"\n{title}\n{markdown(lines)}", markup=False, highlight=False, soft_wrap=True)
    console.print("\n" + "\n".join(says), markup=False, highlight=False, soft_wrap=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = f"engine-{arguments.size.value}"
    (arguments.out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (arguments.out / f"{name}.md").write_text(page(record, tables, says), encoding="utf-8")
    console.print(f"results: {arguments.out / name}.md", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
