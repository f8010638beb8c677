"""The log of batches and its replay, and the table and verdicts over errors counted by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.cost_log import Batch, Served, as_values, of_values, read_log, replay
from benchmarks.cost_report import table, verdicts
from service.batching.cost import LEAST_ERRORS, CostModel, Load, Measurement

WARM_UP = [(4, 16), (128, 2048), (128, 16384), (512, 65536)]


def seconds_of(num_tokens: int, num_squares: int) -> float:
    return 2e-3 + 40e-6 * num_tokens + 12e-9 * num_squares


def event(name: str, **more: Any) -> str:
    return json.dumps({"event": name, **more})


def ran(ended_at: str, engine_s: float, **more: Any) -> str:
    told = {
        "beside": False,
        "crowded": False,
        "tokens": 64,
        "squares": 4096,
        "predicted_s": 0.01,
        "failed": False,
    }
    return event("batch_ran", timestamp=ended_at, engine_s=engine_s, **(told | more))


def test_a_log_is_read_by_what_it_tells() -> None:
    served = read_log(
        [
            "Traceback (most recent call last):",
            "[1, 2]",
            event("shape_measured", beside=True, batches=[[4, 16, 0.5]]),
            ran("1970-01-01T00:00:09Z", 0.02, beside=True, crowded=True),
            ran("1970-01-01T00:00:03Z", 0.04, tokens=8),
            ran("1970-01-01T00:00:05Z", 0.04, failed=True),
            event("request", status=200),
        ]
    )
    assert served.measured == {True: [Measurement(load=Load(num_tokens=4, num_squares=16), seconds=0.5)]}
    assert [(one.ended_at, one.num_tokens, one.beside, one.crowded) for one in served.batches] == [
        (3.0, 8, False, False),
        (9.0, 64, True, True),
    ]
    assert [one.error for one in served.batches] == pytest.approx([0.75, 0.5])
    assert of_values(json.loads(json.dumps(as_values(served)))) == served


def batch(ended_at: float, num_tokens: int, *, factor: float = 1.0, crowded: bool = False) -> Batch:
    took = factor * seconds_of(num_tokens, num_tokens**2)
    return Batch(
        ended_at=ended_at,
        beside=crowded,
        crowded=crowded,
        num_tokens=num_tokens,
        num_squares=num_tokens**2,
        predicted_s=1.0,
        engine_s=took,
    )


def measured() -> list[Measurement]:
    return [Measurement(load=Load(num_tokens=n, num_squares=q), seconds=seconds_of(n, q)) for n, q in WARM_UP]


def test_a_replay_of_what_obeys_the_model_predicts_it() -> None:
    batches = [batch(float(place), 10 + 20 * place) for place in range(20)]
    predicted = replay(Served(measured={False: measured()}, batches=batches))
    assert predicted == pytest.approx([one.engine_s for one in batches], rel=1e-3)


def test_a_batch_is_learnt_from_when_it_has_ended_and_not_before() -> None:
    # All begin before the first ends, so that none can be predicted with what another taught.
    batches = [batch(100.0 + place, 200, factor=10_000.0) for place in range(5)]
    predicted = replay(Served(measured={False: measured()}, batches=batches))
    first = CostModel.fit(measured()).predict(Load(num_tokens=200, num_squares=40_000))
    assert min(one.ended_at for one in batches) > max(one.ended_at - one.engine_s for one in batches)
    assert predicted == pytest.approx([first] * 5)


def test_a_shape_that_was_never_measured_is_learnt_from_its_first_batch() -> None:
    predicted = replay(Served(measured={}, batches=[batch(1.0, 100), batch(2.0, 100)]))
    assert predicted[0] == 0.0
    assert predicted[1] == pytest.approx(seconds_of(100, 10_000), rel=1e-3)


def phase(load: str, errors: list[float], *, beside: bool = False, dtype: str = "int8") -> dict[str, Any]:
    batches = [{"error": error, "beside": beside, "num_tokens": 50} for error in errors]
    return {"dtype": dtype, "load": load, "batches": batches}


def test_shapes_are_judged_by_all_their_batches_and_only_where_there_are_enough() -> None:
    few = LEAST_ERRORS - 1
    phases = [
        phase("16 at once", [0.1] * 95 + [0.9] * 5),
        phase("Poisson", [0.1] * 80 + [0.2] * 20),
        phase("Poisson", [0.1] * 40 + [0.3] * 20, beside=True),
        phase("Poisson", [9.0] * few, dtype="float32"),
    ]
    says = verdicts(phases)
    assert "float32" in says[0]
    assert f"not judged ({few} batches" in says[0]
    # Of 200 errors the 180th: 175 are 0.1, twenty more are 0.2.
    assert says[1].endswith("on the whole device: met (0.20, 200 batches)")
    assert says[2].endswith("beside others: MISSED (0.30, 60 batches)")
    lines = table(phases)
    assert lines[1][-4:] == [str(few), "50", "9.00", ""]
    assert [line[2] for line in lines if line[0] == "int8"] == [
        "16 at once",
        "Poisson",
        "all",
        "Poisson",
        "all",
    ]
