"""What is known of the cost of every lane: one model and one budget a shape.

Rules: lanes of one shape share what was learnt of it. A shape that was never measured starts as
another depth of the same encoder does, its time in proportion to the layers; without one it is
unfitted, predicts nothing and has the default budget. Mutable, and owned by the scheduler.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from service.batching.cost import CostModel, Load, Measurement
from service.batching.decisions import CostStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.batching.cost import Shape
    from service.batching.queue import LaneQueue
    from service.domain import Lane


@dataclass(slots=True, kw_only=True)
class _Page:
    model: CostModel
    max_batch_tokens: int


class CostBook:
    """The cost models of all shapes."""

    def __init__(self, shape_of: Callable[[Lane], Shape], *, max_batch_tokens: int) -> None:
        """Start empty. ``max_batch_tokens``: the budget of shapes that are not calibrated."""
        self._shape_of = shape_of
        self._max_batch_tokens = max_batch_tokens
        self._pages: dict[Shape, _Page] = {}

    def calibrate(self, shape: Shape, model: CostModel, *, max_batch_tokens: int | None) -> None:
        """Take over a model, and a budget where one is given."""
        budget = self._max_batch_tokens if max_batch_tokens is None else max_batch_tokens
        self._pages[shape] = _Page(model=model, max_batch_tokens=budget)

    def budget(self, lane: Lane, *, beside: bool = False) -> int:
        """Return how many tokens a batch of this lane may hold, alone or ``beside`` other replicas."""
        return self._page(lane, beside=beside).max_batch_tokens

    def predict(self, lane: Lane, load: Load, *, beside: bool = False, crowded: bool = False) -> float:
        """Return the seconds that a load takes, ``crowded`` while others run; 0 where nothing is known."""
        return self._page(lane, beside=beside).model.predict(load, crowded=crowded)

    def predict_queue(self, lane: Lane, queue: LaneQueue, *, beside: bool = False) -> float:
        """Return the seconds that all that waits in a lane takes one replica, cut into full batches."""
        page = self._page(lane, beside=beside)
        num_batches = ceil(queue.num_tokens / page.max_batch_tokens)
        load = Load(num_batches=num_batches, num_tokens=queue.num_tokens, num_squares=queue.num_squares)
        return page.model.predict(load, crowded=beside)

    def learn(
        self, lane: Lane, measurement: Measurement, *, predicted_s: float | None = None, beside: bool = False
    ) -> None:
        """Refine the model of a lane's shape. ``predicted_s``: what was predicted; None for what is now."""
        page = self._page(lane, beside=beside)
        page.model = page.model.refine(measurement, predicted_s=predicted_s)

    def statistics(self) -> tuple[CostStatistics, ...]:
        """Read what is known, a record for each shape seen so far."""
        return tuple(
            CostStatistics(
                shape=shape,
                coefficients=page.model.coefficients,
                factors=(page.model.alone.factor, page.model.crowded.factor),
                num_measurements=page.model.num_measurements,
                error_p90=page.model.error_p90,
                max_batch_tokens=page.max_batch_tokens,
            )
            for shape, page in self._pages.items()
        )

    def _page(self, lane: Lane, *, beside: bool) -> _Page:
        shape = self._shape_of(lane)
        if shape.beside is not beside:
            shape = replace(shape, beside=beside)
        page = self._pages.get(shape)
        if page is None:
            page = self._pages[shape] = self._first_guess(shape)
        return page

    def _first_guess(self, shape: Shape) -> _Page:
        """Return what a shape starts with."""
        kin = [
            known
            for known, page in self._pages.items()
            if page.model.num_measurements and replace(known, layer=shape.layer) == shape
        ]
        if not kin:
            return _Page(model=CostModel.unfitted(), max_batch_tokens=self._max_batch_tokens)
        nearest = min(kin, key=lambda known: abs(known.layer - shape.layer))
        page = self._pages[nearest]
        # Layer 0 is the embeddings alone: little, but not nothing.
        factor = max(shape.layer, 1) / max(nearest.layer, 1)
        return _Page(model=page.model.scaled(factor), max_batch_tokens=page.max_batch_tokens)
