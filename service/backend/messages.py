"""What a front end and a backend say to each other over a socket, as records and as frames.

Rules: arrays travel as their raw bytes (int32 ids, float32 logits, little-endian, never copied into text),
fixed fields by ``struct``; only what is said once in a life (cards, phase) is JSON. Moments are the
machine's monotonic seconds, which its processes share. A payload that does not add up raises FrameError,
whatever is in it.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from service.backend.frames import FrameError, frame_bytes
from service.domain import (
    BackendStatistics,
    CanaryStatistics,
    Lane,
    Outcome,
    Phase,
    Pooling,
    TraceContext,
    VariantCard,
    VariantParity,
    Work,
)
from service.errors import DeadlineError, EngineError, NotReadyError, QueueFullError, ServiceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.backend.frames import Frame


class Kind(IntEnum):
    """What a frame holds; the first three go to the backend, the others come from it."""

    SUBMIT = 1
    CANCEL = 2
    READ = 3
    ANSWER = 4
    REFUSAL = 5
    STATE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Answer this work. ``request_id``: under which both processes' logs tell of it; empty for none."""

    work: Work
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Nobody waits for this work any more."""

    work_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Say the state now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A work's outcome."""

    work_id: int
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a work has no outcome."""

    work_id: int
    error: ServiceError


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the backend is in its life, and what it has loaded; None where that was said before."""

    statistics: BackendStatistics
    cards: tuple[VariantCard, ...] | None = None


Message = Submit | Cancel | Read | Answer | Refusal | State

_SUBMIT = struct.Struct("<QddihbBHHI")
_TRACE = struct.Struct("<16s8s")
_WORK_ID = struct.Struct("<Q")
_ANSWER = struct.Struct("<QddI")
_REFUSAL = struct.Struct("<QdB")
_HAS_TRACE, _IS_SAMPLED = 1, 2
_POOLINGS = tuple(Pooling)
_NONE = -1
# Stands where an array has no second axis.
_FLAT = 0xFFFFFFFF
_ERRORS: tuple[type[ServiceError], ...] = (QueueFullError, NotReadyError, DeadlineError, EngineError)
_UINT32, _INT32, _FLOAT32 = np.dtype("<u4"), np.dtype("<i4"), np.dtype("<f4")


def encode(message: Message) -> bytes:
    """Make a message's frame.

    Raises:
        FrameError: it is longer than a frame may be.
    """
    match message:
        case Submit():
            return frame_bytes(Kind.SUBMIT, _submit_bytes(message))
        case Answer():
            return frame_bytes(Kind.ANSWER, _answer_bytes(message))
        case Refusal():
            return frame_bytes(Kind.REFUSAL, _refusal_bytes(message))
        case Cancel(work_id=work_id):
            return frame_bytes(Kind.CANCEL, _WORK_ID.pack(work_id))
        case Read():
            return frame_bytes(Kind.READ, b"")
        case State():
            return frame_bytes(Kind.STATE, json.dumps(asdict(message)).encode())


def decode(frame: Frame) -> Message:
    """Read a message; its arrays are views of the frame, not to be written to.

    Raises:
        FrameError: the payload does not add up.
    """
    try:
        match frame.kind:
            case Kind.SUBMIT:
                return _submit(frame.payload)
            case Kind.ANSWER:
                return _answer(frame.payload)
            case Kind.REFUSAL:
                return _refusal(frame.payload)
            case Kind.CANCEL:
                return Cancel(work_id=_WORK_ID.unpack(frame.payload)[0])
            case Kind.READ:
                return Read()
            case Kind.STATE:
                return _state(json.loads(bytes(frame.payload)))
            case _:
                raise FrameError(f"There is no message of kind {frame.kind}.")
    except (struct.error, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise FrameError(
            f"A message of kind {frame.kind} does not add up ({type(error).__name__})."
        ) from error


def _submit_bytes(message: Submit) -> bytes:
    work = message.work
    lane, trace = work.lane, work.trace
    variant, request_id = lane.variant.encode(), message.request_id.encode()
    flags = 0 if trace is None else _HAS_TRACE | (_IS_SAMPLED if trace.sampled else 0)
    parts = [
        _SUBMIT.pack(
            work.work_id,
            work.arrived_at,
            math.nan if work.deadline is None else work.deadline,
            work.priority,
            _NONE if lane.layer is None else lane.layer,
            _NONE if lane.pooling is None else _POOLINGS.index(lane.pooling),
            flags,
            len(variant),
            len(request_id),
            len(work.sequences),
        ),
        b"" if trace is None else bytes.fromhex(trace.trace_id + trace.span_id),
        variant,
        request_id,
        np.fromiter(map(len, work.sequences), _UINT32, len(work.sequences)).tobytes(),
        *(np.ascontiguousarray(ids, dtype=_INT32).tobytes() for ids in work.sequences),
    ]
    return b"".join(parts)


def _submit(payload: memoryview) -> Submit:
    work_id, arrived_at, deadline, priority, layer, pooling, flags, *lengths = _SUBMIT.unpack_from(payload)
    len_variant, len_request_id, num_sequences = lengths
    rest = _Cursor(payload, _SUBMIT.size)
    trace = None
    if flags & _HAS_TRACE:
        trace_id, span_id = _TRACE.unpack(rest.take(_TRACE.size))
        trace = TraceContext(
            trace_id=trace_id.hex(), span_id=span_id.hex(), sampled=bool(flags & _IS_SAMPLED)
        )
    variant = str(rest.take(len_variant), "utf-8")
    request_id = str(rest.take(len_request_id), "utf-8")
    num_ids = rest.array(_UINT32, num_sequences)
    sequences = tuple(rest.array(_INT32, num) for num in num_ids.tolist())
    rest.must_end()
    work = Work(
        work_id=work_id,
        lane=Lane(
            variant=variant,
            layer=None if layer == _NONE else layer,
            pooling=None if pooling == _NONE else _POOLINGS[pooling],
        ),
        sequences=sequences,
        arrived_at=arrived_at,
        priority=priority,
        deadline=None if math.isnan(deadline) else deadline,
        trace=trace,
    )
    return Submit(work=work, request_id=request_id)


def _answer_bytes(message: Answer) -> bytes:
    outcome = message.outcome
    shapes = [axis for part in outcome.logits for axis in (*part.shape, _FLAT)[:2]]
    return b"".join(
        (
            _ANSWER.pack(message.work_id, outcome.queue_s, outcome.infer_s, len(outcome.logits)),
            np.array(shapes, dtype=_UINT32).tobytes(),
            *(np.ascontiguousarray(part, dtype=_FLOAT32).tobytes() for part in outcome.logits),
        )
    )


def _answer(payload: memoryview) -> Answer:
    work_id, queue_s, infer_s, num_arrays = _ANSWER.unpack_from(payload)
    rest = _Cursor(payload, _ANSWER.size)
    shapes = rest.array(_UINT32, 2 * num_arrays).tolist()
    logits = []
    for rows, columns in zip(shapes[::2], shapes[1::2], strict=True):
        if columns == _FLAT:
            logits.append(rest.array(_FLOAT32, rows))
        else:
            logits.append(rest.array(_FLOAT32, rows * columns).reshape(rows, columns))
    rest.must_end()
    return Answer(work_id=work_id, outcome=Outcome(logits=tuple(logits), queue_s=queue_s, infer_s=infer_s))


def _refusal_bytes(message: Refusal) -> bytes:
    error = message.error
    kind = next(
        (i for i, known in enumerate(_ERRORS) if isinstance(error, known)), _ERRORS.index(EngineError)
    )
    retry_after_s = getattr(error, "retry_after_s", math.nan)
    return _REFUSAL.pack(message.work_id, retry_after_s, kind) + str(error).encode()


def _refusal(payload: memoryview) -> Refusal:
    work_id, retry_after_s, kind = _REFUSAL.unpack_from(payload)
    said = str(payload[_REFUSAL.size :], "utf-8")
    error = _ERRORS[kind](said)
    if not math.isnan(retry_after_s):
        vars(error)["retry_after_s"] = retry_after_s
    return Refusal(work_id=work_id, error=error)


def _state(said: dict[str, Any]) -> State:
    statistics = said["statistics"]
    phase = Phase(statistics.pop("phase"))
    canaries = tuple(CanaryStatistics(**one) for one in statistics.pop("canaries"))
    cards = said["cards"]
    return State(
        statistics=BackendStatistics(**statistics, phase=phase, canaries=canaries),
        cards=None if cards is None else tuple(map(_card, cards)),
    )


def _card(said: dict[str, Any]) -> VariantCard:
    parity = said.pop("parity")
    said |= {key: tuple(said[key]) for key in ("labels", "lineage_tasks", "lineage_languages")}
    said["default_pooling"] = Pooling(said["default_pooling"])
    return VariantCard(**said, parity=None if parity is None else VariantParity(**parity))


class _Cursor:
    """Takes a payload apart from front to back, never past its end."""

    def __init__(self, payload: memoryview, start: int) -> None:
        self._payload = payload
        self._at = start

    def take(self, num_bytes: int) -> memoryview:
        end = self._at + num_bytes
        if end > len(self._payload):
            raise FrameError("A message ends before what it says that it holds.")
        part, self._at = self._payload[self._at : end], end
        return part

    def array(self, dtype: np.dtype[Any], num: int) -> NDArray[Any]:
        """Return the next ``num`` numbers, read only."""
        array: NDArray[Any] = np.frombuffer(self.take(num * dtype.itemsize), dtype)
        array.flags.writeable = False
        return array

    def must_end(self) -> None:
        if self._at != len(self._payload):
            raise FrameError("A message holds more than it says.")
