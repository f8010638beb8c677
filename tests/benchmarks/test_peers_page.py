"""The page of the comparison with peers, from a store of figures made up here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.peers_grid import quick
from benchmarks.peers_report import page, record_of
from benchmarks.peers_results import chosen_settings, compare
from benchmarks.peers_settings import RECORDED, Trials
from benchmarks.peers_store import Store
from benchmarks.peers_systems import LABELS, systems

if TYPE_CHECKING:
    from pathlib import Path

AT_16, AT_1 = "classify xnli closed 16", "classify xnli closed 1"
MIXED = "classify mixed closed 16"
RATE = "classify xnli open 0.7"
ANSWERS = "classify xnli answers 96"


def cell(throughput: float, p50_s: float, **more: object) -> dict[str, object]:
    values: dict[str, object] = {
        "num_replies": 100,
        "num_failed": 0,
        "throughput_per_s": throughput,
        "p50_s": p50_s,
        "p90_s": 2 * p50_s,
        "p99_s": 3 * p50_s,
        "server_cpu_ms_a_request": 50.0,
        "others_ratio": 0.01,
        "latencies_ms": [1e3 * p50_s] * 100,
    }
    return values | more


FORWARD = {
    "peer": "infinity",
    "settings": {"threads": 2},
    "product_flops_per_s": 400e9,
    "mixes": {
        mix: {
            "num_texts": 60,
            "num_tokens": 3000,
            # The service multiplies 9.5 GFLOP a text, and the peer 10.
            "flops_per_s": {"own": 285e9, "peer": 160e9},
            "texts_per_s": {"own": 30.0, "peer": 16.0},
        }
        for mix in ("xnli", "mixed")
    },
}
BATCHES = {"cuts": {"budget": 3, "empty": 1}, "batch_tokens": 400.0, "batch_sequences": 8.0}
BATCHES |= {"fill_ratio": 0.75, "engine_busy_ratio": 0.99}


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Trials]:
    store, tuning = Store(tmp_path / "quick.jsonl"), Store(tmp_path / "tuning.jsonl")
    recorded = Store(tmp_path / "settings.jsonl")
    lengths = {"items": 9, "mean_tokens": 46.2, "p50_tokens": 44, "p95_tokens": 75, "max_tokens": 99}
    setup = {"seed": 0, "size": "base", "texts": "made up", "tokenizer": "none", "vocab_size": 250002}
    store.put(("setup",), **setup, lengths={"xnli": lengths})
    store.put(("session", "then"), environment={"commit": "0123456789abcdef", "num_cores": 2}, wall_s=480.0)
    store.put(("session", "later"), environment={"commit": "0123456789abcdef", "num_cores": 2}, wall_s=420.0)
    store.put(("capacity", "classify", "xnli"), per_s=10.0, peer="infinity")
    store.put(("forward", "1"), **FORWARD)
    store.put(("failed", "ray"), why="it cannot be installed: no disk")
    for system, per_s, p50_s in (("float32", 30.0, 0.05), ("int8", 33.0, 0.03), ("infinity", 10.0, 0.1)):
        for number in ("0", "1"):
            crowd = 0.3 if (system, number) == ("int8", "1") else 0.01
            store.put(("cell", system, number, AT_16), **cell(per_s, p50_s, others_ratio=crowd))
        store.put(("cell", system, "1", RATE), **cell(7.0, p50_s, rate_per_s=7.0))
        store.put(("visit", system, "0"), start_s=9.0, memory_bytes=2e9, wall_s=60, settings={})
    store.put(("cell", "litserve", "0", AT_16), **cell(7.0, 0.1))
    store.put(("cell", "float32", "0", MIXED), **cell(20.0, 0.1, batches=BATCHES))
    store.put(("cell", "infinity", "0", AT_1), **cell(1.0, 0.1, num_failed=3))
    store.put(("cell", "float32", "0", ANSWERS), num_failed=0, num_replies=2, answers={"0": [0.5, 0.3, 0.2]})
    store.put(("cell", "int8", "0", ANSWERS), num_failed=0, num_replies=2, answers={"0": [0.3, 0.5, 0.2]})
    tuning.put(
        ("trial", "infinity", "8"), settings={"threads": 2, "batch_size": 8}, score=9.0, throughput_per_s={}
    )
    tuning.put(("trial", "infinity", "16"), settings={"threads": 2, "batch_size": 16}, score=11.0)
    recorded.put(("trial", "infinity", "8"), settings={"threads": 2, "batch_size": 8}, score=99.0)
    where = {"at": "2026-01-02 03:04 UTC", "commit": "fedcba9876543210", "cpu_model": "AMD", "num_cores": 2}
    settings = {"threads": 1, "concurrent": 2}
    recorded.put(("trial", "fastapi", "1"), settings=settings, score=9.0, throughput_per_s={}, **where)
    return store, Trials(here=tuning, recorded=recorded)


def test_the_page_says_what_was_met_missed_and_not_measured(stores: tuple[Store, Trials]) -> None:
    record = record_of(*stores, quick(), systems())
    text = page(record, quick())
    throughput = "throughput, labels, XNLI's pairs | 16 under way"
    assert f"| float32 | {throughput} | >= 2 x | Infinity | 3.00 (3.00-3.00) | 2 | 0 of 4 | met |" in text
    assert f"| int8 | {throughput} | >= 3.5 x | Infinity | 3.30 (3.30-3.30) | 2 | 1 of 4 | MISSED |" in text
    rate = "p99, labels, XNLI's pairs | 70% of the best peer's capacity"
    assert (
        f"| float32 | {rate} | <= 0.5 x | Infinity | 0.50 (0.50-0.50) | 1, 100 requests | 0 of 2 | met |"
        in text
    )
    assert "not decided: no peer measured" in text
    assert "- Ray Serve, @serve.batch: it cannot be installed: no disk" in text
    assert "**Failed requests, whose cells count in no figure: infinity classify xnli closed 1: 3.**" in text
    assert "- float32, round 3: 4 of 4 cells" in text
    assert "It took 15.0 minutes in 2 goes." in text
    assert "int8, classify xnli closed 16, round 2 30%.**" in text
    assert "| xlmr-serve, int8 | labels, XNLI's pairs | 1 | 0.2 | 0.0% |" in text
    assert "infinity-emb" not in text
    assert "threads 2, batch_size 16" in text
    assert "answers" not in record["cells"][0]


def test_the_page_says_who_was_left_out_and_what_the_forward_passes_do(stores: tuple[Store, Trials]) -> None:
    record = record_of(*stores, quick(), systems())
    text = page(record, quick())
    assert "| labels, XNLI's pairs | 16 | LitServe | 2 | 70% of Infinity | 90% |" in text
    assert "- litserve, round 2: 4 of 4 cells" in text
    assert "2.5 times the peer's texts would take the service 95% of it." in text
    assert "On XNLI's pairs the peer's pass reaches 40% of that product and the service's 71%" in text
    assert "| the mix | 3000 | 285 (285-285) | 160 (160-160) | 1.88 (1.88-1.88) | 400 (400-400) |" in text
    assert f"| {MIXED} | xlmr-serve, float32 | budget 3, empty 1 | 400 | 8.0 | 0.75 | 0.99 |" in text


def test_trials_of_this_machine_come_before_recorded_ones(stores: tuple[Store, Trials]) -> None:
    found = {system.name: stores[1].settings(system) for system in systems()}
    assert found["infinity"] == {"threads": 2, "batch_size": 16}
    assert found["fastapi"] == {"threads": 1, "concurrent": 2}
    text = page(record_of(*stores, quick(), systems()), quick())
    assert "| yes | 2026-01-02 03:04 UTC, commit fedcba987654; AMD, 2 cores |" in text


def test_recorded_settings_are_candidates_with_when_and_where() -> None:
    recorded, known = Store(RECORDED), {system.name: system.candidates for system in systems()}
    trials = recorded.under("trial")
    assert {trial["key"][1] for trial in trials} == {"infinity", "litserve", "fastapi", "ray"}
    for trial in trials:
        assert trial["settings"] in known[trial["key"][1]]
        assert trial["at"]
        assert trial["cpu_model"]
        assert trial["num_cores"] > 0


def test_settings_are_those_of_the_best_trial_and_else_the_first() -> None:
    candidates = [{"batch_size": 8}, {"batch_size": 16}]
    trials: list[dict[str, Any]] = [
        {"settings": {"batch_size": 8}, "score": None},
        {"settings": {"batch_size": 16}, "score": 2.0},
    ]
    assert chosen_settings(trials, candidates) == {"batch_size": 16}
    assert chosen_settings([], candidates) == {"batch_size": 8}
    assert chosen_settings([{"settings": {"batch_size": 99}, "score": 9.0}], candidates) == {"batch_size": 8}


def test_vectors_are_compared_by_component_and_least_cosine() -> None:
    found = compare(
        "ray", "embed xnli answers 24", {"0": [1, 0], "1": [0.6, 0.8]}, {"0": [1, 0], "1": [0.8, 0.6]}
    )
    assert found.num_items == 2
    assert found.most == pytest.approx(0.2)
    assert found.agreement == pytest.approx(0.96)


@pytest.mark.parametrize(
    ("name", "reply", "scores"),
    [
        (
            "int8",
            b'{"outputs": [{"scores": {"neutral": 3, "contradiction": 1, "entailment": 2}}]}',
            [1, 2, 3],
        ),
        ("ray", b'{"neutral": 3, "contradiction": 1, "entailment": 2}', [1, 2, 3]),
        (
            "infinity",
            (
                b'{"data": [[{"label": "neutral", "score": 3}, {"label": "contradiction", "score": 1},'
                b' {"label": "entailment", "score": 2}]]}'
            ),
            [1, 2, 3],
        ),
    ],
)
def test_scores_come_in_the_order_of_labels_whatever_a_server_sends(
    name: str, reply: bytes, scores: list[float]
) -> None:
    (system,) = [system for system in systems() if system.name == name]
    (kind,) = [kind for kind in system.paths if kind == "classify"]
    assert LABELS == ("contradiction", "entailment", "neutral")
    assert system.answer(kind, reply) == scores
