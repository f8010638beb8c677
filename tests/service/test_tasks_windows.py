"""Windows over long rows: every piece in one, never more overlap than asked for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.tasks.windows import Window, at_words, best_context, sliding


@pytest.mark.parametrize(
    ("num_pieces", "room", "stride", "windows"),
    [
        (1, 5, 2, [(0, 1)]),
        (5, 5, 2, [(0, 5)]),
        (6, 5, 2, [(0, 5), (3, 6)]),
        (8, 5, 2, [(0, 5), (3, 8)]),
        (9, 5, 2, [(0, 5), (3, 8), (6, 9)]),
        (11, 5, 0, [(0, 5), (5, 10), (10, 11)]),
        (7, 5, 4, [(0, 5), (1, 6), (2, 7)]),
    ],
)
def test_sliding_by_hand(num_pieces: int, room: int, stride: int, windows: list[Window]) -> None:
    assert list(sliding(num_pieces, room=room, stride=stride)) == windows


@pytest.mark.parametrize(
    ("word_lengths", "room", "stride", "windows"),
    [
        ([2, 2, 2], 6, 3, [(0, 6)]),
        ([2, 2, 2], 5, 0, [(0, 4), (4, 6)]),
        ([2, 2, 2], 5, 2, [(0, 4), (2, 6)]),
        ([2, 2, 2], 5, 1, [(0, 4), (4, 6)]),  # one shared token would be half a word
        ([3, 1, 4], 5, 4, [(0, 4), (3, 8)]),  # the overlap gives way so that the next word fits
        ([1, 1, 1, 1, 4], 5, 4, [(0, 4), (3, 8)]),  # by three words of four
        ([2, 3, 1, 4], 5, 3, [(0, 5), (2, 6), (5, 10)]),  # but by no more than it must
        ([1, 9, 1], 5, 0, [(0, 1), (1, 6), (6, 11)]),  # a word longer than a window is cut inside
        ([12], 5, 2, [(0, 5), (3, 8), (7, 12)]),
    ],
)
def test_at_words_by_hand(word_lengths: list[int], room: int, stride: int, windows: list[Window]) -> None:
    firsts = np.cumsum([0, *word_lengths[:-1]], dtype=np.int32)
    assert list(at_words(firsts, sum(word_lengths), room=room, stride=stride)) == windows


rooms = st.integers(1, 20).flatmap(lambda room: st.tuples(st.just(room), st.integers(0, room - 1)))


def check_laws(windows: tuple[Window, ...], num_pieces: int, room: int, stride: int) -> None:
    assert {piece for start, end in windows for piece in range(start, end)} == set(range(num_pieces))
    assert all(0 < end - start <= room for start, end in windows)
    for (start, end), (next_start, next_end) in pairwise(windows):
        assert start < next_start
        assert end < next_end
        assert end - next_start <= stride


@given(num_pieces=st.integers(1, 200), sizes=rooms)
def test_the_laws_of_sliding(num_pieces: int, sizes: tuple[int, int]) -> None:
    room, stride = sizes
    check_laws(sliding(num_pieces, room=room, stride=stride), num_pieces, room, stride)


@given(word_lengths=st.lists(st.integers(1, 25), min_size=1, max_size=40), sizes=rooms)
def test_the_laws_of_windows_at_words(word_lengths: list[int], sizes: tuple[int, int]) -> None:
    room, stride = sizes
    firsts = np.cumsum([0, *word_lengths[:-1]], dtype=np.int32)
    windows = at_words(firsts, sum(word_lengths), room=room, stride=stride)
    check_laws(windows, sum(word_lengths), room, stride)
    for first, length in zip(firsts.tolist(), word_lengths, strict=True):
        if length <= room:
            assert any(start <= first and first + length <= end for start, end in windows), (
                "A word is whole nowhere."
            )


@given(word_lengths=st.lists(st.integers(1, 9), min_size=1, max_size=40), room=st.integers(9, 30))
def test_without_a_stride_the_windows_are_xtremes_blocks(word_lengths: list[int], room: int) -> None:
    blocks, filled = [0], 0
    for length in word_lengths:
        if filled + length > room:
            blocks.append(0)
            filled = 0
        blocks[-1] += length
        filled += length
    firsts = np.cumsum([0, *word_lengths[:-1]], dtype=np.int32)
    windows = at_words(firsts, sum(word_lengths), room=room, stride=0)
    assert [end - start for start, end in windows] == blocks


def test_best_context_by_hand() -> None:
    windows = [(0, 10), (6, 16), (12, 20)]
    pieces = np.array([0, 5, 6, 7, 8, 9, 12, 13, 14, 15, 19], dtype=np.int32)
    # In (0, 10) piece 7 is 2 from the cut behind it, in (6, 16) it is 1 from the cut before it;
    # 8 is 1 and 2. Piece 13 is 2 and 1; 14 is 1 and 2.
    assert best_context(windows, pieces).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]


def test_the_ends_of_the_row_are_no_cuts() -> None:
    # Piece 1 is 1 from the start of the row and 6 from a cut; piece 3 of the second window is
    # right behind a cut.
    assert best_context([(0, 8), (3, 9)], np.array([1, 3, 8], dtype=np.int32)).tolist() == [0, 0, 1]


@given(num_pieces=st.integers(1, 80), sizes=rooms, data=st.data())
def test_best_context_against_brute_force(
    num_pieces: int, sizes: tuple[int, int], data: st.DataObject
) -> None:
    room, stride = sizes
    windows = sliding(num_pieces, room=room, stride=stride)
    assume(len(windows) > 1)
    pieces = sorted(data.draw(st.sets(st.integers(0, num_pieces - 1), min_size=1)))

    def distance(piece: int, window: Window) -> float:
        start, end = window
        if not start <= piece < end:
            return -1.0
        left = piece - start if start else float("inf")
        right = end - 1 - piece if end < num_pieces else float("inf")
        return min(left, right)

    chosen = best_context(windows, np.array(pieces, dtype=np.int32)).tolist()
    for piece, window in zip(pieces, chosen, strict=True):
        distances = [distance(piece, other) for other in windows]
        assert window == distances.index(max(distances))
