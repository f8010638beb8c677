"""The thread that owns the device.

Rules: jobs run one at a time, in the order in which they came; a job that fails fails
alone and the thread lives on; every future is resolved once, also when the engine stops.
The thread is a daemon, since a forward pass cannot be interrupted and must not keep a
stopped program alive.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from operator import itemgetter
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import structlog

from service.batching.cost import Load, Measurement, Shape
from service.batching.packing import pack, unpack
from service.engine.contract import Failed, Run, Warm
from service.engine.device import Swapping
from service.engine.sharing import tell_sharing
from service.engine.warm_up import FIRST, MAX_RUNG_S, default_lane, rungs
from service.errors import EngineError, NotReadyError, StartupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Sequence as Many

    from numpy.typing import NDArray

    from models.variant import Variant
    from service.domain import Lane
    from service.engine.device import Device, Loaded

# Heads that speak for every token, not for the sequence.
_PER_TOKEN = frozenset({"tag", "span"})
# The id of <s> in XLM-R's vocabulary; what a warm-up batch says does not matter.
_WARM_UP_ID = 0
_STOPPED = "The engine has stopped; the service is ending. Try again elsewhere, or later."

T = TypeVar("T")


class _Job(Generic[T]):
    """Something to do on the thread, and where its result goes."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.future: Future[T] = Future()
        self._work = work

    def do(self, *, stopping: bool) -> None:
        """Do it, unless nobody waits any more or the engine is stopping."""
        if not self.future.set_running_or_notify_cancel():
            return
        if stopping:
            self.future.set_exception(NotReadyError(_STOPPED))
            return
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to whoever waits
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class EngineThread:
    """Runs batches on a device, one after the other."""

    def __init__(self, make_device: Callable[[], Device], *, clock: Callable[[], float]) -> None:
        """Start nothing. ``make_device``: called once, on the thread."""
        self._make_device = make_device
        self._device: Device | None = None
        self._clock = clock
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._loaded: dict[str, Loaded] = {}
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="xlmr-engine", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether jobs are still taken."""
        return not self._stopping and self._thread.is_alive()

    def start(self, *, max_batch_tokens: int) -> Future[Warm]:
        """Start the thread; load every variant and warm it up.

        The future raises StartupError if a variant cannot be served.
        """
        self._thread.start()
        return self._submit(lambda: self._load(max_batch_tokens))

    def run(self, lane: Lane, sequences: Many[NDArray[np.int32]]) -> Future[Run | Failed]:
        """Run sequences (int32 ``[L]`` each) as one batch.

        The future raises NotReadyError if the engine stops before their turn.
        """
        return self._submit(lambda: self._run(lane, sequences))

    def prepare(self, variant: Variant, *, generation: int, digest: str | None) -> Loaded | None:
        """Load a variant beside those that run, in the caller's thread, one caller at a time.

        ``digest``: of weights that need not be loaded again; None is returned where it has these.

        Raises:
            StartupError: it cannot be served as the catalogue says, or this device loads only once.
        """
        return self._swapping().prepare(variant, generation=generation, digest=digest)

    def install(self, loaded: Loaded) -> Future[None]:
        """Make what was prepared ready to run; the future raises StartupError where it cannot."""
        return self._submit(lambda: self._install(loaded))

    def drop(self, served_as: str) -> Future[None]:
        """Let weights go, after the batches that were asked for before."""
        return self._submit(lambda: self._drop(served_as))

    def stop(self) -> None:
        """Take no more jobs; those that wait raise NotReadyError, the running one ends by itself."""
        with self._lock:
            if not self._stopping:
                self._stopping = True
                self._jobs.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the running job to end; False if it has not by then."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        job = _Job(work)
        with self._lock:  # so that no job can be put behind the end
            if self._stopping:
                job.do(stopping=True)
            else:
                self._jobs.put(job)
        return job.future

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.do(stopping=self._stopping)

    def _load(self, max_batch_tokens: int) -> Warm:
        log = structlog.get_logger()
        measurements: dict[Shape, tuple[Measurement, ...]] = {}
        began = self._clock()
        self._device = self._make_device()
        for loaded in self._device.load():
            if self._stopping:
                raise NotReadyError("The service was stopped while it was loading.")
            card = loaded.card
            self._loaded[card.served_as] = loaded
            lane = default_lane(card)
            self._measure(lane, FIRST)
            shape = loaded.shape if lane.layer is None else replace(loaded.shape, layer=lane.layer)
            if shape not in measurements:
                lengths = rungs(max_positions=card.max_positions, max_batch_tokens=max_batch_tokens)
                measurements[shape] = tuple(self._climb(lane, lengths))
            seconds = self._clock() - began
            log.info("variant_ready", variant=card.name, head=card.head, seconds=round(seconds, 3))
            began = self._clock()
        return Warm(loaded=tell_sharing(self._loaded.values()), measurements=measurements)

    def _swapping(self) -> Swapping:
        device: object = self._device
        if not isinstance(device, Swapping):
            raise StartupError("This device loads its variants once; restart the service to load others.")
        return device

    def _install(self, loaded: Loaded) -> None:
        self._swapping().install(loaded)
        self._loaded[loaded.card.served_as] = loaded
        try:
            self._measure(default_lane(loaded.card), FIRST)
        except StartupError:
            self._drop(loaded.card.served_as)
            raise

    def _drop(self, served_as: str) -> None:
        self._swapping().drop(served_as)
        del self._loaded[served_as]

    def _climb(self, lane: Lane, ladder: Iterator[tuple[int, ...]]) -> Iterator[Measurement]:
        for lengths in ladder:
            self._measure(lane, lengths)  # the first run of a size allocates and chooses kernels
            measurement = self._measure(lane, lengths)
            yield measurement
            if self._stopping or measurement.seconds > MAX_RUNG_S:
                return

    def _measure(self, lane: Lane, lengths: tuple[int, ...]) -> Measurement:
        run = self._run(lane, [np.full(length, _WARM_UP_ID, dtype=np.int32) for length in lengths])
        if isinstance(run, Failed):
            raise StartupError(
                f"Variant {lane.variant} cannot run a batch of {sum(lengths)} tokens on this device: "
                f"{type(run.error).__name__}. Try a smaller --max-batch-tokens, or another dtype."
            ) from run.error
        return Measurement(load=Load.of(lengths), seconds=run.finished_at - run.started_at)

    def _run(self, lane: Lane, sequences: Many[NDArray[np.int32]]) -> Run | Failed:
        started_at = self._clock()
        try:
            logits = self._forward(lane, sequences)
        except Exception as error:  # noqa: BLE001 - any failure of the device is this batch's alone
            return Failed(error=error, started_at=started_at, finished_at=self._clock())
        return Run(logits=logits, started_at=started_at, finished_at=self._clock())

    def _forward(self, lane: Lane, sequences: Many[NDArray[np.int32]]) -> tuple[NDArray[np.float32], ...]:
        assert self._device is not None, "A batch came before the weights. This is a bug."
        loaded = self._loaded[lane.variant]
        # By length, so that equal lengths stand together and attention takes each group in one call.
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        batch = pack([sequences[index] for index in order], padding_idx=loaded.padding_idx)
        output = self._device.forward(lane, batch)
        if not np.isfinite(output).all():
            raise EngineError(
                f"Variant {lane.variant} gave numbers that are not finite; "
                "it must be served in a wider dtype (bfloat16 or float32)."
            )
        parts = unpack(output, batch.cu_seqlens, per_token=loaded.card.head in _PER_TOKEN)
        return tuple(part for _, part in sorted(zip(order, parts, strict=True), key=itemgetter(0)))
