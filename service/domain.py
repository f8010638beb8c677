"""Records and Protocols that the parts of the service share.

A *request* becomes one ``Work``; a work holds one or more *sequences*, which are
what is batched. Everything here is a value: no clock, no thread, no framework.
Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Many

    import numpy as np
    from numpy.typing import NDArray


class Pooling(StrEnum):
    """How the vectors of a sequence become one."""

    MEAN = "mean"
    CLS = "cls"
    POOLER = "pooler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What a batch has in common: it never mixes weights, exit layers or poolings.

    ``variant`` is what its card calls ``served_as``. ``layer`` is the layer whose output the head reads,
    1-based; None is the last.
    """

    variant: str
    layer: int | None = None
    pooling: Pooling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Where a request stands in somebody's trace: W3C's ids in hexadecimal, and whether spans are kept."""

    trace_id: str
    span_id: str
    sampled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One request's sequences, admitted or refused together.

    ``sequences``: token ids, special tokens included, each int32 ``[L]``.
    ``priority``: smaller goes first. ``deadline``: monotonic seconds, None for none.
    """

    work_id: int
    lane: Lane
    sequences: tuple[NDArray[np.int32], ...]
    arrived_at: float
    priority: int = 0
    deadline: float | None = None
    trace: TraceContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the head said of each sequence of a work, and what it cost.

    ``logits``: one float32 array a sequence, in order: classify ``[C]``, choose ``[1]``,
    tag ``[L, C]``, span ``[L, 2]``, embed ``[H]``. Times are those of the sequence that
    was answered last (the critical path).
    """

    logits: tuple[NDArray[np.float32], ...]
    queue_s: float
    infer_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantParity:
    """How far a variant is from float32, measured on a few texts when it was loaded.

    ``max_error``, ``mean_error``: of logits, over the largest and the mean magnitude of float32's.
    ``agreement``: the share of ``num_answers`` that are the same, 0..1. ``batch_error``: the largest
    relative difference between a text's logits in company and alone.
    """

    max_error: float
    mean_error: float
    agreement: float
    num_answers: int
    batch_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantCard:
    """What the HTTP side needs to know of a loaded variant; plain values only.

    ``head``: classify, choose, tag, span or embed. ``defaults``: the catalogue's
    max_tokens, pooling, layer and normalize where it sets them. ``max_positions``:
    longest sequence in tokens, special tokens included. ``tokenizer``: the path of its
    tokenizer.json; ``tokenizer_digest``: of what was in it (SHA-256) when the weights were loaded, empty
    where nobody read it. ``owned_bytes``, ``shared_bytes``: weights that no other variant uses, and those
    that another uses too. ``has_pooler``: whether pooling "pooler" can be asked for. ``parity``: None where
    nothing was measured. ``generation``: how often its weights were replaced since the start.
    """

    name: str
    head: str
    labels: tuple[str, ...]
    revision: str
    lineage: str
    lineage_tasks: tuple[str, ...]
    lineage_languages: tuple[str, ...]
    base: str
    dtype: str
    synthetic: bool
    digest: str
    num_layers: int
    hidden_size: int
    max_positions: int
    tokenizer: str
    default_max_tokens: int
    default_pooling: Pooling
    default_layer: int | None
    default_normalize: bool
    owned_bytes: int
    shared_bytes: int
    has_pooler: bool = True
    tokenizer_digest: str = ""
    parity: VariantParity | None = None
    generation: int = 0

    @property
    def served_as(self) -> str:
        """Under which name its lanes go: while weights are replaced, a variant has old ones and new ones."""
        return self.name if self.generation == 0 else f"{self.name}#{self.generation}"


class Phase(StrEnum):
    """Where a backend is in its life; one in this process only moves on, another's may be RESTARTING."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    BROKEN = "broken"
    RESTARTING = "restarting"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStatistics:
    """How one variant's checks went since the start: does it answer as it did when it was loaded?

    ``ok``, ``difference``: of the latest check that was answered; the difference is relative to the
    largest logit, infinite where the device failed. ``num_skipped``: checks that were not answered,
    which says nothing.
    """

    variant: str
    ok: bool
    difference: float
    num_ok: int
    num_failed: int
    num_skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendStatistics:
    """A reading of the backend: gauges now, counters since the start.

    ``ready``: it takes work now. ``alive``: it need not be restarted to take work.
    ``backlog_s``: predicted engine time of all that was admitted and has not left the engine.
    ``cost_error_p90``: of the latest predictions, relative, of the worst shape; None before there are
    enough. ``canaries``: one a variant that is asked again and again. ``num_loads``,
    ``num_failed_loads``: by variant.
    """

    queue_requests: int
    queue_tokens: int
    engine_busy_s: float
    num_batches: int
    ready: bool
    alive: bool = True
    phase: Phase = Phase.READY
    backlog_s: float = 0.0
    cost_error_p90: float | None = None
    canaries: tuple[CanaryStatistics, ...] = ()
    num_loads: Mapping[str, int] = field(default_factory=dict)
    num_failed_loads: Mapping[str, int] = field(default_factory=dict)


class Stage(StrEnum):
    """Where the time of a request goes; the four add up to its total."""

    TOKENIZE = "tokenize"
    QUEUE = "queue"
    INFER = "infer"
    DECODE = "decode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """How long a request spent in each stage, in seconds.

    ``tokenize_s``: body read to sequences admitted, parsing included. ``queue_s`` and
    ``infer_s``: of the sequence that was answered last. ``decode_s``: all the rest, up to
    the bytes of the answer; so the parts are the total by construction.
    """

    tokenize_s: float
    queue_s: float
    infer_s: float
    decode_s: float

    @property
    def total_s(self) -> float:
        """The sum of the four stages."""
        return self.tokenize_s + self.queue_s + self.infer_s + self.decode_s


class Result(StrEnum):
    """How a request ended, in the eyes of an operator."""

    OK = "ok"
    PARTIAL = "partial"
    REJECTED = "rejected"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReport:
    """What an observer is told when a request has ended.

    ``variant`` is None when the request named none that is served. ``reason`` says why it was
    refused, None where it was not. ``stages`` is None unless it was answered. ``began_at``: when the
    first of them began, monotonic seconds.
    """

    variant: str | None
    protocol: str
    result: Result
    reason: str | None = None
    stages: Stages | None = None
    num_inputs: int = 0
    num_tokens: int = 0
    num_truncated: int = 0
    began_at: float = 0.0
    trace: TraceContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What an observer is told when a batch has left the engine.

    ``cut``: why the scheduler closed it. ``max_tokens``: the budget that it was cut by.
    ``engine_s``: how long the engine worked on it, retries included. ``predicted_s``: how long
    the cost model expected, 0 when it knew nothing. ``started_at``: on the engine, monotonic seconds.
    ``traces``: of the requests that it served, those that have one. ``share``: of the device that it had,
    less than 1 where others ran beside it.
    """

    variant: str
    cut: str
    num_tokens: int
    num_sequences: int
    max_tokens: int
    engine_s: float
    predicted_s: float
    failed: bool
    started_at: float = 0.0
    traces: tuple[TraceContext, ...] = ()
    share: float = 1.0


class Observer(Protocol):
    """Told what happened; nothing depends on what it does with it."""

    def request_ended(self, report: RequestReport) -> None:
        """Count a request."""
        ...

    def batch_ended(self, report: BatchReport) -> None:
        """Count a batch."""
        ...


class Backend(Protocol):
    """The seam between HTTP and the device.

    ``submit`` is all or nothing for a work and raises QueueFullError, NotReadyError,
    DeadlineError or EngineError; cancelling the awaiting task cancels the work.
    """

    async def submit(self, work: Work) -> Outcome:
        """Answer a work."""
        ...

    def cards(self) -> Many[VariantCard]:
        """Describe every loaded variant."""
        ...

    def statistics(self) -> BackendStatistics:
        """Read the backend's gauges and counters."""
        ...
