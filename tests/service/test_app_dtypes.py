"""Other dtypes than float32 over HTTP: what is told of them, and that company changes nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.service.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service.serving import Served

TEXTS = [
    "The night train was late.",
    "Rain.",
    "Der Fluss ist hier tiefer, als er aussieht, und niemand weiß, wie kalt er im Winter wird.",
    "雨。",
    "My grandmother keeps her letters in a wooden box.",
]


@pytest.fixture(scope="module", params=["int8", "bfloat16"])
def other(request: pytest.FixtureRequest, mini_catalogue: Path) -> Iterator[Served]:
    with served(mini_catalogue, dtype=request.param, variants="classify,embed") as running:
        yield running


def test_a_variant_tells_its_dtype_and_its_parity(other: Served, server: Served) -> None:
    info = other.client.get("/v1/variants/classify").json()
    assert info["dtype"] in ("int8", "bfloat16")
    parity = info["parity"]
    assert 1e-3 < parity["max_relative_error"] < 0.25
    assert 1e-3 < parity["mean_relative_error"] < 0.25
    assert 0.6 <= parity["agreement"] <= 1.0
    assert parity["num_answers"] == 16
    assert parity["batch_relative_error"] == 0.0
    full = server.client.get("/v1/variants/classify").json()
    assert full["dtype"] == "float32"
    assert full["parity"]["max_relative_error"] < 1e-4
    assert full["parity"]["agreement"] == 1.0
    # What is not an embedding table is a half or a quarter as large.
    assert sum(info["bytes"].values()) < 0.75 * sum(full["bytes"].values())


def test_answers_are_near_those_of_float32(other: Served, server: Served) -> None:
    inputs = [{"text": text} for text in TEXTS]
    for ours, wanted in zip(
        other.outputs("classify", inputs), server.outputs("classify", inputs), strict=True
    ):
        assert ours["scores"] == pytest.approx(wanted["scores"], abs=0.2)


def test_company_changes_no_digit_of_an_answer(other: Served) -> None:
    inputs = [{"text": text} for text in TEXTS]
    for variant in ("classify", "embed"):
        together = other.outputs(variant, inputs)
        alone: list[dict[str, Any]] = [other.outputs(variant, [one])[0] for one in inputs]
        assert together == alone


def test_replicas_at_work_change_no_digit_of_an_answer(mini_catalogue: Path) -> None:
    inputs = [{"text": text} for text in TEXTS]
    with served(
        mini_catalogue, dtype="int8", variants="classify,embed", torch_threads=2, replicas=2
    ) as running:
        alone = {
            (variant, index): running.outputs(variant, [one])
            for variant in ("classify", "embed")
            for index, one in enumerate(inputs)
        }
        asked = [*alone] * 8
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda key: running.outputs(key[0], [inputs[key[1]]]), asked))
    assert answers == [alone[key] for key in asked]


def test_too_far_from_float32_never_becomes_ready(mini_catalogue: Path) -> None:
    with served(mini_catalogue, dtype="int8", max_parity_error=1e-6, wait=False) as running:
        running.wait_until_loaded()
        assert running.service.failure is not None
        assert "--max-parity-error" in str(running.service.failure)
        ready = httpx2.get(f"{running.url}/health/ready", timeout=240)
        assert ready.status_code == 503
        json.loads(ready.text)
