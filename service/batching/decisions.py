"""What the scheduler is told to keep to, what it answers, and what it reports.

Rules: all of it is values; times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from service.batching.cost import Load, Shape
    from service.domain import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one batch, and the queue in front of it, may hold.

    ``max_batch_tokens``: the budget of every shape that was not calibrated.
    ``max_wait_s``: how long a lane may wait for a full batch while the engine is free.
    ``patience_s``: how long work may wait before its priority no longer counts.
    """

    max_batch_tokens: int
    max_queue_tokens: int
    max_wait_s: float = 0.0
    patience_s: float = 5.0


class Cut(StrEnum):
    """Why a batch was closed."""

    BUDGET = "budget"  # full: the next sequence would have exceeded the budget, or this replica's share
    EMPTY = "empty"  # the lane had no more
    LONE = "lone"  # one sequence that exceeds the budget by itself
    WAIT = "wait"  # the lane had no more, although it had waited for more


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Item:
    """Sequence ``index`` of a work: ``ids`` int32 ``[L]``."""

    work_id: int
    index: int
    ids: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dispatch:
    """Run these now as one batch.

    ``predicted_s``: by the cost model; 0 while it knows nothing. ``beside``: on one of several replicas,
    with others beside it; else it has the whole device. ``crowded``: whether others did run as it was cut.
    """

    lane: Lane
    items: tuple[Item, ...]
    cut: Cut
    load: Load
    predicted_s: float
    dispatched_at: float
    beside: bool = False
    crowded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """Nothing to run before this moment; ask again then, or as soon as something happens.

    It is the end of a lane's wait, or the next deadline (so that ``expire`` is called in time).
    """

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Nothing to run until something happens: an arrival, or a batch completed."""


Decision = Dispatch | WaitUntil | Idle


@dataclass(frozen=True, slots=True, kw_only=True)
class CostStatistics:
    """What is known of one shape: c0, c1, c2 in seconds, and how wrong predictions were.

    ``factors``: what batches take at present over what these say, alone and crowded. ``error_p90``: of the
    latest relative errors; None before there are enough of them.
    """

    shape: Shape
    coefficients: tuple[float, float, float]
    factors: tuple[float, float]
    num_measurements: int
    error_p90: float | None
    max_batch_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerStatistics:
    """Gauges now (``queue_``, ``running_``, ``backlog_s``), counters since the start (``num_``).

    ``backlog_s``: predicted engine time of all that waits and all that was dispatched and is
    not completed. ``num_sequences``, ``num_tokens``: dispatched.
    """

    queue_requests: int
    queue_tokens: int
    running_batches: int
    backlog_s: float
    num_admitted: int
    num_refused: int
    num_cancelled: int
    num_expired: int
    num_sequences: int
    num_tokens: int
    num_batches: Mapping[Cut, int]
    costs: tuple[CostStatistics, ...]
