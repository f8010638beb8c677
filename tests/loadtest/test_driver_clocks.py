"""The offset of two clocks, against clocks whose offset is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.driver.clocks import Exchange, estimate

DELAYS = st.integers(0, 50_000_000)


@given(st.integers(-(10**15), 10**15), st.lists(st.tuples(DELAYS, DELAYS), min_size=1, max_size=16))
def test_the_true_offset_lies_within_the_error(offset_ns: int, delays: list[tuple[int, int]]) -> None:
    exchanges = []
    for number, (there, back) in enumerate(delays):
        asked = 1_000_000_000 * number
        exchanges.append(
            Exchange(asked_ns=asked, remote_ns=asked + there + offset_ns, answered_ns=asked + there + back)
        )
    found = estimate(exchanges)
    assert abs(found.offset_ns - offset_ns) <= found.error_ns
    assert found.error_ns <= min(there + back for there, back in delays) // 2 + 1


def test_the_quickest_exchange_decides() -> None:
    slow = Exchange(asked_ns=0, remote_ns=500 + 90, answered_ns=100)
    quick = Exchange(asked_ns=1000, remote_ns=1500 + 5, answered_ns=1010)
    assert estimate([slow, quick]).offset_ns == 500


def test_without_an_exchange_there_is_no_offset() -> None:
    with pytest.raises(ValueError, match="empty"):
        estimate([])
