"""Nearest candidates and average precision, against brute force, scikit-learn and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score  # type: ignore[import-untyped]  # ships no types

from loadtest.analysis.scoring import retrieval
from loadtest.analysis.scoring.retrieval import average_precision, nearest, normalise_rows


@pytest.mark.parametrize(
    ("ranked", "relevant", "k", "value"),
    [
        ("abcd", "a", 4, 1.0),
        ("abcd", "c", 4, 1 / 3),  # one relevant: the reciprocal rank
        ("abcd", "ac", 4, (1 + 2 / 3) / 2),
        ("abcd", "bd", 4, (1 / 2 + 2 / 4) / 2),
        ("abcd", "d", 3, 0.0),  # below the cut
        ("abcd", "abcd", 2, 1.0),  # more relevant than ranks: the divisor is k
        ("abcd", "az", 4, 1 / 2),  # a relevant candidate that is nowhere counts as missed
        ("", "a", 20, 0.0),
    ],
)
def test_average_precision_by_hand(ranked: str, relevant: str, k: int, value: float) -> None:
    assert average_precision(list(ranked), list(relevant), k) == pytest.approx(value)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_average_precision_of_a_whole_ranking_is_scikit_learns(seed: int, num_candidates: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permutation(num_candidates).astype(float)
    truth = rng.random(num_candidates) < 0.3
    truth[0] = True
    ranked = [str(i) for i in np.argsort(-scores)]
    relevant = [str(i) for i in np.flatnonzero(truth)]
    expected = average_precision_score(truth, scores)
    assert average_precision(ranked, relevant, num_candidates) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 50), st.integers(1, 30), st.booleans())
def test_nearest_equals_a_full_stable_sort(seed: int, num_candidates: int, k: int, has_ties: bool) -> None:  # noqa: FBT001 - drawn
    rng = np.random.default_rng(seed)
    queries = rng.integers(-3, 4, (7, 3)).astype(np.float32)
    candidates = rng.integers(-3, 4, (num_candidates, 3)).astype(np.float32)
    if not has_ties:
        candidates += rng.random(candidates.shape).astype(np.float32)
    expected = np.argsort(-(queries @ candidates.T), axis=1, kind="stable")[:, :k]
    assert np.array_equal(nearest(queries, candidates, k), expected)


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    queries = rng.integers(-2, 3, (23, 4)).astype(np.float32)
    candidates = rng.integers(-2, 3, (101, 4)).astype(np.float32)
    whole = nearest(queries, candidates, 20)
    monkeypatch.setattr(retrieval, "_BLOCK_QUERIES", 5)
    monkeypatch.setattr(retrieval, "_BLOCK_CANDIDATES", 7)
    told: list[tuple[int, int]] = []
    blocked = nearest(queries, candidates, 20, progress=lambda done, total: told.append((done, total)))
    assert np.array_equal(whole, blocked)
    assert told[-1] == (23 * 101, 23 * 101)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_similarity_that_is_no_number_comes_last() -> None:
    candidates = np.array([[np.nan, 0], [-5, 0], [1, 0]], dtype=np.float32)
    assert nearest(np.array([[1, 0]], dtype=np.float32), candidates, 3).tolist() == [[2, 1, 0]]


def test_fewer_candidates_than_ranks() -> None:
    assert nearest(np.ones((2, 3), dtype=np.float32), np.ones((1, 3), dtype=np.float32), 20).tolist() == [
        [0],
        [0],
    ]


def test_normalised_rows_have_length_one_and_zero_stays_zero() -> None:
    rows = normalise_rows(np.array([[3, 4], [0, 0], [1e-20, 0]], dtype=np.float32))
    assert np.allclose(np.linalg.norm(rows, axis=1), [1, 0, 1])
    assert rows.dtype == np.float32


def test_cosine_is_not_the_inner_product() -> None:
    query = np.array([[1, 0]], dtype=np.float32)
    candidates = np.array([[10, 10], [1, 0]], dtype=np.float32)
    assert nearest(query, candidates, 1).tolist() == [[0]]
    assert nearest(query, normalise_rows(candidates), 1).tolist() == [[1]]
