"""The offset between two hosts' monotonic clocks, from a few questions and answers.

Pure. Of several exchanges the quickest bounds the offset best: the remote instant lies
between the question and its answer, so the middle is off by at most half the round trip
(Cristian's algorithm, 1989). Processes of one boot of one host share the clock: offset 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One question: ``asked_ns`` and ``answered_ns`` here, ``remote_ns`` there, monotonic."""

    asked_ns: int
    remote_ns: int
    answered_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """``remote = here + offset_ns``, give or take ``error_ns``; ``shared`` where it is one clock."""

    offset_ns: int
    error_ns: int
    shared: bool


SHARED = Offset(offset_ns=0, error_ns=0, shared=True)


def estimate(exchanges: Iterable[Exchange]) -> Offset:
    """Return the offset that the quickest exchange gives.

    Raises:
        ValueError: there is no exchange.
    """
    best = min(exchanges, key=lambda exchange: exchange.answered_ns - exchange.asked_ns)
    middle_ns = (best.asked_ns + best.answered_ns) // 2
    half_ns = (best.answered_ns - best.asked_ns + 1) // 2
    return Offset(offset_ns=best.remote_ns - middle_ns, error_ns=half_ns, shared=False)
