"""Whether each variant still answers as it did when it was loaded, asked again and again.

Rules: the same few sequences go the way of every request, at the lowest priority, one variant at a
time; checks are spread evenly over the interval, so that they never come in a crowd. What an
overloaded or ending service does not answer says nothing of its answers and is skipped. One timer, and
at most one check under way.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

from service.domain import CanaryStatistics, Work
from service.errors import BusyError, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from collections.abc import Sequence as Many
    from typing import Any

    from numpy.typing import NDArray

    from service.backend.clock import Clock, Timer
    from service.domain import Lane, Outcome, VariantCard

# Far above rounding in float32 (1e-6 of the largest logit), far below what wrong weights do (1 and more).
_LEAST_TOLERANCE: Final = 0.01
# Batch mates change the order of sums; by how much was seen at load, on a few texts.
_BATCH_ERRORS: Final = 4.0
# After every request: theirs is 0, and smaller goes first.
_LAST: Final = 1_000_000


@dataclass(slots=True, kw_only=True)
class _Watched:
    """What a variant is asked, what it answered at load, and how its checks went."""

    lane: Lane
    sequences: tuple[NDArray[np.int32], ...]
    wanted: tuple[NDArray[np.float32], ...]
    tolerance: float
    ok: bool = True
    difference: float = 0.0
    num_ok: int = 0
    num_failed: int = 0
    num_skipped: int = 0


class Canary:
    """Owns the checks of every variant of one backend."""

    def __init__(
        self, submit: Callable[[Work], Coroutine[Any, Any, Outcome]], *, clock: Clock, interval_s: float
    ) -> None:
        """Check nothing yet. ``interval_s``: in which each variant is asked once; 0 for never."""
        self._submit = submit
        self._clock = clock
        self._interval_s = interval_s
        self._watched: dict[str, _Watched] = {}
        # Counts only grow, also those of a variant that goes and comes again.
        self._forgotten: dict[str, _Watched] = {}
        self._turn: list[str] = []
        # Requests count from 0 upwards.
        self._work_ids = count(-1, -1)
        self._timer: Timer | None = None
        self._check: asyncio.Task[None] | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is ever asked."""
        return self._interval_s > 0.0

    def watch(
        self,
        card: VariantCard,
        lane: Lane,
        sequences: Many[NDArray[np.int32]],
        wanted: Many[NDArray[np.float32]],
    ) -> None:
        """Hold a variant to what it answered these sequences when it was loaded."""
        batch_error = 0.0 if card.parity is None else card.parity.batch_error
        before = self._watched.get(card.name) or self._forgotten.pop(card.name, None)
        self._watched[card.name] = _Watched(
            lane=lane,
            sequences=tuple(sequences),
            wanted=tuple(wanted),
            tolerance=max(_LEAST_TOLERANCE, _BATCH_ERRORS * batch_error),
            num_ok=0 if before is None else before.num_ok,
            num_failed=0 if before is None else before.num_failed,
            num_skipped=0 if before is None else before.num_skipped,
        )

    def forget(self, variant: str) -> None:
        """Ask a variant no more."""
        if variant in self._watched:
            self._forgotten[variant] = self._watched.pop(variant)

    def start(self) -> None:
        """Check from now on."""
        if self.is_on and self._watched:
            self._timer = self._clock.call_later(self._interval_s / len(self._watched), self._begin)

    def close(self) -> None:
        """Check no more."""
        for handle in (self._timer, self._check):
            if handle is not None:
                handle.cancel()

    def statistics(self) -> tuple[CanaryStatistics, ...]:
        """Tell how each variant's checks went."""
        return tuple(
            CanaryStatistics(
                variant=variant,
                ok=watched.ok,
                difference=watched.difference,
                num_ok=watched.num_ok,
                num_failed=watched.num_failed,
                num_skipped=watched.num_skipped,
            )
            for variant, watched in self._watched.items()
        )

    def _begin(self) -> None:
        self._turn = [name for name in self._turn if name in self._watched] or list(self._watched)
        if not self._turn:
            return
        variant = self._turn.pop(0)
        self._check = asyncio.get_running_loop().create_task(self._ask(variant, self._watched[variant]))

    async def _ask(self, variant: str, watched: _Watched) -> None:
        """Ask and judge; the variant may be replaced or forgotten meanwhile."""
        now = self._clock.time()
        work = Work(
            work_id=next(self._work_ids),
            lane=watched.lane,
            sequences=watched.sequences,
            arrived_at=now,
            priority=_LAST,
            deadline=now + self._interval_s,
        )
        try:
            outcome = await self._submit(work)
        except BusyError:
            watched.num_skipped += 1
        except EngineError:
            self._judge(variant, watched, np.inf)
        else:
            self._judge(variant, watched, difference(outcome.logits, watched.wanted))
        self.start()

    def _judge(self, variant: str, watched: _Watched, found: float) -> None:
        was_ok, watched.ok = watched.ok, found <= watched.tolerance
        watched.difference = found
        if watched.ok:
            watched.num_ok += 1
        else:
            watched.num_failed += 1
        if watched.ok is not was_ok:
            tell = structlog.get_logger().info if watched.ok else structlog.get_logger().error
            event = "canary_recovered" if watched.ok else "canary_failed"
            tell(event, variant=variant, difference=found, tolerance=watched.tolerance)


def difference(found: Many[NDArray[np.float32]], wanted: Many[NDArray[np.float32]]) -> float:
    """Return the largest difference of two answers over the largest of what was wanted."""
    largest = max(float(np.abs(part).max()) for part in wanted)
    # NaN is a difference without end, and must not look like none.
    apart = max(
        float(np.nan_to_num(np.abs(one - other), nan=np.inf).max())
        for one, other in zip(found, wanted, strict=True)
    )
    return apart / largest if largest > 0.0 else (0.0 if apart == 0.0 else np.inf)
