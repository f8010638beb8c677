"""A backend behind a socket: what local laws do not know of. Ends that die, come back, or talk nonsense."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
import pytest
import structlog
from structlog.testing import capture_logs

from service.backend.frames import FrameReader, frame_bytes
from service.backend.listener import BackendListener
from service.backend.messages import Answer, Cancel, Kind, Refusal, Submit, decode, encode
from service.backend.remote import RemoteBackend
from service.domain import Outcome, Phase, TraceContext, Work
from service.errors import EngineError, NotReadyError, QueueFullError
from tests.service.backend_world import card, settle
from tests.service.remote_world import RemoteWorld, remote_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from service.backend.messages import Message

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[RemoteWorld]:
    async with remote_world(tmp_path) as world:
        yield world


class Stranger:
    """Somebody at the backend's socket who writes bytes of his own."""

    def __init__(self, world: RemoteWorld) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        self._path = str(world.path)

    async def say(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        if self._socket.fileno() >= 0:
            await loop.sock_sendall(self._socket, data)
            await settle()

    async def __aenter__(self) -> Self:
        await asyncio.get_running_loop().sock_connect(self._socket, self._path)
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()
        await settle()

    async def hears(self, num_messages: int) -> list[Message]:
        """Read so many messages."""
        reader = FrameReader()
        messages: list[Message] = []
        while len(messages) < num_messages:
            data = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
            messages += map(decode, reader.feed(data))
        return messages

    async def hears_the_end(self) -> bool:
        """Read up to the end of the connection."""
        while await asyncio.get_running_loop().sock_recv(self._socket, 65536):
            pass
        return True


async def test_the_variants_and_the_phase_are_those_of_the_backend(world: RemoteWorld) -> None:
    assert world.remote.cards() == world.backend.cards()
    assert world.remote.statistics().phase is Phase.READY
    assert world.remote.statistics().ready


async def test_statistics_are_read_from_the_backend(world: RemoteWorld) -> None:
    answers = [world.submit([n]) for n in (1, 2)]
    await settle()
    world.submit([3] * 5).cancel()
    waiting = world.submit([4] * 6)
    await settle()
    read = await world.remote.read()
    assert read == world.backend.statistics()
    await world.engine.finish(world.engine.asked[0])
    await world.engine.finish(world.engine.asked[1])
    assert [await answer for answer in (*answers, waiting)] == [[1.0], [2.0], [24.0]]


async def test_before_there_is_a_backend_work_is_refused(tmp_path: Path) -> None:
    world = RemoteWorld(tmp_path)
    with pytest.raises(NotReadyError, match="loading"):
        await world.remote.submit(world.work([1]))
    assert world.remote.cards() == ()
    assert world.remote.statistics().alive


async def test_opening_waits_until_the_backend_has_loaded(tmp_path: Path) -> None:
    world = RemoteWorld(tmp_path)
    await world.listen()
    opening = asyncio.ensure_future(world.remote.open())
    await settle()
    assert not opening.done()
    with pytest.raises(NotReadyError, match="loading"):
        await world.remote.submit(world.work([1]))
    await world.started()
    world.listener.tell_state()
    await opening
    assert world.remote.cards() == world.backend.cards()
    world.remote.close()
    world.listener.close()
    await settle()


async def test_when_the_backend_dies_every_work_is_told_once_and_the_next_one_answers(
    world: RemoteWorld,
) -> None:
    pending = [world.submit([n], timeout_s=60.0) for n in (1, 2, 3)]
    changed = asyncio.ensure_future(world.remote.changed())
    await settle()
    assert not changed.done()
    world.listener.close()
    await changed
    for work in pending:
        with pytest.raises(NotReadyError, match="died and is being restarted") as told:
            await work
        assert told.value.retry_after_s > 0.0
    assert world.remote.statistics().phase is Phase.RESTARTING
    assert world.remote.statistics().alive
    assert not world.remote.statistics().ready
    with pytest.raises(NotReadyError, match="died and is being restarted"):
        await world.remote.submit(world.work([4]))
    await settle()
    assert world.clock.num_timers == 0

    world.path.unlink()
    world.listener = BackendListener(world.backend)
    await world.listen()
    await world.remote.open()
    for batch in world.engine.asked:
        await world.engine.finish(batch)
    answer = world.submit([5])
    await settle()
    await world.engine.finish(world.engine.asked[-1])
    assert await answer == [5.0]


async def test_a_front_end_that_goes_takes_its_works_with_it_and_no_others(world: RemoteWorld) -> None:
    other = RemoteBackend(world.path, clock=world.clock)
    await other.open()
    running = [world.submit([1]), world.submit([2], variant="w")]
    await settle()
    # Both front ends count from 0: the backend must not take their works for one.
    theirs = asyncio.ensure_future(other.submit(replace(world.work([8]), work_id=2)))
    ours = asyncio.ensure_future(world.remote.submit(replace(world.work([9]), work_id=2)))
    await settle()
    assert world.backend.statistics().queue_requests == 2
    other.close()
    await settle()
    assert world.backend.statistics().queue_requests == 1
    with pytest.raises(NotReadyError, match="has shut down"):
        await theirs
    for batch in list(world.engine.asked):
        await world.engine.finish(batch)
    assert world.engine.asked[2].ids == [[9]]
    await world.engine.finish(world.engine.asked[2])
    assert (await ours).logits[0].tolist() == [9.0]
    assert [await answer for answer in running] == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", "start like a frame"),
        (frame_bytes(99, b""), "no message of kind 99"),
        (frame_bytes(Kind.SUBMIT, b"\xff" * 100), "does not add up|ends before"),
        (encode(Answer(work_id=1, outcome=Outcome(logits=(), queue_s=0.0, infer_s=0.0))), "not say Answer"),
    ],
)
async def test_garbage_ends_its_connection_with_a_line_in_the_log_and_nothing_else(
    world: RemoteWorld, garbage: bytes, reason: str
) -> None:
    ours = world.submit([1])
    with capture_logs() as logs:
        async with Stranger(world) as stranger:
            # What the stranger had asked for before is given up.
            await stranger.say(encode(Submit(work=world.work([2, 2]))))
            await stranger.say(garbage)
            assert await stranger.hears_the_end()
    (event,) = [log for log in logs if log["event"] == "garbage_received"]
    assert event["log_level"] == "warning"
    assert event["peer"] == "front end 2"
    assert re.search(reason, event["reason"])
    for batch in list(world.engine.asked):
        await world.engine.finish(batch)
    assert await ours == [1.0]
    assert world.backend.statistics().ready
    assert world.backend.statistics().queue_requests == 0


async def test_a_work_that_comes_twice_is_garbage(world: RemoteWorld) -> None:
    with capture_logs() as logs:
        async with Stranger(world) as stranger:
            await stranger.say(encode(Submit(work=world.work([2]))) + encode(Submit(work=world.work([2]))))
            work = encode(Submit(work=replace(world.work([2]), work_id=7)))
            await stranger.say(work + work)
            assert await stranger.hears_the_end()
    assert [log["reason"] for log in logs if log["event"] == "garbage_received"] == ["A work came twice."]


@pytest.mark.parametrize(
    ("variant", "sequences", "error"),
    [("nobody", ([1],), NotReadyError), ("v", (), EngineError), ("v", ([1], []), EngineError)],
)
async def test_a_work_that_would_break_the_scheduler_is_refused(
    world: RemoteWorld, variant: str, sequences: tuple[list[int], ...], error: type[Exception]
) -> None:
    with pytest.raises(error, match="Send it again"):
        await world.remote.submit(world.work(*sequences, variant=variant))
    # A front end that does not check is checked.
    async with Stranger(world) as stranger:
        await stranger.say(encode(Submit(work=world.work(*sequences, variant=variant))))
        (refusal,) = [said for said in await stranger.hears(2) if isinstance(said, Refusal)]
    assert isinstance(refusal.error, error)
    assert world.backend.statistics().ready


async def test_a_front_end_that_hears_garbage_takes_the_backend_for_dead(tmp_path: Path) -> None:
    world = RemoteWorld(tmp_path)
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_unix_server(lambda _, writer: taken.append(writer), str(world.path))
    opening = asyncio.ensure_future(world.remote.open())
    await settle()
    with capture_logs() as logs:
        taken[0].write(b"no frame at all")
        await settle()
    assert [log["event"] for log in logs] == ["garbage_received", "backend_lost"]
    assert world.remote.statistics().phase is Phase.RESTARTING
    opening.cancel()
    server.close()


async def test_what_comes_for_a_work_that_nobody_awaits_is_dropped(world: RemoteWorld) -> None:
    gone = world.submit([1])
    await settle()
    gone.cancel()
    world.remote._take(next(iter(FrameReader().feed(encode(Answer(work_id=0, outcome=EMPTY))))))
    stays = world.submit([2], variant="w")
    await settle()
    await world.engine.finish(world.engine.asked[1])
    assert await stays == [2.0]


EMPTY = Outcome(logits=(), queue_s=0.0, infer_s=0.0)


async def test_traces_and_request_ids_go_along(world: RemoteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[dict[str, object]] = []
    submit = world.backend.submit

    async def watched(work: Work) -> Outcome:
        known.append(structlog.contextvars.get_contextvars())
        return await submit(work)

    monkeypatch.setattr(world.backend, "submit", watched)
    trace = TraceContext(
        trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331", sampled=True
    )
    with structlog.contextvars.bound_contextvars(request_id="mine-1"):
        answer = asyncio.ensure_future(world.remote.submit(replace(world.work([1]), trace=trace)))
    await settle()
    await world.engine.finish(world.engine.asked[0])
    assert (await answer).logits[0].tolist() == [1.0]
    assert known == [{"request_id": "mine-1"}]
    assert world.observer.batches[0].traces == (trace,)


async def test_variants_that_change_are_told_to_every_front_end(
    world: RemoteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = asyncio.ensure_future(world.remote.changed())
    world.listener.tell_state()
    await settle()
    assert not changed.done()  # they are the same
    cards = (card("v", revision="r2", generation=1), card("w"))
    monkeypatch.setattr(world.backend, "cards", lambda: cards)
    world.listener.tell_state()
    await changed
    await world.remote.open()
    assert world.remote.cards() == cards


async def test_a_backend_that_drains_is_told_at_once(world: RemoteWorld) -> None:
    assert await world.backend.drain(0.0)
    world.listener.tell_state()
    await settle()
    assert not world.remote.statistics().ready
    with pytest.raises(NotReadyError, match="shutting down"):
        await world.remote.submit(world.work([1]))


async def test_a_bug_in_the_backend_is_an_error_of_the_work_not_of_the_link(
    world: RemoteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(work: Work) -> Outcome:
        raise ZeroDivisionError

    monkeypatch.setattr(world.backend, "submit", broken)
    with capture_logs() as logs, pytest.raises(EngineError, match="its log says where"):
        await world.remote.submit(world.work([1]))
    assert [log["event"] for log in logs] == ["submit_failed"]
    assert world.remote.statistics().ready


async def test_what_is_too_long_for_a_frame_is_refused_on_either_side(
    world: RemoteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.backend.frames.MAX_PAYLOAD_BYTES", 400)
    with pytest.raises(QueueFullError, match="in parts"):
        await world.remote.submit(world.work([1] * 100))

    async def long(work: Work) -> Outcome:
        return Outcome(logits=(np.ones(1000, np.float32),), queue_s=0.0, infer_s=0.0)

    monkeypatch.setattr(world.backend, "submit", long)
    with capture_logs(), pytest.raises(EngineError, match="too long to be sent"):
        await world.remote.submit(world.work([1]))


async def test_a_peer_that_reads_nothing_is_given_up(
    world: RemoteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def long(work: Work) -> Outcome:
        return Outcome(logits=(np.ones(2**20, np.float32),), queue_s=0.0, infer_s=0.0)

    monkeypatch.setattr(world.backend, "submit", long)
    monkeypatch.setattr("service.backend.link._MAX_UNREAD_BYTES", 2**22)
    async with Stranger(world) as stranger:
        with capture_logs() as logs:
            works = [Submit(work=world.work([1])) for _ in range(4)]
            await stranger.say(b"".join(map(encode, works)))
    assert [log["event"] for log in logs] == ["peer_reads_no_more"]
    assert world.remote.statistics().ready


async def test_closing_ends_what_is_pending_here(world: RemoteWorld) -> None:
    pending = world.submit([1])
    await settle()
    changed = asyncio.ensure_future(world.remote.changed())
    await settle()
    world.remote.close()
    for ended in (pending, changed):
        with pytest.raises(NotReadyError, match="has shut down"):
            await ended
    with pytest.raises(NotReadyError, match="has shut down"):
        await world.remote.open()
    assert world.remote.statistics().phase is Phase.CLOSED


async def test_a_cancelled_work_is_taken_from_the_engines_queue(world: RemoteWorld) -> None:
    running = [world.submit([1]), world.submit([2], variant="w")]
    await settle()
    waiting = world.submit([3])
    await settle()
    assert world.backend.statistics().queue_requests == 1
    waiting.cancel()
    await settle()
    assert world.backend.statistics().queue_requests == 0
    for batch in list(world.engine.asked):
        await world.engine.finish(batch)
    assert [await answer for answer in running] == [[1.0], [2.0]]
    assert len(world.engine.asked) == 2


def test_a_cancel_is_a_few_bytes() -> None:
    (frame,) = FrameReader().feed(encode(Cancel(work_id=2**40)))
    assert decode(frame) == Cancel(work_id=2**40)
    assert len(frame.payload) == 8
