"""What a backend and an engine say to each other.

Rules: values only. A batch that the device cannot run is an answer like any other
(``Failed``); a future raises only where there is no engine to answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence as Many
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from models.variant import Variant
    from service.batching.cost import Measurement, Shape
    from service.domain import Lane
    from service.engine.device import Loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a batch gave: one float32 array a sequence, and when (the engine's clock, seconds)."""

    logits: tuple[NDArray[np.float32], ...]
    started_at: float
    finished_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A batch that the device could not run, why, and when it was tried."""

    error: Exception
    started_at: float
    finished_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """Every variant that can run now, and what each shape's batches took.

    ``num_replicas``: how many batches the device runs side by side, if it is asked to.
    """

    loaded: tuple[Loaded, ...]
    measurements: dict[Shape, tuple[Measurement, ...]]
    num_replicas: int = 1


class Engine(Protocol):
    """What runs batches, in the order in which it gets them: one at a time, or several side by side."""

    @property
    def alive(self) -> bool:
        """Whether it still does."""
        ...

    def start(self, *, max_batch_tokens: int) -> Future[Warm]:
        """Load and warm up every variant; the future raises StartupError if one cannot be served."""
        ...

    def run(
        self, lane: Lane, sequences: Many[NDArray[np.int32]], *, beside: bool = False
    ) -> Future[Run | Failed]:
        """Run sequences of one lane (int32 ``[L]`` each) as one batch.

        ``beside``: on one replica, with others beside it; else on the whole device, which waits for them.
        The future raises NotReadyError if the engine stops before their turn.
        """
        ...

    def prepare(self, variant: Variant, *, generation: int, digest: str | None) -> Future[Loaded | None]:
        """Load a variant beside those that run, in a thread of its own, one at a time.

        ``digest``: of weights that need not be loaded again; the result is None where it has these. The
        future raises StartupError if it cannot be served as the catalogue says; nothing has changed then.
        """
        ...

    def install(self, loaded: Loaded) -> Future[None]:
        """Make what was prepared ready to run; the future raises StartupError where it cannot."""
        ...

    def drop(self, served_as: str) -> Future[None]:
        """Let weights go, after the batches that were asked for before."""
        ...

    def stop(self) -> None:
        """Take no more batches."""
        ...

    def join(self, timeout_s: float) -> bool:
        """Wait for the running batch, and for what is being loaded; False if something runs after that."""
        ...
