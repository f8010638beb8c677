"""When an answer under load is the unloaded one: decisions, ties, numbers, and the stated bound of int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.analysis.scoring import Tolerance, agreement
from loadtest.analysis.scoring.mismatch import is_same_answer


def _label(label: str, **scores: float) -> dict[str, Any]:
    return {"label": label, "scores": scores, "usage": {"tokens": 9}}


def _tags(*tags: tuple[str, float]) -> dict[str, Any]:
    return {"tags": [{"tag": tag, "score": score} for tag, score in tags]}


def _spans(*spans: tuple[int, float]) -> dict[str, Any]:
    return {
        "answers": [{"text": f"w{at}", "start": at, "end": at + 2, "score": score} for at, score in spans]
    }


SAME = [
    (_label("a", a=0.7, b=0.3), _label("a", b=0.30005, a=0.69995)),  # within 1e-4, keys in any order
    (
        _label("a", a=0.50003, b=0.49997),
        _label("b", a=0.49999, b=0.50001),
    ),  # an unloaded tie may fall either way
    ({"choice": 0, "scores": [0.6, 0.4]}, {"choice": 0, "scores": [0.6, 0.4]}),
    ({"choice": 1, "scores": [0.5, 0.5]}, {"choice": 0, "scores": [0.5, 0.5]}),
    (_tags(("NOUN", 0.9), ("VERB", 0.4)), _tags(("NOUN", 0.9), ("VERB", 0.40009))),
    (
        _tags(("NOUN", 0.41), ("VERB", 0.9)),
        _tags(("ADJ", 0.41), ("VERB", 0.9)),
    ),  # a tie is possible below one half
    (_spans((3, 0.5), (9, 0.2)), _spans((3, 0.5), (7, 0.1))),  # the tail of an n-best list is not compared
    (_spans((3, 0.5), (9, 0.49995)), _spans((9, 0.5), (3, 0.49995))),
    ({"answers": []}, {"answers": []}),
    ({"error": {"type": "empty-text"}}, {"error": {"type": "empty-text", "detail": "other words"}}),
    ({"embedding": [1.0, -2.0]}, {"embedding": [1.00005, -2.00005]}),
    (np.array([300.0, 1.0], np.float32), np.array([300.02, 1.0], np.float32)),  # relative above 1
]
DIFFERENT = [
    (_label("a", a=0.7, b=0.3), _label("b", a=0.3, b=0.7)),
    (_label("a", a=0.7, b=0.3), _label("a", a=0.6998, b=0.3002)),  # the numbers moved
    (_label("a", a=0.5002, b=0.4998), _label("b", a=0.5001, b=0.4999)),  # a lead of 4e-4 is no tie
    (_label("a", a=0.7, b=0.3), _label("a", a=0.7, c=0.2, b=0.1)),
    ({"choice": 0, "scores": [0.6, 0.4]}, {"choice": 1, "scores": [0.6, 0.4]}),
    (_tags(("NOUN", 0.9)), _tags(("VERB", 0.9))),  # 0.9 leaves no room for a tie
    (_tags(("NOUN", 0.41)), _tags(("ADJ", 0.44))),
    (_tags(("NOUN", 0.9)), _tags(("NOUN", 0.9), ("VERB", 0.9))),
    (_spans((3, 0.5)), _spans((9, 0.5))),  # one answer only: its lead is unknown
    (_spans((3, 0.5), (9, 0.4)), _spans((9, 0.5), (3, 0.4))),
    (_spans((3, 0.5)), {"answers": []}),
    (_label("a", a=0.7, b=0.3), {"error": {"type": "deadline"}}),
    ({"error": {"type": "empty-text"}}, {"error": {"type": "too-long"}}),
    ({"embedding": [1.0, -2.0]}, {"embedding": [1.0002, -2.0]}),
    ({"embedding": [1.0]}, {"embedding": [float("nan")]}),
    ({"embedding": [1.0, 2.0]}, {"embedding": [1.0]}),
]


@pytest.mark.parametrize(("unloaded", "loaded"), SAME)
def test_same(unloaded: Any, loaded: Any) -> None:
    assert is_same_answer(unloaded, loaded)


@pytest.mark.parametrize(("unloaded", "loaded"), DIFFERENT)
def test_different(unloaded: Any, loaded: Any) -> None:
    assert not is_same_answer(unloaded, loaded)


@pytest.mark.parametrize("answer", [answer for answer, _ in SAME])
def test_an_answer_equals_itself_even_without_tolerance(answer: Any) -> None:
    assert is_same_answer(answer, answer, Tolerance(number=0, margin=0))


def test_int8_has_a_wider_bound_and_no_other_dtype_has() -> None:
    pair = (_label("a", a=0.7, b=0.3), _label("a", a=0.71, b=0.29))
    assert is_same_answer(*pair, Tolerance.for_dtype("int8"))
    assert not is_same_answer(*pair, Tolerance.for_dtype("bfloat16"))
    assert not is_same_answer(*pair, Tolerance.for_dtype(None))
    far = (_label("a", a=0.7, b=0.3), _label("a", a=0.72, b=0.28))
    assert not is_same_answer(*far, Tolerance.for_dtype("int8"))


def test_a_rate_over_all_answers_of_an_item() -> None:
    unloaded = {"x": _label("a", a=0.7, b=0.3), "y": _label("b", a=0.2, b=0.8)}
    loaded = [
        ("x", _label("a", a=0.7, b=0.3)),
        ("x", _label("b", a=0.3, b=0.7)),
        ("y", _label("b", a=0.20004, b=0.79996)),
        ("z", _label("a", a=1.0)),
    ]
    found = agreement(unloaded, loaded)
    assert (found.n_compared, found.n_without_reference) == (3, 1)
    assert found.mismatched == ("x",)
    assert found.mismatch_rate == pytest.approx(1 / 3)
    assert found.largest_difference == pytest.approx(4e-5)


@pytest.mark.parametrize(
    "broken",
    [{"tags": [{"tag": "NOUN"}]}, {"answers": ["w"]}, {"embedding": "AAAA"}, {"label": "a", "scores": 3}],
)
def test_an_answer_of_the_wrong_shape_equals_only_its_like(broken: Any) -> None:
    assert is_same_answer(broken, dict(broken))
    assert not is_same_answer({"choice": 0, "scores": [1.0, 0.0]}, broken)
    assert not is_same_answer(broken, {"choice": 0, "scores": [1.0, 0.0]})


def test_a_number_that_is_none_is_a_mismatch_and_no_difference() -> None:
    found = agreement({"x": {"embedding": [1.0]}}, [("x", {"embedding": [float("nan")]})])
    assert (found.mismatched, found.largest_difference) == (("x",), 0.0)


def test_nothing_compared_has_no_rate() -> None:
    assert agreement({}, [("x", {"choice": 0})]).mismatch_rate is None
