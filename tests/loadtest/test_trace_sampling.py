"""Which items and candidates a bounded trace takes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.datasets.examples import CandidateExample
from loadtest.datasets.mewslix import Entity
from loadtest.datasets.tasks import Task
from loadtest.trace.sampling import Lot, choose_candidates, choose_entities, sample


def _lot(seed: int = 1, language: str = "en") -> Lot:
    return Lot(seed=seed, task=Task.LAREQA, language=language)


def _candidates(num: int) -> list[CandidateExample]:
    return [CandidateExample(name=f"c{i}", text=str(i), context=None, keys=(f"k{i}",)) for i in range(num)]


def _entities(*languages: str) -> list[Entity]:
    return [
        Entity(
            language=language,
            candidate=CandidateExample(name=f"Q{i}", text=str(i), context=None, keys=(f"Q{i}",)),
        )
        for i, language in enumerate(languages)
    ]


@given(st.integers(0, 200), st.one_of(st.none(), st.integers(1, 250)), st.integers(0, 2**32))
def test_a_sample_is_in_order_without_repeats_and_as_large_as_it_may_be(
    num: int, limit: int | None, seed: int
) -> None:
    chosen = sample(num, limit, _lot(seed))
    assert chosen == sorted(set(chosen))
    assert len(chosen) == (num if limit is None else min(num, limit))
    assert all(0 <= i < num for i in chosen)


def test_a_sample_depends_on_seed_task_and_language() -> None:
    samples = [
        sample(1000, 20, _lot(1)),
        sample(1000, 20, _lot(2)),
        sample(1000, 20, _lot(1, "de")),
        sample(1000, 20, Lot(seed=1, task=Task.XQUAD, language="en")),
    ]
    assert len({tuple(chosen) for chosen in samples}) == 4
    assert sample(1000, 20, _lot(1)) == samples[0]


def test_a_sample_takes_each_example_equally_often() -> None:
    counts = Counter(i for seed in range(2000) for i in sample(10, 3, _lot(seed)))
    # Each of 2,000 seeds takes each example with probability 0.3; five standard deviations.
    assert all(abs(counts[i] - 600) < 5 * (2000 * 0.3 * 0.7) ** 0.5 for i in range(10))


@given(st.integers(1, 60), st.integers(0, 70), st.sets(st.integers(0, 59)))
def test_right_answers_are_always_among_the_candidates(num: int, limit: int, right: set[int]) -> None:
    candidates = _candidates(num)
    wanted = frozenset(f"k{i}" for i in right)
    chosen = choose_candidates(candidates, wanted, limit, _lot())
    needed = [candidate for candidate in candidates if wanted.intersection(candidate.keys)]
    assert all(candidate in chosen for candidate in needed)
    assert len(chosen) == min(num, max(limit, len(needed)))
    assert chosen == [candidate for candidate in candidates if candidate in chosen]


def test_without_a_bound_every_candidate_is_taken() -> None:
    assert choose_candidates(_candidates(5), frozenset(), None, _lot()) == _candidates(5)


def test_a_right_entity_is_kept_in_whatever_language_it_stands() -> None:
    entities = _entities("en", "en", "de", "sw", "sw")
    for limit in (None, 0, 1):
        chosen = list(choose_entities(entities, frozenset({"Q3"}), ["en"], limit, seed=1))
        assert entities[3] in chosen
        assert {entity.language for entity in chosen} <= {"en", "sw"}
        assert entities[4] not in chosen


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_entities_are_bounded_in_each_language_and_in_order(limit: int) -> None:
    entities = _entities(*["en"] * 6, *["de"] * 2)
    chosen = list(choose_entities(entities, frozenset({"Q0"}), ["en", "de"], limit, seed=3))
    counts = Counter(entity.language for entity in chosen)
    assert counts == {"en": min(6, limit), "de": min(2, limit)}
    assert entities[0] in chosen
    assert chosen == [entity for entity in entities if entity in chosen]


def test_a_larger_bound_adds_entities_and_drops_none() -> None:
    entities = _entities(*["en"] * 50)
    few = list(choose_entities(entities, frozenset(), ["en"], 5, seed=3))
    more = list(choose_entities(entities, frozenset(), ["en"], 20, seed=3))
    assert all(entity in more for entity in few)
    assert list(choose_entities(entities, frozenset(), ["en"], 5, seed=4)) != few
