"""The mix: shares by hand, frequencies as drawn, and the largest part in given proportions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.trace.items import TraceError
from loadtest.trace.mix import Cell, Mix, Weights, draw, draw_once, parse_weights, shares_of

CELLS = (
    Cell(task="xnli", language="en", num_items=10, num_natural=100),
    Cell(task="xnli", language="sw", num_items=10, num_natural=300),
    Cell(task="panx", language="en", num_items=5, num_natural=600),
)
KNOWN = ("xnli", "panx", "en", "sw")


def _mix(tasks: str, languages: str) -> Mix:
    return Mix(
        tasks=parse_weights(tasks, KNOWN, "task"), languages=parse_weights(languages, KNOWN, "language")
    )


def _rng(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize(
    ("tasks", "languages", "shares"),
    [
        ("items", "items", (10 / 25, 10 / 25, 5 / 25)),
        ("natural", "natural", (100 / 1000, 300 / 1000, 600 / 1000)),
        ("uniform", "uniform", (1 / 4, 1 / 4, 1 / 2)),
        ("uniform", "natural", (1 / 8, 3 / 8, 1 / 2)),
        ("items", "uniform", (20 / 50, 20 / 50, 5 / 25)),
        ("xnli=3,panx=1", "uniform", (3 / 8, 3 / 8, 1 / 4)),
        ("xnli=3,*=1", "en=4,*=1", (3 / 4 * 4 / 5, 3 / 4 * 1 / 5, 1 / 4)),
        ("panx=1,xnli=0", "uniform", (0, 0, 1)),
        ("uniform", "sw=1,en=0", (0, 1, 0)),  # panx has no other language, so nothing of it is left
    ],
)
def test_shares_are_weights_of_tasks_times_weights_inside_them(
    tasks: str, languages: str, shares: tuple[float, ...]
) -> None:
    assert shares_of(CELLS, _mix(tasks, languages)) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("evenly", "Cannot read the task mix 'evenly'"),
        ("xnli", "Cannot read"),
        ("xnli=-1", "Cannot read"),
        ("xnli=inf", "Cannot read"),
        ("xnli=many", "Cannot read"),
        ("xquad=1", "names 'xquad', which is not in the trace"),
    ],
)
def test_a_mix_that_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(TraceError, match=words):
        parse_weights(text, KNOWN, "task")


def test_a_task_without_weight_is_named_and_all_zero_is_refused() -> None:
    with pytest.raises(TraceError, match="gives panx no weight"):
        shares_of(CELLS, _mix("xnli=1", "uniform"))
    with pytest.raises(TraceError, match="Every weight of the mix is 0"):
        shares_of(CELLS, _mix("*=0", "uniform"))


def test_a_plain_draw_asks_for_every_item_as_often_as_any_other() -> None:
    counts = Counter(draw(CELLS, 60, _mix("items", "items"), _rng()).tolist())
    assert set(counts) == set(range(25))
    assert set(counts.values()) == {2, 3}


def test_a_weighted_draw_has_its_shares_and_goes_round_each_cells_items() -> None:
    n = 20_000
    mix = _mix("uniform", "natural")
    numbers = draw(CELLS, n, mix, _rng())
    cell_of = np.repeat([0, 1, 2], [10, 10, 5])[numbers]
    for cell, share in enumerate(shares_of(CELLS, mix)):
        count = int((cell_of == cell).sum())
        # Five standard deviations of a binomial count.
        assert abs(count - n * share) < 5 * np.sqrt(n * share * (1 - share))
        inside = Counter(numbers[cell_of == cell].tolist())
        assert max(inside.values()) - min(inside.values()) <= 1


def test_a_cell_of_weight_zero_is_never_asked_for() -> None:
    numbers = draw(CELLS, 1000, _mix("uniform", "en=1,sw=0"), _rng())
    assert not set(numbers.tolist()) & set(range(10, 20))


def test_once_each_without_a_mix_is_every_item() -> None:
    assert sorted(draw_once(CELLS, _mix("items", "items"), _rng()).tolist()) == list(range(25))


@pytest.mark.parametrize(
    ("tasks", "languages", "counts"),
    [
        ("uniform", "uniform", (2, 2, 5)),  # panx has 5, so xnli has 2.5 each, whole 2
        ("xnli=2,panx=1", "uniform", (5, 5, 5)),
        ("xnli=1,panx=0", "en=1,sw=1", (10, 10, 0)),
        ("natural", "natural", (0, 2, 5)),
    ],
)
def test_once_each_with_a_mix_is_the_largest_part_in_its_proportions(
    tasks: str, languages: str, counts: tuple[int, ...]
) -> None:
    numbers = draw_once(CELLS, _mix(tasks, languages), _rng())
    assert len(set(numbers.tolist())) == len(numbers)
    cells = Counter(np.repeat([0, 1, 2], [10, 10, 5])[numbers].tolist())
    assert tuple(cells[i] for i in range(3)) == counts


def test_once_each_always_leaves_the_scarcest_cell_whole() -> None:
    cells = [Cell(task=task, language="en", num_items=1, num_natural=1) for task in ("a", "b")]
    mix = Mix(tasks=Weights(text="a=1,b=3", given={"a": 1, "b": 3}), languages=Weights(text="uniform"))
    assert draw_once(cells, mix, _rng()).tolist() == [1]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.integers(0, 200),
    st.sampled_from(["items", "natural", "uniform"]),
    st.integers(0, 2**32),
)
def test_draws_stay_among_the_items_and_depend_on_the_seed_alone(
    sizes: list[int], n: int, way: str, seed: int
) -> None:
    cells = [
        Cell(task="t", language=f"l{i}", num_items=size, num_natural=size * (i + 1))
        for i, size in enumerate(sizes)
    ]
    mix = Mix(tasks=Weights(text="uniform"), languages=Weights(text=way))
    numbers = draw(cells, n, mix, _rng(seed))
    assert len(numbers) == n
    assert not n or (numbers.min() >= 0 and numbers.max() < sum(sizes))
    assert numbers.tolist() == draw(cells, n, mix, _rng(seed)).tolist()
