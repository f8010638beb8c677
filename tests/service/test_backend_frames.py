"""What lies on the socket: messages come through bit for bit, and anything else is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from service.backend.frames import HEADER, MAGIC, VERSION, Frame, FrameError, FrameReader, frame_bytes
from service.backend.messages import (
    Answer,
    Cancel,
    Kind,
    Message,
    Read,
    Refusal,
    State,
    Submit,
    decode,
    encode,
)
from service.domain import (
    BackendStatistics,
    CanaryStatistics,
    Lane,
    Outcome,
    Phase,
    Pooling,
    TraceContext,
    VariantParity,
    Work,
)
from service.errors import DeadlineError, EngineError, NotReadyError, QueueFullError, ServiceError
from tests.service.backend_world import card

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORK_IDS = st.integers(0, 2**64 - 1)
SECONDS = st.floats(allow_nan=False)
HEX = "0123456789abcdef"
TRACES = st.builds(
    TraceContext,
    trace_id=st.text(HEX, min_size=32, max_size=32),
    span_id=st.text(HEX, min_size=16, max_size=16),
    sampled=st.booleans(),
)
LANES = st.builds(
    Lane,
    variant=st.text(st.characters(codec="utf-8"), max_size=40),
    layer=st.none() | st.integers(1, 48),
    pooling=st.none() | st.sampled_from(Pooling),
)
SEQUENCES = st.lists(arrays(np.int32, st.integers(1, 40)), max_size=5).map(tuple)
WORKS = st.builds(
    Work,
    work_id=WORK_IDS,
    lane=LANES,
    sequences=SEQUENCES,
    arrived_at=SECONDS,
    priority=st.integers(-(2**31), 2**31 - 1),
    deadline=st.none() | SECONDS,
    trace=st.none() | TRACES,
)
SUBMITS = st.builds(Submit, work=WORKS, request_id=st.text("abc-0", max_size=64))
# Any bits, not-a-numbers of every kind among them.
LOGITS = arrays(np.uint32, array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=6)).map(
    lambda bits: bits.view(np.float32)
)
OUTCOMES = st.builds(
    Outcome, logits=st.lists(LOGITS, max_size=5).map(tuple), queue_s=SECONDS, infer_s=SECONDS
)
ANSWERS = st.builds(Answer, work_id=WORK_IDS, outcome=OUTCOMES)
MESSAGES = SUBMITS | ANSWERS | st.builds(Cancel, work_id=WORK_IDS) | st.just(Read())


def frames(data: bytes) -> list[Frame]:
    return FrameReader().feed(data)


def through(message: Message) -> Message:
    """Send a message to oneself."""
    (frame,) = frames(encode(message))
    return decode(frame)


def bits(array: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.str, array.shape, array.tobytes()


@given(SUBMITS)
def test_a_work_comes_through_as_it_is(sent: Submit) -> None:
    got = through(sent)
    assert isinstance(got, Submit)
    assert list(map(bits, got.work.sequences)) == list(map(bits, sent.work.sequences))
    assert replace(got.work, sequences=()) == replace(sent.work, sequences=())
    assert got.request_id == sent.request_id


@given(ANSWERS)
def test_logits_come_through_bit_for_bit(sent: Answer) -> None:
    got = through(sent)
    assert isinstance(got, Answer)
    assert list(map(bits, got.outcome.logits)) == list(map(bits, sent.outcome.logits))
    assert replace(got.outcome, logits=()) == replace(sent.outcome, logits=())
    assert got.work_id == sent.work_id


def test_arrays_are_their_raw_bytes() -> None:
    ids = np.array([7, 250_001, 2], dtype=np.int32)
    work = Work(work_id=1, lane=Lane(variant="v"), sequences=(ids,), arrived_at=0.0)
    assert encode(Submit(work=work)).endswith(bytes.fromhex("07000000 91d00300 02000000"))
    logits = np.array([[1.0, -2.5]], dtype=np.float32)
    outcome = Outcome(logits=(logits,), queue_s=0.0, infer_s=0.0)
    assert encode(Answer(work_id=1, outcome=outcome)).endswith(bytes.fromhex("0000803f 000020c0"))


def test_what_was_received_cannot_be_written_to() -> None:
    work = Work(work_id=1, lane=Lane(variant="v"), sequences=(np.ones(3, np.int32),), arrived_at=0.0)
    got = through(Submit(work=work))
    assert isinstance(got, Submit)
    with pytest.raises(ValueError, match="read-only"):
        got.work.sequences[0][0] = 2


@pytest.mark.parametrize(
    ("error", "arrives_as"),
    [
        (QueueFullError("Full.", retry_after_s=7.25), QueueFullError),
        (NotReadyError("Leider nicht bereit: später."), NotReadyError),
        (DeadlineError("Late."), DeadlineError),
        (EngineError("Broken."), EngineError),
        (ServiceError("Anything else."), EngineError),
    ],
)
def test_a_refusal_keeps_its_kind_and_its_sentence(
    error: ServiceError, arrives_as: type[ServiceError]
) -> None:
    got = through(Refusal(work_id=3, error=error))
    assert isinstance(got, Refusal)
    assert got.work_id == 3
    assert type(got.error) is arrives_as
    assert str(got.error) == str(error)
    assert getattr(got.error, "retry_after_s", None) == getattr(error, "retry_after_s", None)


def test_the_state_and_the_variants_come_through() -> None:
    parity = VariantParity(max_error=0.1, mean_error=0.01, agreement=1.0, num_answers=8, batch_error=0.0)
    cards = (card("v", parity=parity, lineage_tasks=("mnli",)), card("e", "embed", default_layer=3))
    statistics = BackendStatistics(
        queue_requests=1,
        queue_tokens=2,
        engine_busy_s=3.5,
        num_batches=4,
        ready=True,
        phase=Phase.READY,
        backlog_s=0.25,
        cost_error_p90=None,
        canaries=(
            CanaryStatistics(
                variant="v", ok=False, difference=math.inf, num_ok=1, num_failed=1, num_skipped=0
            ),
        ),
    )
    for sent in (State(statistics=statistics, cards=cards), State(statistics=statistics)):
        assert through(sent) == sent


@given(st.lists(MESSAGES, max_size=6), st.data())
def test_a_stream_is_cut_the_same_however_it_arrives(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader = FrameReader()
    got = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += [(frame.kind, bytes(frame.payload)) for frame in reader.feed(stream[start:end])]
    assert got == [(frame.kind, bytes(frame.payload)) for frame in frames(stream)]
    assert len(got) == len(messages)


def test_a_long_frame_may_come_byte_by_byte() -> None:
    message = encode(Cancel(work_id=5))
    reader = FrameReader()
    got = [frame for byte in message * 2 for frame in reader.feed(bytes([byte]))]
    assert [decode(frame) for frame in got] == [Cancel(work_id=5)] * 2


@pytest.mark.parametrize(
    ("garbage", "said"),
    [
        (b"GET / HTTP/1.1\r\n", "start like a frame"),
        (HEADER.pack(MAGIC, VERSION + 1, Kind.READ, 0), "version 2, not 1"),
        (HEADER.pack(MAGIC, VERSION, Kind.SUBMIT, 2**32 - 1), "4294967295 bytes"),
        (encode(Read()) + b"????????", "start like a frame"),
    ],
)
def test_what_is_no_frame_is_refused(garbage: bytes, said: str) -> None:
    with pytest.raises(FrameError, match=said):
        FrameReader().feed(garbage)


def test_a_frame_longer_than_the_reader_allows_is_refused_before_it_has_come() -> None:
    reader = FrameReader(max_payload_bytes=9)
    assert len(reader.feed(frame_bytes(1, bytes(9)))) == 1
    with pytest.raises(FrameError, match="10 bytes"):
        reader.feed(frame_bytes(1, bytes(10))[: HEADER.size])


def test_a_frame_longer_than_any_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.backend.frames.MAX_PAYLOAD_BYTES", 100)
    work = Work(work_id=1, lane=Lane(variant="v"), sequences=(np.ones(100, np.int32),), arrived_at=0.0)
    with pytest.raises(FrameError, match="more than a frame's 100"):
        encode(Submit(work=work))


@given(st.integers(0, 255), st.binary(max_size=200))
def test_garbage_in_a_frame_is_refused_or_is_a_message(kind: int, payload: bytes) -> None:
    """Nothing but FrameError may come out of what a stranger wrote."""
    try:
        message = decode(Frame(kind=kind, payload=memoryview(payload)))
    except FrameError:
        return
    assert type(message).__name__.upper() == Kind(kind).name


@given(SUBMITS | ANSWERS, st.data())
def test_a_message_that_was_tampered_with_is_refused_or_is_a_message(
    message: Message, data: st.DataObject
) -> None:
    (frame,) = frames(encode(message))
    payload = bytearray(frame.payload)
    index = data.draw(st.integers(0, len(payload) - 1))
    payload[index] ^= data.draw(st.integers(1, 255))
    payload = payload[: data.draw(st.integers(len(payload) - 3, len(payload)))]
    try:
        got = decode(Frame(kind=frame.kind, payload=memoryview(bytes(payload))))
    except FrameError:
        return
    assert type(got) is type(message)


@pytest.mark.parametrize(
    "said", ["[]", "{}", "null", "[" * 100_000, '{"statistics": {}, "cards": null}', "\x80"]
)
def test_a_state_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(FrameError):
        decode(Frame(kind=Kind.STATE, payload=memoryview(said.encode("latin-1"))))


def test_a_state_of_unknown_phase_is_refused() -> None:
    statistics = BackendStatistics(
        queue_requests=0, queue_tokens=0, engine_busy_s=0.0, num_batches=0, ready=True
    )
    (frame,) = frames(encode(State(statistics=statistics)))
    said = json.loads(bytes(frame.payload))
    said["statistics"]["phase"] = "asleep"
    with pytest.raises(FrameError, match="ValueError"):
        decode(Frame(kind=Kind.STATE, payload=memoryview(json.dumps(said).encode())))
