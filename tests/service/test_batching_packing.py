"""Sequences laid end to end, and what was said of them cut apart again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.packing import pack, unpack

sequences = st.lists(st.lists(st.integers(0, 250_001), min_size=1, max_size=30), min_size=1, max_size=12)


def arrays(rows: list[list[int]]) -> list[np.ndarray[tuple[int], np.dtype[np.int32]]]:
    return [np.array(row, dtype=np.int32) for row in rows]


def test_two_sequences_by_hand() -> None:
    batch = pack(arrays([[0, 9, 2], [0, 7, 8, 2]]), padding_idx=1)
    assert batch.input_ids.tolist() == [0, 9, 2, 0, 7, 8, 2]
    assert batch.position_ids.tolist() == [2, 3, 4, 2, 3, 4, 5]
    assert batch.cu_seqlens.tolist() == [0, 3, 7]
    assert batch.max_seqlen == 4
    assert {batch.input_ids.dtype, batch.position_ids.dtype, batch.cu_seqlens.dtype} == {np.dtype(np.int32)}


@given(rows=sequences, padding_idx=st.integers(0, 5))
def test_nothing_is_added_and_positions_restart_past_the_padding(
    rows: list[list[int]], padding_idx: int
) -> None:
    batch = pack(arrays(rows), padding_idx=padding_idx)
    assert batch.input_ids.tolist() == [token for row in rows for token in row]
    assert batch.max_seqlen == max(map(len, rows))
    for index, row in enumerate(rows):
        start, end = batch.cu_seqlens[index : index + 2]
        assert end - start == len(row)
        expected = list(range(padding_idx + 1, padding_idx + 1 + len(row)))
        assert batch.position_ids[start:end].tolist() == expected


@given(rows=sequences, num_classes=st.integers(1, 4))
def test_unpacking_tokens_gives_each_sequence_its_own(rows: list[list[int]], num_classes: int) -> None:
    batch = pack(arrays(rows), padding_idx=1)
    logits = np.repeat(batch.input_ids[:, None].astype(np.float32), num_classes, axis=1)
    parts = unpack(logits, batch.cu_seqlens, per_token=True)
    assert [part[:, 0].tolist() for part in parts] == rows
    assert all(part.shape == (len(row), num_classes) for part, row in zip(parts, rows, strict=True))


def test_unpacking_sequences_gives_a_row_each() -> None:
    batch = pack(arrays([[0, 2], [0, 5, 2]]), padding_idx=1)
    parts = unpack(np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32), batch.cu_seqlens, per_token=False)
    assert [part.tolist() for part in parts] == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(("num_rows", "per_token"), [(4, True), (3, False)])
def test_a_head_that_says_too_much_or_too_little_is_a_bug(num_rows: int, *, per_token: bool) -> None:
    batch = pack(arrays([[0, 2], [0, 5, 2]]), padding_idx=1)
    with pytest.raises(AssertionError, match="This is a bug"):
        unpack(np.zeros((num_rows, 2), dtype=np.float32), batch.cu_seqlens, per_token=per_token)


@pytest.mark.parametrize("rows", [[], [[1], []]])
def test_empty_batches_and_sequences_are_bugs(rows: list[list[int]]) -> None:
    with pytest.raises(AssertionError, match="This is a bug"):
        pack(arrays(rows), padding_idx=1)
