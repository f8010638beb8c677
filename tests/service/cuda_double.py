"""A CUDA device made of the CPU, for code that has no GPU to run on: its calls, its order, its refusals.

Rules: only what torch does is imitated, and where torch refuses, this does: a recording repeats the
operations that ran, at the addresses and with the numbers that they had; to ask for a number while recording
breaks the recording off, and its end raises without giving the thread its stream back; what attention did
not write is NaN. Attention runs through torch's own variable-length function, whose kernel alone stands in.
What no CPU can tell: speed, memory, kernels that differ, and whatever two streams do at the same time.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from models.encoder import sdpa_attention
from service.engine.cuda import CudaRunner
from service.engine.graphs import buckets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pytest

_COPIES = frozenset({Tensor.copy_, Tensor.to})
_ASKS = frozenset({Tensor.tolist, Tensor.item, Tensor.__int__, Tensor.__float__, Tensor.__bool__, Tensor.cpu})


class Stream:
    """A stream: its name in the log, and nothing that runs."""

    def __init__(self, cuda: Cuda, name: str) -> None:
        self._cuda = cuda
        self.name = name

    def wait_stream(self, other: Stream) -> None:
        self._cuda.log.append(f"{self.name} waits for {other.name}")


class Event:
    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._recorded = False

    def record(self, stream: Stream) -> None:
        self._recorded = True
        self._cuda.log.append(f"event on {stream.name}")

    def synchronize(self) -> None:
        assert self._recorded
        self._cuda.log.append("event waited for")


class Graph:
    """What was recorded, run again where it ran."""

    def __init__(self) -> None:
        self.steps: list[tuple[Any, Any, Any, Any]] = []
        self.ended = False

    def replay(self) -> None:
        assert self.ended, "torch: Called CUDAGraph::replay without a preceding successful capture."
        for operation, args, kwargs, output in self.steps:
            again = operation(*args, **kwargs)
            for there, new in zip(pytree.tree_leaves(output), pytree.tree_leaves(again), strict=True):
                if isinstance(there, Tensor) and there.data_ptr() != new.data_ptr():
                    there.copy_(new)


class _Capture(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's gap
    def __init__(self, graph: Graph) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's gap
        self._graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self._graph.steps.append((func, args, kwargs or {}, output))
        return output


class Recording:
    """``torch.cuda.graph`` as torch 2.11 has it, its end included."""

    def __init__(
        self, cuda: Cuda, graph: Graph, *, pool: object, stream: Stream, capture_error_mode: str = "global"
    ) -> None:
        self._cuda, self._graph, self._stream = cuda, graph, stream
        cuda.modes.append(capture_error_mode)
        cuda.pools.add(pool)
        self._capture = _Capture(graph)

    def __enter__(self) -> None:
        assert self._cuda.open_pools == 0, "torch: captures_underway.empty() INTERNAL ASSERT FAILED"
        self._before = self._cuda.current_stream()
        self._cuda.set_stream(self._stream)
        self._cuda.open_pools += 1
        self._cuda.own.broken = False
        self._cuda.own.capturing = True
        self._capture.__enter__()  # type: ignore[no-untyped-call]  # torch's gap

    def __exit__(self, *args: object) -> None:
        self._capture.__exit__(*args)  # type: ignore[no-untyped-call]  # torch's gap
        self._cuda.own.capturing = False
        if self._cuda.own.broken:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        self._cuda.open_pools -= 1
        self._graph.ended = True
        self._cuda.set_stream(self._before)


class _OnCpu(TorchFunctionMode):
    """Puts on the CPU what is asked for on the device, and refuses questions while recording."""

    def __init__(self, cuda: Cuda) -> None:
        super().__init__()
        self._cuda = cuda

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if given.pop("pin_memory", False):
            self._cuda.num_pinned += 1
        if func in _COPIES and given.get("non_blocking"):
            self._cuda.log.append(f"copy on {self._cuda.current_stream().name}")
        if func in _ASKS and self._cuda.capturing:
            self._cuda.own.broken = True
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        if str(given.get("device", "")).startswith("cuda"):
            given["device"] = "cpu"
        if func is not torch.device:
            args, given = pytree.tree_map_only(torch.device, lambda _: torch.device("cpu"), (args, given))
        return func(*args, **given)


class _Own(threading.local):
    stream: Stream | None = None
    capturing = False
    broken = False
    in_kernel = False


@dataclass
class Cuda:
    """The device: what it was asked for, and what is under way.

    ``log``: in order; of copies those alone that the host does not wait for. ``num_pinned``: pinned buffers.
    """

    log: list[str] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    pools: set[object] = field(default_factory=set)
    open_pools: int = 0
    num_pinned: int = 0
    own: _Own = field(default_factory=_Own)
    num_streams: int = 0

    def __post_init__(self) -> None:
        self._default = Stream(self, "default")

    @property
    def capturing(self) -> bool:
        return self.own.capturing and not self.own.in_kernel

    def new_stream(self) -> str:
        self.num_streams += 1
        return f"stream {self.num_streams}"

    def current_stream(self, _device: object = None) -> Stream:
        return self.own.stream or self._default

    def set_stream(self, stream: Stream) -> None:
        self.own.stream = stream

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before = self.current_stream()
        self.set_stream(stream)
        try:
            yield
        finally:
            self.set_stream(before)

    def empty_cache(self) -> None:
        assert self.open_pools == 0, "torch: captures_underway.empty() INTERNAL ASSERT FAILED"
        self.log.append("cache emptied")

    def end_pool(self, _device: int, pool: object) -> None:
        if self.open_pools == 0 or pool not in self.pools:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.open_pools -= 1

    def synchronize(self, _device: object = None) -> None:
        self.log.append("synchronized")

    def attend(self, *given: Any, **_more: Any) -> tuple[Tensor, ...]:
        """Stand in for the kernel, with its demands."""
        query, key, value, bounds, other_bounds, longest, other_longest, dropout, causal, _ = given
        assert all(one.dtype in (torch.bfloat16, torch.float16) for one in (query, key, value))
        assert all(one.dim() == 3 and one.stride(-1) == 1 for one in (query, key, value))
        assert query.shape[-1] % 8 == 0
        assert all(one.dtype is torch.int32 and one.is_contiguous() for one in (bounds, other_bounds))
        assert (dropout, causal) == (0.0, False)
        self.own.in_kernel = True
        try:
            output = torch.full_like(query, torch.nan)
            for start, end in pairwise(bounds.tolist()):
                assert 0 <= end - start <= min(longest, other_longest)
                if end > start:
                    attend = sdpa_attention(torch.tensor([0, end - start]), end - start)
                    output[start:end] = attend(query[start:end], key[start:end], value[start:end])
        finally:
            self.own.in_kernel = False
        rest = torch.zeros(2, dtype=torch.uint64)
        return output, query.new_zeros(query.shape[1], len(query)), rest, rest.clone(), query.new_zeros(0)


class _Modes(ExitStack):
    @classmethod
    def of(cls, cuda: Cuda) -> Self:
        stack = cls()
        stack.enter_context(_OnCpu(cuda))
        return stack


@contextmanager
def cuda_on_cpu(monkeypatch: pytest.MonkeyPatch, *, buckets: Iterable[int] | None = None) -> Iterator[Cuda]:
    """Let this thread, and those that it starts, find a CUDA device.

    ``buckets``: fewer than a runner records by itself, since here that takes its time.
    """
    cuda = Cuda()
    run: Callable[[threading.Thread], None] = threading.Thread.run

    def run_with_device(thread: threading.Thread) -> None:
        with _Modes.of(cuda):
            run(thread)

    def recording(graph: Graph, **given: Any) -> Recording:
        return Recording(cuda, graph, **given)

    # Classes, as torch's are: libraries write them into their annotations.
    class OwnStream(Stream):
        def __init__(self, _device: object = None) -> None:
            super().__init__(cuda, cuda.new_stream())

    class OwnEvent(Event):
        def __init__(self, **_: bool) -> None:
            super().__init__(cuda)

    doubles = {
        "is_available": lambda: True,
        "Stream": OwnStream,
        "Event": OwnEvent,
        "current_stream": cuda.current_stream,
        "set_stream": cuda.set_stream,
        "stream": cuda.stream,
        "synchronize": cuda.synchronize,
        "empty_cache": cuda.empty_cache,
        "CUDAGraph": Graph,
        "graph": recording,
        "graph_pool_handle": lambda: (0, 1),
        "current_device": lambda: 0,
        "get_device_name": lambda *_: "a CPU that stands in",
        "get_device_capability": lambda *_: (0, 0),
    }
    with monkeypatch.context() as patch, torch.library._scoped_library("aten", "IMPL") as kernels:
        for name, double in doubles.items():
            patch.setattr(torch.cuda, name, double)
        patch.setattr(torch._C, "_cuda_endAllocateToPool", cuda.end_pool, raising=False)
        patch.setattr(threading.Thread, "run", run_with_device)
        if buckets is not None:
            defaults = CudaRunner.__init__.__kwdefaults__
            assert defaults is not None
            patch.setitem(defaults, "buckets", buckets_of(buckets))
        kernels.impl("_flash_attention_forward", cuda.attend, "CPU")
        with _Modes.of(cuda):
            yield cuda
