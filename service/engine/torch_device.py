"""The device that torch runs on: a GPU, or the CPU.

Rules: batches run on the engine's threads alone, each of which tells torch how many threads of its own
it may use. Arrays go in and come out as numpy, so that nothing above knows torch.
"""

from __future__ import annotations

import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Barrier, Lock
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from service.batching.packing import pack
from service.domain import Lane
from service.engine.cuda import CudaRunner
from service.engine.device import Crew
from service.engine.graphs import cuda_recorder
from service.engine.loading import Bounds, VariantLoader
from service.engine.threads import TYPICAL_LENGTHS, choose_replicas, choose_threads, usable_cores
from service.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.model import Model
    from models.tokenizer import Tokenizers
    from models.variant import Variant
    from service.batching.packing import PackedBatch
    from service.engine.device import Loaded

# One brings its batch to the GPU while another's runs there.
_CUDA_THREADS: Final = 2
# Of the typical batch on each replica, when replicas are compared: about a second at base size.
_NUM_RUNS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """Where and how to run.

    ``name``: auto, cpu or cuda. ``dtype``: of all variants; None for the catalogue's. ``num_threads``: on
    the CPU, of all replicas together; None for the fastest. ``num_replicas``: on the CPU; None for what
    gives the most tokens a second. ``max_parity_error``, ``min_parity_agreement``: how far from float32
    a variant may be.
    """

    name: str = "auto"
    dtype: str | None = None
    num_threads: int | None = None
    num_replicas: int | None = None
    max_parity_error: float = 0.25
    min_parity_agreement: float = 0.6


class TorchDevice:
    """Every variant's model on one device."""

    def __init__(
        self, variants: tuple[Variant, ...], options: DeviceOptions, *, tokenizers: Tokenizers | None = None
    ) -> None:
        """Load nothing yet. ``tokenizers``: where what loading reads is looked up; None where nobody does."""
        self._variants = variants
        self._options = options
        self._tokenizers = tokenizers
        self._models: dict[str, Model] = {}
        self._cuda: CudaRunner | None = None
        self._loader: VariantLoader | None = None
        # Weights come on one thread and go on another: what a model being built has taken over belongs to it.
        self._lock = Lock()
        self._is_preparing = False
        self._num_threads = 1
        self._num_replicas = 1
        self._replica_threads = 1

    def load(self) -> Iterator[Loaded]:
        """Load the variants one after the other, in the catalogue's order.

        Raises:
            StartupError: there is no such device, or a checkpoint cannot be served as the
                catalogue says.
        """
        options = self._options
        device = _choose(options.name)
        if options.num_threads is not None:
            _use_threads(options.num_threads)
        self._loader = VariantLoader(
            device,
            dtype=None if options.dtype is None else getattr(torch, options.dtype),
            bounds=Bounds(max_error=options.max_parity_error, min_agreement=options.min_parity_agreement),
            tokenizers=self._tokenizers,
        )
        for variant in self._variants:
            model, loaded = self._loader.load(variant)
            self._models[variant.name] = model
            if device.type == "cuda":
                self._prepare_cuda(model, loaded)
            elif len(self._models) == 1:
                self._share_cores(loaded)
            yield loaded
        self._loader.forget_tokenizers()

    def crew(self) -> Crew:
        """Tell how many of the engine's threads run batches here."""
        if self._cuda is not None:
            return Crew(num_threads=_CUDA_THREADS, side_by_side=False)
        return Crew(num_threads=self._num_replicas, side_by_side=self._num_replicas > 1)

    def prepare(self, variant: Variant, *, generation: int, digest: str | None) -> Loaded | None:
        """Load a variant while others run, in another thread than the engine's.

        ``digest``: of weights that need not be loaded again; None is returned where it has these.

        Raises:
            StartupError: it cannot be served as the catalogue says; nothing has changed.
        """
        assert self._loader is not None, "Weights are to be replaced before there are any. This is a bug."
        with self._lock:
            self._is_preparing = True
        try:
            found = self._loader.load_unless(variant, digest=digest, generation=generation)
            if found is None:
                return None
            model, loaded = found
            with self._lock:
                self._models[loaded.card.served_as] = model
            return loaded
        finally:
            self._loader.forget_tokenizers()
            with self._lock:
                self._is_preparing = False
                self._loader.keep(self._models.values())  # also what was refused, or dropped meanwhile, goes

    def install(self, loaded: Loaded) -> None:
        """Make what was prepared ready to run."""
        model = self._models[loaded.card.served_as]
        if model.device.type == "cuda":
            self._prepare_cuda(model, loaded)

    def drop(self, served_as: str) -> None:
        """Let weights go that no batch asks for any more."""
        assert self._loader is not None, "Weights are to be dropped before there are any. This is a bug."
        with self._lock:
            model = self._models.pop(served_as)
            if not self._is_preparing:
                self._loader.keep(self._models.values())
        if self._cuda is not None:
            self._cuda.forget(model)

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        """Run a batch of one lane; the shape of what comes back depends on the head."""
        if self._cuda is None:
            _use_threads(self._num_threads)
        return self._forward(lane, batch)

    def forward_beside(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        """Run a batch with one replica's part of the threads."""
        _use_threads(self._replica_threads)
        return self._forward(lane, batch)

    def _forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        model = self._models[lane.variant]
        if self._cuda is None:
            output = model.forward(
                torch.from_numpy(batch.input_ids),
                torch.from_numpy(batch.position_ids),
                torch.from_numpy(batch.cu_seqlens),
                batch.max_seqlen,
                layer=lane.layer,
                pooling=None if lane.pooling is None else lane.pooling.value,
            )
            return cast(NDArray[np.float32], output.numpy())
        try:
            return cast(NDArray[np.float32], self._cuda.run(model, lane, batch).numpy())
        except torch.OutOfMemoryError as error:
            # What the failed batch held must be free before its sequences run alone, and the frames that it
            # failed in hold it for as long as somebody has the error.
            traceback.clear_frames(error.__traceback__)
            torch.cuda.empty_cache()
            raise

    def _prepare_cuda(self, model: Model, loaded: Loaded) -> None:
        """Record what requests without parameters will ask for; other layers run unrecorded."""
        if self._cuda is None:
            self._cuda = CudaRunner(model.device, record=cuda_recorder(), num_threads=_CUDA_THREADS)
        self._cuda.prepare(model, loaded.card.default_layer)

    def _share_cores(self, loaded: Loaded) -> None:
        """Measure on the first variant what threads and replicas are fastest; the others are much alike."""
        lane = Lane(variant=loaded.card.served_as)
        # The id of <s>; what the batch says does not matter.
        sequences = [np.zeros(length, dtype=np.int32) for length in TYPICAL_LENGTHS]
        batch = pack(sequences, padding_idx=loaded.padding_idx)
        # OMP_NUM_THREADS, where it is set, is torch's own number and the most that is tried.
        most = self._options.num_threads or min(torch.get_num_threads(), usable_cores())
        self._num_threads = self._options.num_threads or self._fastest_threads(lane, batch, most)
        self._num_replicas = self._options.num_replicas or self._fastest_replicas(lane, batch, most)
        self._replica_threads = max(1, most // self._num_replicas)
        _use_threads(self._num_threads)

    def _fastest_threads(self, lane: Lane, batch: PackedBatch, most: int) -> int:
        """Choose for a batch that has the cores for itself."""
        choice = choose_threads(partial(self._seconds, lane, batch), most)
        milliseconds = {str(count): round(1e3 * taken, 2) for count, taken in choice.seconds.items()}
        structlog.get_logger().info("threads_chosen", threads=choice.num_threads, milliseconds=milliseconds)
        return choice.num_threads

    def _fastest_replicas(self, lane: Lane, batch: PackedBatch, most: int) -> int:
        """Choose for a backlog."""
        if most == 1:
            return 1
        choice = choose_replicas(partial(self._batches_per_s, lane, batch, most), most)
        speeds = {str(count): round(speed, 2) for count, speed in choice.batches_per_s.items()}
        structlog.get_logger().info("replicas_chosen", replicas=choice.num_replicas, batches_per_s=speeds)
        return choice.num_replicas

    def _seconds(self, lane: Lane, batch: PackedBatch, num_threads: int) -> float:
        _use_threads(num_threads)
        began = time.perf_counter()
        self._forward(lane, batch)
        return time.perf_counter() - began

    def _batches_per_s(self, lane: Lane, batch: PackedBatch, most: int, num_replicas: int) -> float:
        """Run a batch a few times on each of so many replicas, all at once."""
        num_threads = self._num_threads if num_replicas == 1 else most // num_replicas
        start = Barrier(num_replicas + 1)

        def serve() -> None:
            _use_threads(num_threads)
            self._forward(lane, batch)  # the first one allocates
            start.wait()
            for _ in range(_NUM_RUNS):
                self._forward(lane, batch)

        with ThreadPoolExecutor(num_replicas, thread_name_prefix="xlmr-measure") as pool:
            ends = [pool.submit(serve) for _ in range(num_replicas)]
            start.wait()
            began = time.perf_counter()
            for end in ends:
                end.result()
            return num_replicas * _NUM_RUNS / (time.perf_counter() - began)


def _use_threads(num_threads: int) -> None:
    """Tell torch how many threads the calling thread may use."""
    # A thread's first question takes over what another thread set last; later ones do not.
    torch.get_num_threads()
    torch.set_num_threads(num_threads)


def _choose(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise StartupError(
            "--device cuda was asked for, but torch finds no CUDA device here; use --device cpu."
        )
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")
