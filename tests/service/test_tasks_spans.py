"""The likeliest spans, by hand and against every span written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.tasks.spans import likeliest
from service.tasks.windows import Window, sliding

Rows = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def rows(starts: list[float], ends: list[float]) -> Rows:
    return np.array([starts, ends], dtype=np.float32).T


def every_span(
    windows: tuple[Window, ...], logits: list[Rows], max_answer_tokens: int
) -> dict[tuple[int, int], float]:
    """Return the best sum of logits of each span, over the windows that hold it."""
    best: dict[tuple[int, int], float] = {}
    for (begin, end), window in zip(windows, logits, strict=True):
        for first in range(begin, end):
            for last in range(first, min(end, first + max_answer_tokens)):
                total = float(window[first - begin, 0]) + float(window[last - begin, 1])
                best[first, last] = max(total, best.get((first, last), -math.inf))
    return best


def test_one_window_by_hand() -> None:
    # Spans (0,0) 1+0, (0,1) 1+2, (1,1) 0+2: logits 1, 3, 2.
    found = likeliest([(0, 2)], [rows([1.0, 0.0], [0.0, 2.0])], max_answer_tokens=30, count=3)
    assert [(span.first, span.last) for span in found] == [(0, 1), (1, 1), (0, 0)]
    total = math.exp(1) + math.exp(3) + math.exp(2)
    expected = [math.exp(3) / total, math.exp(2) / total, math.exp(1) / total]
    assert [span.score for span in found] == pytest.approx(expected)


def test_an_answer_never_ends_before_it_starts_nor_runs_too_long() -> None:
    logits = rows([0.0, 0.0, 9.0, 0.0], [9.0, 0.0, 0.0, 9.0])
    best = likeliest([(0, 4)], [logits], max_answer_tokens=1, count=1)[0]
    assert (best.first, best.last) == (0, 0)
    best = likeliest([(0, 4)], [logits], max_answer_tokens=2, count=1)[0]
    assert (best.first, best.last) == (2, 3)


def test_a_span_of_two_windows_counts_once_with_its_better_sum() -> None:
    # Piece 1 is in both windows: 3 in the first, 5 in the second.
    logits = [rows([0.0, 1.0], [0.0, 2.0]), rows([2.0, 0.0], [3.0, 0.0])]
    found = likeliest([(0, 2), (1, 3)], logits, max_answer_tokens=1, count=3)
    assert [(span.first, span.last) for span in found] == [(1, 1), (0, 0), (2, 2)]
    assert found[0].score == pytest.approx(math.exp(5) / (math.exp(5) + 2 * math.exp(0)))


def test_equals_come_in_order_of_the_text() -> None:
    found = likeliest([(0, 3)], [rows([0.0] * 3, [0.0] * 3)], max_answer_tokens=2, count=10)
    assert [(span.first, span.last) for span in found] == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)]
    assert [span.score for span in found] == pytest.approx([0.2] * 5)


def test_logits_that_are_far_apart_do_not_overflow() -> None:
    found = likeliest([(0, 2)], [rows([3e4, -3e4], [3e4, -3e4])], max_answer_tokens=2, count=2)
    assert [span.score for span in found] == [1.0, 0.0]


sizes = st.integers(1, 12).flatmap(lambda room: st.tuples(st.just(room), st.integers(0, room - 1)))


@settings(deadline=None)
@given(
    num_pieces=st.integers(1, 40),
    sizes=sizes,
    max_answer_tokens=st.integers(1, 15),
    count=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
    coarse=st.booleans(),
)
def test_against_every_span_written_out(  # each argument is drawn
    num_pieces: int, sizes: tuple[int, int], max_answer_tokens: int, count: int, seed: int, *, coarse: bool
) -> None:
    windows = sliding(num_pieces, room=sizes[0], stride=sizes[1])
    rng = np.random.default_rng(seed)
    drawn = [rng.normal(scale=2.0, size=(end - start, 2)) for start, end in windows]
    # Rounded ones hold many equals.
    logits = [(np.round(one) if coarse else one).astype(np.float32) for one in drawn]
    spans = every_span(windows, logits, max_answer_tokens)
    total = math.fsum(math.exp(logit) for logit in spans.values())
    expected = sorted(spans, key=lambda span: (-spans[span], span))[:count]
    found = likeliest(windows, logits, max_answer_tokens=max_answer_tokens, count=count)
    assert [(span.first, span.last) for span in found] == expected
    assert [span.score for span in found] == pytest.approx(
        [math.exp(spans[span]) / total for span in expected]
    )
    everything = likeliest(windows, logits, max_answer_tokens=max_answer_tokens, count=10**6)
    assert math.fsum(span.score for span in everything) == pytest.approx(1.0)
