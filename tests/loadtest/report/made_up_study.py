"""A study's record with something in each of its parts, and the runs that it names, all made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
from tests.loadtest.report.made_up_run import build_run

if TYPE_CHECKING:
    from pathlib import Path


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
