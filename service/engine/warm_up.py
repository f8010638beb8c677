"""Which batches run before the first request, so that none pays for what happens once.

Rules: every variant runs at least one batch, which reads its weights into memory; the first
variant of each shape then climbs a ladder of batches, whose times found the cost model. It
stops climbing after a batch that took longer than ``MAX_RUNG_S``: on a slow device the rest
follows from what was measured.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from service.errors import ShapeError, StartupError
from service.tasks.parameters import Overrides, lane_of, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.batching.cost import Measurement
    from service.domain import Lane, VariantCard

# So a shape is warm within a few seconds even on two CPU cores.
MAX_RUNG_S: Final = 0.5
# Of replicas side by side: their batches are shares of a backlog, and refine the model from the first one on.
MAX_RUNG_BESIDE_S: Final = 0.15
FIRST: Final = (16,)
# A short batch is soon measured again, and the median of three does not hang on one that was disturbed.
SHORT_RUNG_S: Final = 0.1
# Few and many tokens, short and long sequences: they tell the terms of the cost model apart.
LADDER: Final = (
    (4,),
    (16,),
    (32,),
    (64,),
    (16,) * 8,
    (128,),
    (64,) * 4,
    (128,) * 4,
    (512,),
    (64,) * 32,
    (512,) * 4,
    (128,) * 64,
    (512,) * 32,
)


def default_lane(card: VariantCard) -> Lane:
    """Return the lane of requests that leave every parameter to the variant's defaults.

    Raises:
        StartupError: the catalogue's defaults are out of the variant's own range.
    """
    try:
        return lane_of(card, resolve(card, Overrides()))
    except ShapeError as error:
        raise StartupError(
            f"variant {card.name!r}: the catalogue's defaults cannot be served. {error}"
        ) from error


def rungs(*, max_positions: int, max_batch_tokens: int) -> Iterator[tuple[int, ...]]:
    """Yield the lengths of each batch of the ladder that this model and budget allow."""
    for lengths in LADDER:
        if max(lengths) <= max_positions and sum(lengths) <= max_batch_tokens:
            yield lengths


def measure_rung(measure: Callable[[tuple[int, ...]], Measurement], lengths: tuple[int, ...]) -> Measurement:
    """Return what a batch of these lengths takes: of a short one the median of three runs."""
    measure(lengths)  # the first run of a size allocates and chooses kernels
    first = measure(lengths)
    if first.seconds > SHORT_RUNG_S:
        return first
    return sorted((first, measure(lengths), measure(lengths)), key=attrgetter("seconds"))[1]
