"""The page of the GPU's benchmark, from figures made up here; the figures themselves need a GPU."""

from __future__ import annotations

from benchmarks.bench_gpu import BUDGETS, GOAL_TOKENS, SMALL_BUDGETS, page, verdicts_of


def repeat(speed: float, served: float = 0.85) -> dict[str, dict[int, float]]:
    return {
        "flops_per_s": dict.fromkeys(BUDGETS, speed),
        "plain_s": dict.fromkeys(SMALL_BUDGETS, 0.004),
        "graphs_s": dict.fromkeys(SMALL_BUDGETS, 0.001),
        "served": {GOAL_TOKENS: served},
    }


def test_the_page_says_shares_gains_and_what_was_missed() -> None:
    products = [800e12, 400e12]
    raw = {"base": [repeat(480e12), repeat(240e12)], "large": [repeat(160e12, 0.7), repeat(160e12, 0.74)]}
    verdicts = verdicts_of(raw, products)
    assert verdicts == [
        f"base: >= 0.5 of the best product at {GOAL_TOKENS:,} tokens: met (0.60 (0.60-0.60))",
        f"large: >= 0.5 of the best product at {GOAL_TOKENS:,} tokens: MISSED (0.30 (0.20-0.40))",
        "base: served >= 0.8 of offline at 1,024 clients: met (0.85 (0.85-0.85))",
        "large: served >= 0.8 of offline at 1,024 clients: MISSED (0.72 (0.70-0.74))",
    ]
    text = page(
        {
            "at": "now",
            "device": "a GPU",
            "torch": "2",
            "cuda": "13",
            "environment": {"commit": "abc"},
            "repeats": 2,
            "products_flops_per_s": products,
            "varlen_unavailable": {"base": None, "large": "it failed"},
            "raw": raw,
            "verdicts": verdicts,
        }
    )
    assert "| base | 16,384 | 360 | 0.60 (0.60-0.60) |" in text
    assert "| base | 64 | 4.00 | 1.00 | 0.25 (0.25-0.25) |" in text
    assert "| large | 16,384 | 1,024 | 0.72 (0.70-0.74) |" in text
    assert "**large: no variable-length attention, no graphs: it failed.**" in text
    assert "base: no variable-length" not in text
