"""Runs made of seeded numbers, in the files that a real run leaves behind.

The queue is Lindley's recursion over the schedule, so that latencies, in-flight counts and the split are
those of one server and not of independent draws.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from loadtest.datasets.tasks import TASKS, Task
from loadtest.trace.embeddings import Candidates, write_candidates
from loadtest.trace.items import Gold, Item, Role, write_gold, write_items
from loadtest.trace.samples import SCHEMA, write_samples
from loadtest.trace.schedule import Arrival, Header, Source, write_schedule
from tests.loadtest.report.made_up_answers import RETRIEVAL, WIDTH, direction, gold_of, make_answers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtest.trace.items import GoldAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a made-up run is like; times in seconds."""

    num: int = 1200
    rate_per_s: float = 40.0
    seed: int = 7
    arm: str = "english-intermediate"
    replicate: int = 0
    tasks: tuple[Task, ...] = tuple(Task)
    items_per_cell: int = 2
    service_s: float = 0.016
    error_ratio: float = 0.01
    censored_ratio: float = 0.005
    accuracy: float = 0.7
    has_split: bool = True
    stall: tuple[float, float] | None = None
    info: dict[str, Any] = field(default_factory=dict)
    to_top: str = "../"


def build_run(folder: Path, name: str = "run", **plan: Any) -> Path:
    """Write ``folder/trace`` (once) and ``folder/name``."""
    return _build(folder, name, RunPlan(**plan, to_top="../" * len(Path(name).parts)))


def _build(folder: Path, name: str, plan: RunPlan) -> Path:
    items, gold, candidates = _items(plan)
    trace_dir, run_dir = folder / "trace", folder / name
    arrivals = _schedule(plan, items)
    header = _write_trace(trace_dir, items, candidates, gold, arrivals, plan)
    run_dir.mkdir(parents=True)
    frame = _samples(plan, items, gold, arrivals, run_dir)
    index = folder / "index"
    for task in {item.task for item in candidates}:
        chosen = [item for item in candidates if item.task == task]
        vectors = np.stack([direction(item.id) for item in chosen])
        write_candidates(index, task, Candidates(ids=tuple(i.id for i in chosen), vectors=vectors, origin={}))
    write_samples(run_dir, frame)
    (run_dir / "run.json").write_text(json.dumps(_info(plan, header, frame)), encoding="utf-8")
    return run_dir


def _items(plan: RunPlan) -> tuple[list[Item], dict[str, GoldAnswer], list[Item]]:
    items: list[Item] = []
    gold: dict[str, GoldAnswer] = {}
    candidates: list[Item] = []
    for task in plan.tasks:
        spec = TASKS[task]
        for language in spec.languages:
            if task in RETRIEVAL:
                candidates += [_item(task, language, f"candidate-{k}", Role.CANDIDATE) for k in range(WIDTH)]
            for k in range(plan.items_per_cell):
                item = _item(task, language, str(k), Role.QUERY if task in RETRIEVAL else Role.ITEM)
                items.append(item)
                gold[item.id] = gold_of(item, k)
    return items, gold, candidates


def _item(task: Task, language: str, name: str, role: Role) -> Item:
    return Item(
        id=f"{task}/{language}/{name}",
        task=task,
        language=language,
        role=role,
        input={"text": "a"},
        parameters={},
    )


def _schedule(plan: RunPlan, items: list[Item]) -> list[Arrival]:
    rng = np.random.default_rng([plan.seed, 0])
    times = np.cumsum(rng.exponential(1 / plan.rate_per_s, plan.num))
    order = np.concatenate([rng.permutation(len(items)) for _ in range(plan.num // len(items) + 1)])
    return [
        Arrival(i=i, t_us=round(t * 1e6), item=items[k].id)
        for i, (t, k) in enumerate(zip(times, order, strict=False))
    ]


def _write_trace(
    folder: Path,
    items: list[Item],
    candidates: list[Item],
    gold: dict[str, GoldAnswer],
    arrivals: list[Arrival],
    plan: RunPlan,
) -> Header:
    folder.mkdir(parents=True, exist_ok=True)
    items_sha256 = write_items(folder / "items.jsonl", [*items, *candidates])
    gold_sha256 = write_gold(folder / "gold.jsonl", [Gold(id=k, gold=v) for k, v in gold.items()])
    header = Header(
        name="made-up",
        law=f"poisson:{plan.rate_per_s:g}",
        duration_s=arrivals[-1].t_us / 1e6,
        seed=plan.seed,
        num_items=len(items) + len(candidates),
        num_candidates=len(candidates),
        num_arrivals=len(arrivals),
        items_sha256=items_sha256,
        gold_sha256=gold_sha256,
        mix={},
        selection={},
        options={},
        sources=(
            Source(task="xnli", languages=("en",), file="x.tsv", sha256="0" * 64, licence="none", gold=True),
        ),
        version="0.1.0",
    )
    write_schedule(folder / "schedule.jsonl", header, arrivals)
    return header


def _lindley(due: NDArray[np.float64], service: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the waits of one first-come, first-served server."""
    waits = np.zeros_like(due)
    for i in range(1, due.size):
        waits[i] = max(0.0, waits[i - 1] + service[i - 1] - (due[i] - due[i - 1]))
    return waits


def _samples(
    plan: RunPlan,
    items: list[Item],
    gold: dict[str, GoldAnswer],
    arrivals: list[Arrival],
    run_dir: Path,
) -> pl.DataFrame:
    rng = np.random.default_rng([plan.seed, 1, plan.replicate, len(plan.arm)])
    by_id = {item.id: item for item in items}
    n = len(arrivals)
    due = np.array([arrival.t_us for arrival in arrivals], dtype=np.float64) / 1e6
    premium = {lang: 1 + 0.02 * k for k, lang in enumerate(sorted({item.language for item in items}))}
    weight = {Task.XCOPA: 1.4, Task.XQUAD: 3.0, Task.MLQA: 3.0, Task.TYDIQA: 2.6}
    mean_tokens = np.array(
        [30 * premium[by_id[a.item].language] * weight.get(Task(by_id[a.item].task), 1) for a in arrivals]
    )
    tokens = np.maximum(4, rng.gamma(6, mean_tokens / 6)).astype(np.int32)
    infer = plan.service_s * (0.4 + 0.6 * tokens / 45) * rng.lognormal(0, 0.15, n)
    if plan.stall is not None:
        at, length = plan.stall
        infer[np.searchsorted(due, at)] += length
    lateness = rng.exponential(0.0008, n)
    tokenize, decode, network = (rng.exponential(mean, n) for mean in (0.0006, 0.0003, 0.0012))
    queue = _lindley(due + lateness, infer)
    rest = 0.0001
    total = tokenize + queue + infer + decode + rest
    service = network + total
    fate = rng.random(n)
    is_error = fate < plan.error_ratio
    is_censored = (fate >= plan.error_ratio) & (fate < plan.error_ratio + plan.censored_ratio)
    service = np.where(is_error, 0.003, np.where(is_censored, 2.0, service))
    answered = ~is_error & ~is_censored
    right = rng.random(n) < plan.accuracy
    answers = make_answers([by_id[a.item] for a in arrivals], gold, answered, right, run_dir)

    def where(mask: NDArray[np.bool_], values: NDArray[Any]) -> list[Any]:
        return [value if keep else None for keep, value in zip(mask, values.tolist(), strict=True)]

    split = answered & plan.has_split
    micros = [np.rint(x * 1e6).astype(np.int64) for x in (due, due + lateness, due + lateness + service)]
    return pl.DataFrame(
        {
            "i": np.arange(n),
            "item": [a.item for a in arrivals],
            "task": [by_id[a.item].task for a in arrivals],
            "language": [by_id[a.item].language for a in arrivals],
            "variant": [f"{plan.arm}.{by_id[a.item].task}" for a in arrivals],
            "arm": [plan.arm] * n,
            "replicate": [plan.replicate] * n,
            "intended_us": micros[0],
            "sent_us": micros[1],
            "done_us": micros[2],
            "status": [429 if e else None if c else 200 for e, c in zip(is_error, is_censored, strict=True)],
            "error": [
                "429 queue full" if e else "timeout" if c else None
                for e, c in zip(is_error, is_censored, strict=True)
            ],
            "censored": is_censored,
            "tokens": where(answered, tokens),
            "tokenize_ms": where(split, tokenize * 1e3),
            "queue_ms": where(split, queue * 1e3),
            "infer_ms": where(split, infer * 1e3),
            "decode_ms": where(split, decode * 1e3),
            "total_ms": where(split, total * 1e3),
            "answer": answers,
        },
        schema=SCHEMA,
    )


def _info(plan: RunPlan, header: Header, frame: pl.DataFrame) -> dict[str, Any]:
    return {
        "index": plan.to_top + "index",
        "arm": plan.arm,
        "trace": plan.to_top + "trace",
        "tasks": dict(frame.select("task", "variant").unique().iter_rows()),
        "outcome": {"status": "complete", "message": "", "start_wall_ns": 1_790_000_000_000_000_000},
        "target": "http://127.0.0.1:8080",
        "command": "xlmr-load run --trace trace --target http://127.0.0.1:8080 --arm arm.toml --out run",
        "environment": {"cpu": "a made-up processor", "cores": 2, "python": "3.11.2", "git": "0123abc"},
        "variants": [
            {"name": name, "revision": "r1", "synthetic": True} for name in frame["variant"].unique().sort()
        ],
        "gauges": {
            "num_workers": 1,
            "num_workers_lost": 0,
            "generator_cpu_ratio": 0.21,
            "steal_ratio": 0.0,
            "hub_delay_p99_s": 0.002,
            "clock_drift_ratio": 1e-6,
            "changed_weights": [],
        },
        **plan.info,
    }
