"""The dispatcher over real sockets of the loopback: laws, timeouts, broken servers, interruptions."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import gevent
import pytest

from loadtest.driver.connection import Connections
from loadtest.driver.dispatcher import Dispatcher, Limits, Shard
from loadtest.driver.errors import TargetError
from loadtest.driver.failures import describe
from loadtest.driver.plan import Mode
from loadtest.driver.shard import places
from loadtest.driver.wire import encode_body, encode_greeting, encode_request, parse_target, predict_path
from tests.loadtest.driver_world import every, null_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.driver.spool import Record

pytestmark = pytest.mark.alone

SECOND_NS = 1_000_000_000


def requests(url: str, count: int) -> list[bytes]:
    target = parse_target(url)
    return [
        encode_request(target, predict_path("v.xnli"), encode_body([{"text": f"text {i}"}], {}))
        for i in range(count)
    ]


def drive(
    url: str,
    times_us: Sequence[int],
    *,
    mode: Mode = Mode.OPEN,
    max_inflight: int | None = None,
    timeout_s: float = 5.0,
    during: Callable[[Dispatcher, gevent.Greenlet], None] = lambda *_: None,
    all_sent: Callable[[], None] = lambda: None,
) -> tuple[dict[int, Record], Dispatcher, Connections]:
    """Send one request an instant, and return the records by index; ``during`` runs beside."""
    connections = Connections(parse_target(url))
    connections.resolve()
    ended: list[Record] = []
    count = len(times_us)
    shard = Shard(
        indices=range(count), times_us=times_us, requests=requests(url, count), names=["xnli"] * count
    )
    limits = Limits(mode=mode, timeout_s=timeout_s, max_inflight=max_inflight)
    dispatcher = Dispatcher(shard, limits, connections, lambda record, _: ended.append(record))
    greenlet = gevent.spawn(dispatcher.run, time.monotonic_ns() + SECOND_NS // 20, all_sent)
    during(dispatcher, greenlet)
    greenlet.join(timeout=20)
    assert greenlet.ready()
    connections.close()
    records = {record.i: record for record in ended}
    assert len(records) == len(ended), "an arrival ended twice"
    return records, dispatcher, connections


class Script:
    """A server that plays one behaviour a connection, in a thread of plain sockets."""

    def __init__(self, *plays: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._plays = plays
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        for play in self._plays:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock:
                play(sock)


def answer(sock: socket.socket, body: bytes = b"{}") -> None:
    """Read one request, and answer it."""
    sock.recv(65_536)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def test_an_open_loop_sends_each_request_once_at_its_instant() -> None:
    times_us = every(0.01, 60)
    with null_server() as world:
        records, dispatcher, _ = drive(world.url, times_us)
        asked = world.asked()
    assert sorted(asked) == sorted(f"text {i}" for i in range(60))
    assert [records[i].intended_us for i in range(60)] == times_us
    for record in records.values():
        assert (record.status, record.error, record.censored) == (200, "", False)
        assert record.sent_us is not None
        assert record.intended_us <= record.sent_us <= record.done_us
        assert record.timing.startswith("tokenize;dur=0.0")
    counts = dispatcher.statistics()
    assert (counts.num_sent, counts.num_done, counts.num_failed) == (60, 60, 0)
    assert len(dispatcher.drain_latenesses_us()) == 60
    assert dispatcher.drain_latenesses_us() == []


def test_it_is_said_when_nothing_is_left_but_to_wait() -> None:
    """Only of an open loop: the others send until the end."""
    told: list[int] = []
    with null_server(service_s=0.2) as world:
        _, dispatcher, _ = drive(world.url, every(0.01, 3), all_sent=lambda: told.append(len(told)))
        drive(world.url, [0] * 3, mode=Mode.CLOSED, max_inflight=1, all_sent=lambda: told.append(len(told)))
    assert told == [0]
    assert dispatcher.statistics().num_done == 3


def test_no_reply_is_waited_for() -> None:
    """Every answer takes 0.6 s of one server; all requests go out while the first is answered."""
    with null_server(service_s=0.6) as world:
        records, dispatcher, _ = drive(world.url, every(0.01, 8))
    first_done_us = min(record.done_us for record in records.values())
    sent = [record.sent_us for record in records.values()]
    assert all(instant is not None and instant < first_done_us for instant in sent)
    assert dispatcher.statistics().max_inflight == 8
    slowest = max(record.done_us for record in records.values())
    # One server answers them in turn: the last waited for all of them, and not for as many again.
    assert 8 * 600_000 <= slowest < 16 * 600_000


def test_a_closed_loop_keeps_its_clients_busy_and_no_more() -> None:
    with null_server(service_s=0.02) as world:
        records, dispatcher, _ = drive(world.url, [0] * 12, mode=Mode.CLOSED, max_inflight=3)
    assert dispatcher.statistics().max_inflight == 3
    done = sorted(record.done_us for record in records.values())
    intended = sorted(record.intended_us for record in records.values())
    assert intended[2] < done[0], "three clients do not wait for each other"
    for k in range(3, 12):
        assert intended[k] >= done[k - 3], "a client went on before its answer was there"


def test_offline_counts_from_the_start() -> None:
    with null_server(service_s=0.01) as world:
        records, dispatcher, _ = drive(world.url, [0] * 10, mode=Mode.OFFLINE, max_inflight=4)
    assert {record.intended_us for record in records.values()} == {0}
    assert dispatcher.statistics().max_inflight == 4
    assert max(record.done_us for record in records.values()) >= 10 * 10_000


def test_a_timeout_is_censored_at_the_timeout() -> None:
    with null_server(service_s=0.0, stall_at_s=0.0, stall_s=60.0) as world:
        records, _, _ = drive(world.url, every(0.05, 4), timeout_s=0.4)
    for record in records.values():
        assert (record.error, record.censored, record.status) == ("timeout", True, None)
        assert record.sent_us is not None
        assert record.done_us - record.sent_us == 400_000


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ("garbage", 200, ""),  # what a body means is read after the run
        ("busy", 429, "http 429"),
        ("no_http", None, "not http"),
        ("close", None, "connection closed"),
        ("cut", None, "connection closed"),
    ],
)
def test_a_broken_server_is_told_apart(fault: str, status: int | None, error: str) -> None:
    with null_server(fault=fault, fault_every=2) as world:
        # One at a time, so that the server counts them in this order.
        records, _, _ = drive(world.url, [0] * 8, mode=Mode.CLOSED, max_inflight=1)
    faulty = [records[i] for i in (1, 3, 5, 7)]
    assert [(record.status, record.error, record.censored) for record in faulty] == [
        (status, error, False)
    ] * 4
    assert all(records[i].error == "" for i in (0, 2, 4, 6))


def test_a_request_is_not_sent_again_when_its_connection_closes_unanswered() -> None:
    """The server may have worked on it; sending it twice would be a request that nobody scheduled."""

    def close_when_asked(sock: socket.socket) -> None:
        answer(sock)
        sock.recv(65_536)  # takes the second request off the wire, and closes without a word

    with Script(close_when_asked, answer) as script:
        records, _, connections = drive(script.url, [0, 0], mode=Mode.CLOSED, max_inflight=1)
    assert (records[0].status, records[1].error) == (200, "connection closed")
    assert connections.num_opened == 1


def test_a_connection_closed_while_idle_is_not_used() -> None:
    with Script(answer, answer) as script:
        records, _, connections = drive(script.url, every(0.5, 2))
    assert [records[i].status for i in (0, 1)] == [200, 200]
    assert (connections.num_opened, connections.num_stale) == (2, 1)


def test_a_connection_idle_for_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.driver.connection.MAX_IDLE_S", 0.5)
    with null_server() as world:
        records, _, connections = drive(world.url, [0, 100_000, 1_100_000])
    assert [records[i].status for i in range(3)] == [200] * 3
    assert connections.num_opened == 2


def test_a_server_that_dies_midway_gives_refusals() -> None:
    def die_and_answer(sock: socket.socket) -> None:
        script._listener.close()
        sock.recv(65_536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    with Script(die_and_answer) as script:
        records, _, _ = drive(script.url, [0] * 3, mode=Mode.CLOSED, max_inflight=1)
    assert records[0].status == 200
    assert {records[i].error for i in (1, 2)} == {"connection refused"}


def test_an_interrupted_run_keeps_what_was_sent() -> None:
    def kill(dispatcher: Dispatcher, greenlet: gevent.Greenlet) -> None:
        while not dispatcher.statistics().num_done:
            gevent.sleep(0.01)
        greenlet.kill()

    with null_server(service_s=0.25) as world:
        records, _, _ = drive(world.url, every(0.05, 100), during=kill)
    assert 5 <= len(records) < 100
    whole = [record for record in records.values() if not record.error]
    cut = [record for record in records.values() if record.error]
    assert whole
    assert "interrupted" in {record.error for record in cut}
    for record in cut:
        assert record.error == ("not sent" if record.sent_us is None else "interrupted")
    assert all(record.censored and record.status is None for record in cut)


def test_chunks_and_interim_answers_are_read() -> None:
    def speak(sock: socket.socket) -> None:
        sock.recv(65_536)
        sock.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        sock.sendall(b"3\r\nabc\r\n")
        sock.sendall(b"2\r\nde\r\n0\r\n\r\n")

    with Script(speak) as script:
        records, _, _ = drive(script.url, [0])
    assert (records[0].status, records[0].body) == (200, b"abcde")


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    def speak(sock: socket.socket) -> None:
        sock.recv(65_536)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nabc")

    with Script(speak) as script:
        records, _, connections = drive(script.url, [0])
    assert (records[0].status, records[0].body, records[0].error) == (200, b"abc", "")
    assert connections.take() is None


def test_warm_connections_are_opened_without_a_predict_call() -> None:
    with null_server() as world:
        connections = Connections(parse_target(world.url))
        connections.resolve()
        assert connections.warm(5, encode_greeting(parse_target(world.url)), 5.0) == 5
        assert connections.num_opened == 5
        connections.close()
        assert world.asked() == []


def test_nobody_there_is_said_before_the_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TargetError, match=f"Nobody answers at http://127.0.0.1:{port}"):
        Connections(parse_target(f"http://127.0.0.1:{port}")).resolve()


@pytest.mark.parametrize(("bound", "shards"), [(1, 1), (7, 3), (256, 2), (4, 4)])
def test_places_add_up_to_the_bound(bound: int, shards: int) -> None:
    parts = [places(bound, shards, shard) for shard in range(shards)]
    assert sum(part or 0 for part in parts) == bound
    assert all(parts)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (OSError(24, "too many"), "no file descriptors left"),
        (OSError(99, "no address"), "no local ports left"),
        (OSError(113, "no route"), "network failure"),
        (BrokenPipeError(), "connection reset"),
    ],
)
def test_failures_have_few_names(broken: Any, words: str) -> None:
    assert describe(broken) == words
