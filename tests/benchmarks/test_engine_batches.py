"""The engine's benchmark: its batches, its count of useful work, and what it says of goals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import XLMRobertaConfig

from benchmarks.engine_batches import MIXES, TASKS, Batch, draw_lengths, useful_flops
from benchmarks.engine_report import Cell, Spread, page, ratio, table, verdicts
from models.encoder import Encoder, Rows


@pytest.mark.parametrize("lengths", [(7,), (3, 3, 3), (2, 5, 5, 11)])
def test_useful_work_is_what_torch_counts(lengths: tuple[int, ...]) -> None:
    config = XLMRobertaConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=80,
        max_position_embeddings=40,
    )
    encoder = Encoder(config).eval()
    batch = Batch.of(lengths, vocab_size=50)
    packed = (batch.input_ids, batch.position_ids, batch.cu_seqlens, max(lengths))
    counter = FlopCounterMode(display=False)
    # It has no formula for the CPU's fused attention, and counts the products of the plain one.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        encoder(*packed)
    assert useful_flops(lengths, num_layers=3, hidden=32, inner=80) == counter.get_total_flops()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        encoder(*packed, None, Rows.FIRST)
    # It sees nothing of the last layer's attention, which is no matrix product: two operations a number of
    # keys and of values.
    unseen = 2 * 2 * 32 * sum(lengths)
    first = useful_flops(lengths, num_layers=3, hidden=32, inner=80, rows=Rows.FIRST)
    assert first == counter.get_total_flops() + unseen


@pytest.mark.parametrize("budget", [64, 512, 4096])
@pytest.mark.parametrize("mix", MIXES)
def test_batches_fill_their_budget_and_never_change(mix: str, budget: int) -> None:
    lengths = draw_lengths(mix, budget, 0)
    assert lengths == draw_lengths(mix, budget, 0)
    assert lengths == tuple(sorted(lengths))
    cap = max(TASKS[task].cap for task in MIXES[mix])
    assert 3 <= min(lengths) <= max(lengths) <= cap
    assert sum(lengths) <= budget
    if budget > 2 * cap:
        assert sum(lengths) > budget - cap


@pytest.mark.parametrize(("mix", "task"), [("short", "tatoeba"), ("xnli", "xnli"), ("qa", "xquad")])
def test_drawn_lengths_have_their_tasks_mean(mix: str, task: str) -> None:
    lengths = draw_lengths(mix, 200_000, 1)
    # Four standard errors, and a little for what the cap takes off.
    margin = 4 * np.std(lengths) / len(lengths) ** 0.5 + 0.02 * TASKS[task].mean
    assert abs(np.mean(lengths) - TASKS[task].mean) < margin


def cell(form: str, *flops_per_s: float, budget: int = 512) -> Cell:
    return Cell(
        mix="xnli", budget=budget, num_tokens=500, num_sequences=11, form=form, flops_per_s=flops_per_s
    )


def test_ratios_are_taken_within_a_repeat() -> None:
    # The machine was twice as fast in the second repeat; the ratio was always two.
    assert ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == Spread(middle=2.0, least=2.0, most=2.0)
    assert str(ratio([1.0, 3.0, 2.0], [2.0, 2.0, 2.0])) == "1.00 (0.50-1.50)"


def test_goals_are_said_to_be_met_or_missed() -> None:
    sgemm = [100.0, 200.0]
    good = [cell("float32", 90, 180), cell("int8", 180, 360)]
    assert verdicts(good, sgemm) == [
        "float32 >= 0.85 of the best sgemm from 512 tokens up: met (least 0.90)",
        "int8 >= 1.6 x float32 from 512 tokens up: met (least 2.00)",
    ]
    bad = [*good, cell("float32", 80, 160, budget=1024), cell("int8", 80, 160, budget=1024)]
    assert verdicts(bad, sgemm) == [
        "float32 >= 0.85 of the best sgemm from 512 tokens up: MISSED by 1 of 2 (xnli 1024: 0.80)",
        "int8 >= 1.6 x float32 from 512 tokens up: MISSED by 1 of 2 (xnli 1024: 1.00)",
    ]
    # Below 512 tokens nothing is promised.
    small = [cell("float32", 10, 20, budget=64)]
    assert all(line.endswith("not measured") for line in verdicts(small, sgemm))


def test_the_page_says_what_disturbed_it() -> None:
    cells = [cell("float32", 90e9, 180e9), cell("int8", 180e9, 360e9)]
    lines = table(cells, [100e9, 200e9], ["float32", "int8"])
    assert lines[1] == ["xnli", "500", "11", "135", "270", "0.90 (0.90-0.90)", "2.00 (2.00-2.00)"]
    record = {
        "at": "now",
        "size": "base",
        "environment": {"commit": "abc", "dirty": True, "cpu_model": "a CPU", "num_cores": 2},
        "threads": 2,
        "torch": "2",
        "repeats": 2,
        "seed": 0,
        "quick": False,
        "others_ratio": [0.01, 0.4],
    }
    text = page(record, {"Forward pass": lines}, ["a goal: met"])
    assert "commit abc with changes" in text
    assert "Not quiet: in 1 of 2 repeats" in text
    assert "| xnli | 500 | 11 | 135 | 270 | 0.90 (0.90-0.90) | 2.00 (2.00-2.00) |" in text
    assert "Not quiet" not in page(record | {"others_ratio": [0.01]}, {}, [])
    assert "no result" in page(record | {"quick": True}, {}, [])
