"""Runs made of seeded numbers, in the files that a real run leaves behind.

The queue is Lindley's recursion over the schedule, so that latencies, in-flight counts and the split are
those of one server and not of independent draws.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from loadtest.datasets.tasks import TASKS, Task
from loadtest.report.html import write_report
from loadtest.report.study_files import save_study
from loadtest.report.study_record import (
    Capacity,
    Comparison,
    Correction,
    Interval,
    Margin,
    Offline,
    Phase,
    PositiveControl,
    Probe,
    QualityDifference,
    StudyArm,
    StudyRecord,
    StudyRun,
    TokenFit,
    TokenPoint,
    Verdict,
    VerdictWord,
)
from loadtest.trace.embeddings import Candidates, write_candidates, write_queries
from loadtest.trace.items import Gold, GoldAnswer, Item, Role, write_gold, write_items
from loadtest.trace.samples import SCHEMA, write_samples
from loadtest.trace.schedule import Arrival, Header, Source, write_schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 8
RETRIEVAL = (Task.TATOEBA, Task.MEWSLIX, Task.LAREQA)


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


MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """Write a trace and a run of it below a folder; returns the run's folder."""
    return build_run


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
        vectors = np.stack([_direction(item.id) for item in chosen])
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
                gold[item.id] = _gold(item, k)
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


def _gold(item: Item, k: int) -> GoldAnswer:
    task = Task(item.task)
    if task is Task.XNLI:
        return ("contradiction", "entailment", "neutral")[k % 3]
    if task is Task.XCOPA:
        return k % 2
    if task is Task.UDPOS:
        return ["NOUN", "VERB", "PUNCT"]
    if task is Task.PANX:
        return ["B-LOC", "I-LOC", "O"]
    if task in RETRIEVAL:
        return [f"{task}/{item.language}/candidate-{k % WIDTH}"]
    return ["the river"]


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
    answers = _answers(plan, [by_id[a.item] for a in arrivals], gold, answered, rng, run_dir)

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


def _answers(
    plan: RunPlan,
    asked: list[Item],
    gold: dict[str, GoldAnswer],
    answered: NDArray[np.bool_],
    rng: np.random.Generator,
    run_dir: Path,
) -> list[str | None]:
    right = rng.random(len(asked)) < plan.accuracy
    rows: dict[str, list[NDArray[np.float32]]] = {task: [] for task in RETRIEVAL}
    answers: list[str | None] = []
    for item, keep, is_right in zip(asked, answered, right, strict=True):
        answers.append(_answer(item, gold[item.id], is_right=bool(is_right), rows=rows) if keep else None)
    for task, vectors in rows.items():
        if vectors:
            write_queries(run_dir, task, np.stack(vectors))
    return answers


def _direction(candidate: str) -> NDArray[np.float32]:
    """Return a vector of length 1 that is a candidate's own."""
    seed = int.from_bytes(hashlib.sha256(candidate.encode()).digest()[:4])
    vector = np.random.default_rng(seed).standard_normal(WIDTH)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _answer(
    item: Item, gold: GoldAnswer, *, is_right: bool, rows: dict[str, list[NDArray[np.float32]]]
) -> str:
    task = Task(item.task)
    if task in RETRIEVAL:
        assert isinstance(gold, list)
        rows[task].append(_direction(gold[0]) * (4 if is_right else -4))
        return str(len(rows[task]) - 1)
    if task is Task.XNLI:
        label = gold if is_right else "neutral" if gold != "neutral" else "entailment"
        return json.dumps({"label": label, "scores": {label: 0.9}})
    if task is Task.XCOPA:
        assert isinstance(gold, int)
        return json.dumps({"choice": gold if is_right else 1 - gold, "scores": [0.5, 0.5]})
    if task in (Task.UDPOS, Task.PANX):
        assert isinstance(gold, list)
        tags = gold if is_right else ["O", *gold[1:]] if task is Task.PANX else ["X", *gold[1:]]
        return json.dumps({"tags": [{"tag": tag, "score": 0.9} for tag in tags]})
    text = "the river" if is_right else "a hill"
    return json.dumps({"answers": [{"text": text, "start": 0, "end": 9, "score": 0.9}]})


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


def study_record(folder: Path, runs: tuple[StudyRun, ...]) -> StudyRecord:
    """Return a study's record with something in each of its parts; the numbers are made up."""
    reference, arm = "english-intermediate", "multilingual-intermediate"
    rng = np.random.default_rng(5)

    def compared(name: str, ratio: float, spread: float, **more: Any) -> Comparison:
        log_ratios = tuple((np.log(ratio) + spread * rng.standard_normal(12)).tolist())
        centre, half = float(np.mean(log_ratios)), spread * 2.2 / np.sqrt(12)
        margin = Margin(low=-float(np.log(1.05)), high=float(np.log(1.05)))
        inside = margin.low < centre - half * 0.82 and centre + half * 0.82 < margin.high
        word = VerdictWord.EQUIVALENT if inside else VerdictWord.INCONCLUSIVE
        if centre - half > 0 and not inside:
            word = VerdictWord.SLOWER
        values = {
            "name": name,
            "measure": "p95 latency",
            "arm": arm,
            "reference": reference,
            "log_ratio": centre,
            "interval": Interval(low=centre - half, high=centre + half, confidence=0.95),
            "equivalence_interval": Interval(
                low=centre - half * 0.82, high=centre + half * 0.82, confidence=0.9
            ),
            "margin": margin,
            "pair_log_ratios": log_ratios,
            "word": word,
            "num_pairs": 12,
            "num_pairs_needed": 31 if word is VerdictWord.INCONCLUSIVE else None,
            "load_ratio": 0.6,
        }
        return Comparison.model_validate(values | more)

    places = [(t, c) for t in ("xnli", "panx", "xquad") for c in ("en", "sw", "zh")]
    places.remove(("xquad", "sw"))
    cells = [
        compared(f"{task}, {code}", 1 + 0.002 * k, 0.03, task=task, language=code, marked=k == 7)
        for k, (task, code) in enumerate(places)
    ]
    probes = {
        name: tuple(
            Probe(
                rate_per_s=rate,
                num_runs=3,
                latency_s=0.03 / max(0.04, 1 - rate / limit),
                interval=Interval(
                    low=0.026 / max(0.04, 1 - rate / limit),
                    high=0.036 / max(0.04, 1 - rate / limit),
                    confidence=0.95,
                ),
                goodput_per_s=rate * min(1.0, 1.4 - rate / limit),
                attained_ratio=min(1.0, 1.4 - rate / limit),
            )
            for rate in (10.0, 20.0, 30.0, 40.0, 48.0)
        )
        for name, limit in ((reference, 50.0), (arm, 49.0))
    }
    return StudyRecord(
        name="Does multilingual intermediate training serve slower?",
        question="Does multilingual intermediate-task fine-tuning serve slower or faster than English?",
        valid=True,
        verdict=Verdict(
            word=VerdictWord.EQUIVALENT,
            sentence="The arms serve equally fast: p95 at 0.6 of capacity differs by less than 5 %.",
            paragraph="Over twelve randomised pairs the p95 of the multilingual arm was 1.004 times that "
            "of the English arm (90 % interval 0.985 to 1.023), inside the 5 % margin declared in advance.",
        ),
        command="xlmr-load study study.toml",
        reference=reference,
        arms=(StudyArm(name=reference, synthetic=True), StudyArm(name=arm, synthetic=True)),
        runs=runs,
        comparisons=(
            compared("p50 latency at 0.6", 1.002, 0.02, primary=True),
            compared("p95 latency at 0.6", 1.004, 0.04, primary=True),
            compared("p99 latency at 0.6", 1.02, 0.11),
            compared("offline throughput", 0.998, 0.01, measure="throughput"),
            *(
                compared(f"{task}, p95", ratio, 0.05, task=task, correction=Correction.HOLM)
                for task, ratio in (("xnli", 1.0), ("xquad", 1.09), ("panx", 0.99))
            ),
            *cells,
        ),
        aa=(compared("A/A p95 latency", 1.0, 0.04),),
        positive_control=PositiveControl(
            planted_ratio=1.2, found=True, comparison=compared("positive control (20 % slower)", 1.2, 0.04)
        ),
        capacities=tuple(
            Capacity(
                arm=name,
                objective="p95<200ms",
                objective_s=0.2,
                percentile=0.95,
                rate_per_s=limit,
                interval=Interval(low=limit - 2.5, high=limit + 2.2, confidence=0.95),
                method="isotonic fit, bootstrap over runs",
                probes=probes[name],
            )
            for name, limit in ((reference, 42.5), (arm, 41.6))
        ),
        capacity_ratio=compared("capacity", 0.98, 0.03, measure="capacity"),
        offline=(
            Offline(arm=reference, num_runs=3, inputs_per_s=55.2, tokens_per_s=3120.0),
            Offline(arm=arm, num_runs=3, inputs_per_s=55.0, tokens_per_s=3105.0),
        ),
        quality=(
            QualityDifference(
                task="xnli",
                metric="accuracy",
                n=300,
                score=0.71,
                reference_score=0.69,
                difference=0.02,
                interval=Interval(low=-0.03, high=0.07, confidence=0.95),
                word=VerdictWord.INCONCLUSIVE,
            ),
        ),
        token_fits=tuple(
            TokenFit(
                arm=name,
                intercept_s=0.004,
                slope_s=0.0003,
                r_squared=0.91,
                points=tuple(
                    TokenPoint(
                        language=code,
                        tokens=30.0 + 4 * k,
                        service_s=0.004 + 0.0003 * (30 + 4 * k) * float(rng.normal(1, 0.04)),
                        n=40,
                    )
                    for k, code in enumerate(("en", "de", "sw", "zh", "th", "my", "yo"))
                ),
            )
            for name in (reference, arm)
        ),
        design={"pairs": 12, "seed": 3},
    )


def build_study(folder: Path, **plan: Any) -> Path:
    """Write a study of two arms, two pairs of runs and one unloaded run each."""
    runs = []
    for pair in range(2):
        for arm in ("english-intermediate", "multilingual-intermediate"):
            run_dir = build_run(folder, f"runs/{pair}-{arm}", arm=arm, replicate=pair, **plan)
            runs.append(
                StudyRun(
                    path=str(run_dir.relative_to(folder)),
                    arm=arm,
                    phase=Phase.PAIR,
                    replicate=pair,
                    pair=pair,
                    rate_per_s=40.0,
                    load_ratio=0.6,
                )
            )
    save_study(folder, study_record(folder, tuple(runs)))
    return folder


MakeStudy = Callable[..., Path]


@pytest.fixture(scope="session")
def make_study() -> MakeStudy:
    """Write a study below a folder; returns the folder."""
    return build_study


@pytest.fixture(scope="session")
def reported_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 1,500 requests with errors and objectives, and its report; not to be changed."""
    run_dir = build_run(
        tmp_path_factory.mktemp("reported"), num=1500, info={"objectives": ["p95<100ms, error_rate<5%"]}
    )
    write_report(run_dir)
    return run_dir


@pytest.fixture(scope="session")
def reported_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four runs and its report; not to be changed."""
    tasks = (Task.XNLI, Task.PANX, Task.XQUAD)
    folder = build_study(tmp_path_factory.mktemp("study"), num=400, tasks=tasks)
    write_report(folder)
    return folder
