"""The threads that own the device: one, or several that run batches over the same weights.

Rules: jobs begin in the order in which they came, and one at a time unless a device has replicas
or takes its next batch while it runs; a job that fails fails alone and its thread lives on; every
future is resolved once, also when the engine stops. The threads are daemons, since neither a forward
pass nor a load can be interrupted, and they must not keep a stopped program alive.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from math import inf
from operator import itemgetter
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import structlog

from service.batching.cost import Load, Measurement, Shape
from service.batching.packing import pack, unpack
from service.engine.contract import Failed, Run, Warm
from service.engine.device import Crew, Crewed, Swapping
from service.engine.jobs import Job, Jobs
from service.engine.sharing import tell_sharing
from service.engine.warm_up import (
    FIRST,
    MAX_RUNG_BESIDE_S,
    MAX_RUNG_S,
    default_lane,
    measure_rung,
    rungs,
)
from service.errors import EngineError, NotReadyError, StartupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Sequence as Many
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from models.variant import Variant
    from service.domain import Lane
    from service.engine.device import Device, Loaded

# Heads that speak for every token, not for the sequence.
_PER_TOKEN = frozenset({"tag", "span"})
_ONE = Crew(num_threads=1, side_by_side=False)
# The id of <s> in XLM-R's vocabulary; what a warm-up batch says does not matter.
_WARM_UP_ID = 0

T = TypeVar("T")


class EngineThread:
    """Runs batches on a device, one after the other, or side by side where it has replicas."""

    def __init__(self, make_device: Callable[[], Device], *, clock: Callable[[], float]) -> None:
        """Start nothing. ``make_device``: called once, on the thread."""
        self._make_device = make_device
        self._device: Device | None = None
        self._clock = clock
        self._jobs = Jobs()
        self._loaded: dict[str, Loaded] = {}
        self._crewed: Crewed | None = None
        self._crew = _ONE
        self._threads = [self._new_thread(0)]
        self._loader: threading.Thread | None = None
        self._turn = threading.Lock()
        self._last_finished_at = -inf

    @property
    def alive(self) -> bool:
        """Whether jobs are still taken."""
        return not self._jobs.closed and all(thread.is_alive() for thread in self._threads)

    def start(self, *, max_batch_tokens: int) -> Future[Warm]:
        """Start a thread; load every variant and warm it up, with the others that the device wants.

        The future raises StartupError if a variant cannot be served.
        """
        self._threads[0].start()
        # The other threads measure their part of the warm-up beside this job.
        return self._submit(lambda: self._load(max_batch_tokens), beside=True)

    def run(
        self, lane: Lane, sequences: Many[NDArray[np.int32]], *, beside: bool = False
    ) -> Future[Run | Failed]:
        """Run sequences (int32 ``[L]`` each) as one batch.

        ``beside``: on one replica, with others beside it; else on the whole device. The future raises
        NotReadyError if the engine stops before their turn.
        """
        in_turn = self._crew.num_threads > 1 and not self._crew.side_by_side
        return self._submit(partial(self._run, lane, sequences, beside=beside), beside=beside or in_turn)

    def prepare(self, variant: Variant, *, generation: int, digest: str | None) -> Future[Loaded | None]:
        """Load a variant beside those that run, in a thread of its own, one at a time.

        ``digest``: of weights that need not be loaded again; the result is None where it has these. The
        future raises StartupError if it cannot be served as the catalogue says, or this device loads once.
        """
        # A daemon like the others: a load of minutes must not keep a stopped program alive.
        job = Job(
            lambda: self._swapping().prepare(variant, generation=generation, digest=digest), beside=True
        )
        do = partial(job.do, stopping=self._jobs.closed)
        self._loader = threading.Thread(target=do, name="xlmr-load", daemon=True)
        self._loader.start()
        return job.future

    def install(self, loaded: Loaded) -> Future[None]:
        """Make what was prepared ready to run; the future raises StartupError where it cannot."""
        return self._submit(lambda: self._install(loaded))

    def drop(self, served_as: str) -> Future[None]:
        """Let weights go, after the batches that were asked for before."""
        return self._submit(lambda: self._drop(served_as))

    def stop(self) -> None:
        """Take no more jobs; those that wait raise NotReadyError, running ones end by themselves."""
        self._jobs.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for running jobs and a running load to end; False if one has not by then."""
        ends_at = time.monotonic() + timeout_s
        threads = self._threads if self._loader is None else [*self._threads, self._loader]
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, ends_at - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _submit(self, work: Callable[[], T], *, beside: bool = False) -> Future[T]:
        job = Job(work, beside=beside)
        self._jobs.put(job)
        return job.future

    def _new_thread(self, index: int) -> threading.Thread:
        name = f"xlmr-engine-{index}" if index else "xlmr-engine"
        return threading.Thread(target=self._serve, name=name, daemon=True)

    def _serve(self) -> None:
        while self._jobs.run_next():
            pass

    def _hire(self) -> None:
        """Start the other threads that the device wants."""
        if not isinstance(self._device, Crewed) or self._crewed is not None:
            return
        self._crewed, self._crew = self._device, self._device.crew()
        others = [self._new_thread(index) for index in range(1, self._crew.num_threads)]
        for thread in others:
            thread.start()
        self._threads += others

    def _load(self, max_batch_tokens: int) -> Warm:
        log = structlog.get_logger()
        measurements: dict[Shape, tuple[Measurement, ...]] = {}
        began = self._clock()
        self._device = self._make_device()
        for loaded in self._device.load():
            if self._jobs.closed:
                raise NotReadyError("The service was stopped while it was loading.")
            self._hire()
            card = loaded.card
            self._loaded[card.served_as] = loaded
            lane = default_lane(card)
            self._measure(lane, FIRST)
            shape = loaded.shape_at(lane.layer)
            if shape not in measurements:
                ladder = tuple(rungs(max_positions=card.max_positions, max_batch_tokens=max_batch_tokens))
                alone = self._climb(ladder, partial(self._measure, lane), MAX_RUNG_S)
                measurements[shape] = tuple(alone)
                if self._crew.side_by_side:
                    beside = self._climb(ladder, partial(self._measure_beside, lane), MAX_RUNG_BESIDE_S)
                    measurements[replace(shape, beside=True)] = tuple(beside)
            seconds = self._clock() - began
            log.info("variant_ready", variant=card.name, head=card.head, seconds=round(seconds, 3))
            began = self._clock()
        return Warm(
            loaded=tell_sharing(self._loaded.values()),
            measurements=measurements,
            num_replicas=self._crew.num_threads if self._crew.side_by_side else 1,
        )

    def _swapping(self) -> Swapping:
        device: object = self._device
        if not isinstance(device, Swapping):
            raise StartupError("This device loads its variants once; restart the service to load others.")
        return device

    def _install(self, loaded: Loaded) -> None:
        self._loaded[loaded.card.served_as] = loaded
        try:
            self._swapping().install(loaded)
            self._measure(default_lane(loaded.card), FIRST)
        except Exception:
            self._drop(loaded.card.served_as)
            raise

    def _drop(self, served_as: str) -> None:
        self._swapping().drop(served_as)
        del self._loaded[served_as]

    def _climb(
        self,
        ladder: Many[tuple[int, ...]],
        measure: Callable[[tuple[int, ...]], Measurement],
        max_rung_s: float,
    ) -> Iterator[Measurement]:
        for lengths in ladder:
            measurement = measure_rung(measure, lengths)
            yield measurement
            if self._jobs.closed or measurement.seconds > max_rung_s:
                return

    def _measure(self, lane: Lane, lengths: tuple[int, ...], *, beside: bool = False) -> Measurement:
        sequences = [np.full(length, _WARM_UP_ID, dtype=np.int32) for length in lengths]
        run = self._run(lane, sequences, beside=beside)
        if isinstance(run, Failed):
            raise StartupError(
                f"Variant {lane.variant} cannot run a batch of {sum(lengths)} tokens on this device: "
                f"{type(run.error).__name__}. Try a smaller --max-batch-tokens, or another dtype."
            ) from run.error
        return Measurement(load=Load.of(lengths), seconds=run.finished_at - run.started_at)

    def _measure_beside(self, lane: Lane, lengths: tuple[int, ...]) -> Measurement:
        """Measure a batch while every other replica runs the same."""
        measure = partial(self._measure, lane, lengths, beside=True)
        others = [self._submit(measure, beside=True) for _ in self._threads[1:]]
        times = [measure().seconds, *(other.result().seconds for other in others)]
        return Measurement(load=Load.of(lengths), seconds=median(times))

    def _run(self, lane: Lane, sequences: Many[NDArray[np.int32]], *, beside: bool = False) -> Run | Failed:
        started_at = self._clock()
        try:
            logits = self._forward(lane, sequences, beside=beside)
        except Exception as error:  # noqa: BLE001 - any failure of the device is this batch's alone
            return Failed(error=error, started_at=started_at, finished_at=self._clock())
        started_at, finished_at = self._times(started_at)
        return Run(logits=logits, started_at=started_at, finished_at=finished_at)

    def _times(self, started_at: float) -> tuple[float, float]:
        """Return when a batch that ends now began on the device, and when it ended."""
        if self._crew.side_by_side:
            return started_at, self._clock()
        with self._turn:
            finished_at = self._clock()
            # What was brought while another batch ran began when that one had ended.
            started_at = max(started_at, self._last_finished_at)
            self._last_finished_at = finished_at
        return started_at, finished_at

    def _forward(
        self, lane: Lane, sequences: Many[NDArray[np.int32]], *, beside: bool
    ) -> tuple[NDArray[np.float32], ...]:
        assert self._device is not None, "A batch came before the weights. This is a bug."
        loaded = self._loaded[lane.variant]
        # By length, so that equal lengths stand together and attention takes each group in one call.
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        batch = pack([sequences[index] for index in order], padding_idx=loaded.padding_idx)
        if beside and self._crewed is not None:
            output = self._crewed.forward_beside(lane, batch)
        else:
            output = self._device.forward(lane, batch)
        if not np.isfinite(output).all():
            raise EngineError(
                f"Variant {lane.variant} gave numbers that are not finite; "
                "it must be served in a wider dtype (bfloat16 or float32)."
            )
        parts = unpack(output, batch.cu_seqlens, per_token=loaded.card.head in _PER_TOKEN)
        return tuple(part for _, part in sorted(zip(order, parts, strict=True), key=itemgetter(0)))
