"""Peers that hang: a front end notices in a bounded time, tells everybody, and waits for the next one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from service.backend.frames import FrameReader
from service.backend.heartbeat import Heartbeat, Patience
from service.backend.messages import Read, State, Submit, decode, encode
from service.backend.remote import RemoteBackend
from service.domain import BackendStatistics, Phase
from service.errors import NotReadyError
from tests.service.backend_world import FakeClock, World, card, settle
from tests.service.remote_world import RemoteWorld, remote_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from service.backend.messages import Message

pytestmark = pytest.mark.anyio
PATIENCE = Patience(period_s=1.0, timeout_s=3.0)


class Peer:
    """What a heartbeat asked of it, and when it was told of silence."""

    def __init__(self, patience: Patience | None = PATIENCE) -> None:
        self.clock = FakeClock()
        self.num_asked = 0
        self.num_silences = 0
        self.heartbeat = Heartbeat(patience, clock=self.clock, ask=self.ask, on_silence=self.silent)

    def ask(self) -> None:
        self.num_asked += 1

    def silent(self) -> None:
        self.num_silences += 1


async def test_it_asks_once_a_period_and_is_content_with_any_sign_of_life() -> None:
    peer = Peer()
    peer.heartbeat.start()
    peer.heartbeat.start()  # it has begun
    for _ in range(20):
        await peer.clock.advance(1.0)
        peer.heartbeat.heard()
    assert (peer.num_asked, peer.num_silences) == (20, 0)


async def test_silence_is_told_once_after_as_many_questions_as_patience_allows() -> None:
    peer = Peer()
    peer.heartbeat.start()
    await peer.clock.advance(3.9)
    assert (peer.num_asked, peer.num_silences) == (3, 0)
    await peer.clock.advance(0.1)
    assert (peer.num_asked, peer.num_silences) == (3, 1)
    await peer.clock.advance(100.0)
    assert (peer.num_asked, peer.num_silences) == (3, 1)
    assert peer.clock.num_timers == 0


async def test_a_process_that_was_stopped_itself_takes_nobody_for_dead() -> None:
    peer = Peer()
    peer.heartbeat.start()
    await peer.clock.advance(1.0)
    # A minute in which nothing here ran: one timer is due, however long ago.
    peer.clock._now += 60.0
    await peer.clock.advance(0.0)
    assert (peer.num_asked, peer.num_silences) == (2, 0)
    peer.heartbeat.heard()
    await peer.clock.advance(3.0)
    assert peer.num_silences == 0


async def test_patience_without_end_and_a_heart_that_was_stopped_ask_nothing() -> None:
    for peer in (Peer(None), Peer()):
        peer.heartbeat.start()
        peer.heartbeat.stop()
        await peer.clock.advance(100.0)
        assert (peer.num_asked, peer.num_silences, peer.clock.num_timers) == (0, 0, 0)


@pytest.mark.parametrize(
    ("period_s", "timeout_s", "num"), [(1.0, 10.0, 10), (1.0, 0.1, 1), (3.0, 10.0, 4), (0.1, 0.3, 3)]
)
def test_patience_is_a_number_of_questions(period_s: float, timeout_s: float, num: int) -> None:
    assert Patience(period_s=period_s, timeout_s=timeout_s).num_questions == num


READY = BackendStatistics(queue_requests=0, queue_tokens=0, engine_busy_s=0.0, num_batches=0, ready=True)


class Hanging:
    """A backend that introduces itself, takes everything in, and answers when the test says so."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.heard: list[Message] = []

    async def taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(encode(State(statistics=READY, cards=(card("v"),))))
        frames = FrameReader()
        while data := await reader.read(65536):
            self.heard += map(decode, frames.feed(data))
        writer.close()

    def answer(self) -> None:
        self.writers[-1].write(encode(State(statistics=READY)))


@asynccontextmanager
async def hanging(
    folder: Path, patience: Patience | None = PATIENCE
) -> AsyncIterator[tuple[Hanging, RemoteBackend, FakeClock]]:
    backend, clock = Hanging(), FakeClock()
    path = folder / "hanging.sock"
    server = await asyncio.start_unix_server(backend.taken, str(path))
    remote = RemoteBackend(path, clock=clock, patience=patience)
    await remote.open()
    try:
        yield backend, remote, clock
    finally:
        remote.close()
        server.close()
        await settle()


async def test_a_backend_that_hangs_is_noticed_and_its_works_are_told(tmp_path: Path) -> None:
    async with hanging(tmp_path) as (backend, remote, clock):
        remote.adopted()
        work = World().work([1, 2])
        pending = asyncio.ensure_future(remote.submit(work))
        changed = asyncio.ensure_future(remote.changed())
        await settle()
        await clock.advance(3.9)
        assert remote.statistics().ready
        assert not pending.done()
        with capture_logs() as logs:
            await clock.advance(0.1)
            await settle()
        assert [log["event"] for log in logs] == ["backend_silent", "backend_lost"]
        with pytest.raises(NotReadyError) as told:
            await pending
        assert told.value.retry_after_s > 0.0
        assert not remote.statistics().ready
        assert remote.statistics().phase is Phase.RESTARTING
        with pytest.raises(NotReadyError):
            await remote.submit(work)
        await changed
        assert backend.heard.count(Read()) == 3
        assert isinstance(backend.heard[0], Submit)
        # The next backend, or this one when it has come to itself.
        await remote.open()
        assert remote.statistics().ready
        assert len(backend.writers) == 2


async def test_a_backend_that_answers_lives_on(tmp_path: Path) -> None:
    async with hanging(tmp_path) as (backend, remote, clock):
        for _ in range(10):
            await clock.advance(1.0)
            backend.answer()
            await settle()
        assert len(backend.writers) == 1
        assert remote.statistics().ready


async def test_what_never_introduced_itself_is_not_asked_for_signs_of_life(tmp_path: Path) -> None:
    """A connection waits in the supervisor's socket for as long as it takes to start the next backend."""
    clock = FakeClock()
    server = await asyncio.start_unix_server(lambda *_: None, str(tmp_path / "s"))
    remote = RemoteBackend(tmp_path / "s", clock=clock, patience=PATIENCE)
    opening = asyncio.ensure_future(remote.open())
    await settle()
    with capture_logs() as logs:
        await clock.advance(100.0)
    assert logs == []
    assert not opening.done()
    opening.cancel()
    remote.close()
    server.close()
    await settle()


async def test_reading_a_backend_that_hangs_ends_and_gives_what_was_known(tmp_path: Path) -> None:
    async with hanging(tmp_path, None) as (_, remote, clock):
        reading = asyncio.ensure_future(remote.read())
        await settle()
        assert not reading.done()
        await clock.advance(2.0)
        assert (await reading) == READY


async def test_a_reading_is_what_the_backend_said_after_it_was_asked(tmp_path: Path) -> None:
    async with hanging(tmp_path, None) as (backend, remote, _):
        first, second = (asyncio.ensure_future(remote.read()) for _ in range(2))
        await settle()
        # What the backend says of itself meanwhile answers nobody.
        backend.writers[0].write(encode(State(statistics=READY, cards=(card("v"), card("w")))))
        await settle()
        assert not first.done()
        backend.answer()
        await settle()
        assert (first.done(), second.done()) == (True, False)
        backend.answer()
        await second


async def test_a_reading_and_a_change_at_once_miss_nothing(tmp_path: Path) -> None:
    async with remote_world(tmp_path) as world:
        changed = asyncio.ensure_future(world.remote.changed())
        reading = asyncio.ensure_future(world.remote.read())
        world.listener.close()
        await asyncio.wait_for(asyncio.gather(changed, reading), 60.0)


async def test_closing_while_connecting_leaves_no_connection_behind(tmp_path: Path) -> None:
    world = RemoteWorld(tmp_path)
    await world.started()
    await world.listen()
    opening = asyncio.ensure_future(world.remote.open())
    for _ in range(2):  # it sleeps for no time, then connects: the socket is on its way
        await asyncio.sleep(0)
    link = world.remote._link
    assert link is not None
    assert not link.is_open
    world.remote.close()
    with pytest.raises(NotReadyError):
        await opening
    await settle()
    assert not link.is_open
    assert world.listener._connections == set()
    with pytest.raises(NotReadyError):
        await world.remote.submit(world.work([1]))
    world.listener.close()


async def test_closing_between_two_tries_connects_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = RemoteWorld(tmp_path)
    paused, go_on = asyncio.Event(), asyncio.Event()

    async def sleep(_: float) -> None:
        paused.set()
        await go_on.wait()

    monkeypatch.setattr("service.backend.remote.asyncio.sleep", sleep)
    opening = asyncio.ensure_future(world.remote.open())
    await paused.wait()
    monkeypatch.undo()
    await world.started()
    await world.listen()
    world.remote.close()
    go_on.set()
    with pytest.raises(NotReadyError):
        await opening
    await settle()
    assert world.listener._connections == set()
    world.listener.close()
