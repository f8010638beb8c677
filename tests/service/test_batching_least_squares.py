"""The solver of the cost model against SciPy's, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from service.batching.least_squares import nonnegative


@given(
    seed=st.integers(0, 2**32 - 1),
    num_rows=st.integers(6, 15),
    powers=st.tuples(*[st.floats(-4.0, 4.0)] * 3),
)
def test_the_loss_is_that_of_scipys_solver(seed: int, num_rows: int, powers: tuple[float, ...]) -> None:
    """Terms of very different sizes, as seconds a batch, a token and a squared token are."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(num_rows, 3)) * 10.0 ** np.array(powers)
    sums = rng.normal(size=num_rows)
    found = nonnegative((rows.T @ rows).tolist(), (rows.T @ sums).tolist())
    assert min(found) >= 0.0
    _, best = nnls(rows, sums)
    # The lifted diagonal costs a little where two terms are nearly one.
    assert np.linalg.norm(rows @ np.array(found) - sums) ** 2 <= best**2 + 1e-5 * (sums @ sums)


def test_a_feasible_answer_is_the_plain_one_by_hand() -> None:
    # 2x + y = 5 and x + 3y = 10 have x = 1, y = 3.
    assert nonnegative([[2.0, 1.0], [1.0, 3.0]], [5.0, 10.0]) == pytest.approx((1.0, 3.0))


def test_a_coefficient_that_would_be_negative_is_zero_by_hand() -> None:
    # Alone, the second term has 10 / 4; beside the first it would need x = -1.
    assert nonnegative([[1.0, 1.0], [1.0, 4.0]], [1.5, 10.0]) == pytest.approx((0.0, 2.5))


def test_a_term_that_was_never_seen_stays_zero() -> None:
    assert nonnegative([[4.0, 0.0], [0.0, 0.0]], [2.0, 0.0]) == pytest.approx((0.5, 0.0))


def test_terms_that_only_came_together_share_what_they_explain() -> None:
    """Their system is singular; the sum is what is known."""
    first, second = nonnegative([[1.0, 1.0], [1.0, 1.0]], [3.0, 3.0])
    assert first + second == pytest.approx(3.0)


def test_nothing_is_better_than_a_negative_answer() -> None:
    assert nonnegative([[1.0]], [-2.0]) == (0.0,)
