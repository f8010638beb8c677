"""The coordinator with workers that follow a script: losses, refusals, silence, stops. No Locust."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from loadtest.driver import coordinator as module
from loadtest.driver import messages
from loadtest.driver.assignment import Assignment
from loadtest.driver.coordinator import Coordinator
from loadtest.driver.identity import identity
from loadtest.driver.outcome import FILE_NAME, Fate, Status, read_outcome
from tests.loadtest.driver_world import open_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from loadtest.driver.progress import Progress

pytestmark = pytest.mark.alone

COUNTS = {"num_sent": 3, "num_done": 3, "num_failed": 0, "lateness_p99_us": 100}
PLAN = open_plan(timeout_s=0.1)


class Said:
    """A message as Locust hands it on."""

    def __init__(self, kind: str, client: str, data: Mapping[str, Any]) -> None:
        self.type, self.node_id, self.data = kind, client, dict(data)


class Scripted:
    """A fleet whose workers answer as told: kind of message -> (kind of answer, its data), or nothing."""

    def __init__(self, *clients: str) -> None:
        self.alive = set(clients)
        self.heard: list[tuple[str, str, Mapping[str, Any]]] = []
        self.answers: dict[str, Callable[[str, Mapping[str, Any]], list[tuple[str, dict[str, Any]]]]] = {
            messages.HELLO: lambda *_: [(messages.READY, identity())],
            messages.GO: lambda *_: [(messages.DONE, {**COUNTS, "problem": ""})],
        }
        self.receive: Callable[[Said], None] = lambda _: None

    def dispatching(self) -> list[str]:
        return sorted(self.alive)

    def present(self) -> set[str]:
        return self.alive

    def send(self, kind: str, client: str, data: Mapping[str, Any]) -> None:
        self.heard.append((kind, client, data))
        answers = self.answers[kind](client, data) if kind in self.answers else []
        for answer, said in answers:
            self.receive(Said(answer, client, {"run": data["run"], **said}))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nobody as long as a real run does; what ends a run waits long enough for what a test does."""
    monkeypatch.setattr(module, "TICK_S", 0.02)
    monkeypatch.setattr(module, "_CONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setattr(module, "_PREPARE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(module, "_STOP_TIMEOUT_S", 0.1)
    monkeypatch.setattr(module, "_GRACE_S", 1.0)
    monkeypatch.setattr(module, "SILENCE_S", 0.2)
    monkeypatch.setattr("loadtest.driver.roster.SILENCE_S", 0.1)


def conduct(
    fleet: Scripted,
    out: Path | None,
    *,
    act: Callable[[Coordinator], None] = lambda _: None,
    num_workers: int = 0,
) -> Coordinator:
    assignment = Assignment(
        plan=PLAN, times_us=[0, 1_000], out=out, num_workers=num_workers or len(fleet.alive), num_warm=0
    )
    shown: list[Progress] = []
    conductor = Coordinator(fleet, assignment, 7, shown.append)  # type: ignore[arg-type]  # a fake fleet
    fleet.receive = conductor.receive  # type: ignore[assignment]  # a fake of Locust's message
    greenlet = gevent.spawn(conductor.conduct)
    gevent.sleep(0.05)
    act(conductor)
    greenlet.join(timeout=10)
    assert conductor.ended.is_set()
    assert conductor.outcome is not None
    return conductor


def test_all_goes_well(tmp_path: Path) -> None:
    fleet = Scripted("b", "a")
    outcome = conduct(fleet, tmp_path).outcome
    assert outcome == read_outcome(tmp_path / FILE_NAME)
    assert outcome is not None
    assert (outcome.status, outcome.message) == (Status.COMPLETE, "")
    assert [(one.shard, one.client, one.fate) for one in outcome.workers] == [
        (0, "a", Fate.DONE),
        (1, "b", Fate.DONE),
    ]
    assert [kind for kind, _, _ in fleet.heard] == [messages.HELLO] * 2 + [messages.GO] * 2
    starts = {data["start_ns"] for kind, _, data in fleet.heard if kind == messages.GO}
    assert len(starts) == 1, "workers of one clock have one start"
    hellos = [data for kind, _, data in fleet.heard if kind == messages.HELLO]
    assert [(data["shard"], data["num_shards"]) for data in hellos] == [(0, 2), (1, 2)]
    assert outcome.end_us >= 0


def test_each_clock_is_asked_and_its_start_shifted(tmp_path: Path) -> None:
    ahead_ns = 10**15
    fleet = Scripted("a")
    fleet.answers[messages.HELLO] = lambda *_: [(messages.READY, {**identity(), "boot_id": "another"})]
    fleet.answers[messages.PING] = lambda _, data: [
        (messages.PONG, {"number": data["number"], "remote_ns": time.monotonic_ns() + ahead_ns})
    ]
    outcome = conduct(fleet, tmp_path).outcome
    assert outcome is not None
    clock = outcome.workers[0].clock
    assert clock["offset_ns"] == pytest.approx(ahead_ns, abs=clock["error_ns"] + 1)
    (start_ns,) = (data["start_ns"] for kind, _, data in fleet.heard if kind == messages.GO)
    assert start_ns - time.monotonic_ns() > ahead_ns - 10**10


@pytest.mark.parametrize(
    ("kind", "answer", "words"),
    [
        (messages.HELLO, [(messages.REFUSED, {"reason": "another trace"})], "another trace"),
        (messages.HELLO, [], "not ready within"),
        (messages.HELLO, [(messages.READY, {**identity(), "boot_id": "another"})], "did not say its time"),
        (messages.GO, [], "make no progress"),
    ],
)
def test_a_worker_that_fails_ends_the_run(
    tmp_path: Path, kind: str, answer: list[tuple[str, dict[str, Any]]], words: str
) -> None:
    fleet = Scripted("a")
    fleet.answers[kind] = lambda *_: answer
    outcome = conduct(fleet, tmp_path).outcome
    assert outcome is not None
    assert outcome.status is Status.FAILED
    assert words in outcome.message


def test_workers_that_never_begin_end_the_run(tmp_path: Path) -> None:
    outcome = conduct(Scripted("a"), tmp_path, num_workers=2).outcome
    assert outcome is not None
    assert (outcome.status, outcome.message) == (Status.FAILED, "Only 1 of 2 workers began within 0 s.")


def test_a_worker_that_dies_before_the_start_ends_the_run(tmp_path: Path) -> None:
    fleet = Scripted("a", "b")
    fleet.answers[messages.HELLO] = lambda client, _: [(messages.READY, identity())] if client == "a" else []
    outcome = conduct(fleet, tmp_path, act=lambda _: fleet.alive.discard("b")).outcome
    assert outcome is not None
    assert (outcome.status, outcome.message) == (Status.FAILED, "Worker b ended before the start.")


def test_a_worker_that_dies_while_it_runs_is_lost_and_the_others_finish(tmp_path: Path) -> None:
    fleet = Scripted("a", "b")
    fleet.answers[messages.GO] = lambda client, _: (
        [(messages.DONE, {**COUNTS, "problem": ""})] if client == "a" else [(messages.PROGRESS, COUNTS)]
    )
    outcome = conduct(fleet, tmp_path, act=lambda _: fleet.alive.discard("b")).outcome
    assert outcome is not None
    assert (outcome.status, outcome.message) == (Status.COMPLETE, "Lost worker 1 while it ran.")
    assert [one.fate for one in outcome.workers] == [Fate.DONE, Fate.LOST]
    assert outcome.workers[1].report["num_sent"] == 3


def test_a_stop_before_the_start(tmp_path: Path) -> None:
    fleet = Scripted("a")
    fleet.answers[messages.HELLO] = lambda *_: []
    outcome = conduct(fleet, tmp_path, act=Coordinator.stop).outcome
    assert outcome is not None
    assert outcome.status is Status.INTERRUPTED
    assert messages.GO not in [kind for kind, _, _ in fleet.heard]


def test_a_stop_waits_for_what_workers_have_to_say(tmp_path: Path) -> None:
    fleet = Scripted("a")
    fleet.answers[messages.GO] = lambda *_: [(messages.PROGRESS, COUNTS)]

    def stop(conductor: Coordinator) -> None:
        conductor.stop()
        conductor.receive(Said(messages.DONE, "a", {"run": 7, **COUNTS, "problem": "interrupted"}))  # type: ignore[arg-type]

    outcome = conduct(fleet, tmp_path, act=stop).outcome
    assert outcome is not None
    assert (outcome.status, outcome.workers[0].fate) == (Status.INTERRUPTED, Fate.INTERRUPTED)


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    fleet = Scripted("a")
    fleet.answers[messages.GO] = lambda *_: [(messages.PROGRESS, COUNTS)]
    outcome = conduct(fleet, tmp_path, act=Coordinator.stop).outcome
    assert outcome is not None
    assert outcome.status is Status.INTERRUPTED


def test_a_dispatcher_that_fails_says_why(tmp_path: Path) -> None:
    fleet = Scripted("a")
    fleet.answers[messages.GO] = lambda *_: [(messages.DONE, {**COUNTS, "problem": "KeyError: 3"})]
    outcome = conduct(fleet, tmp_path).outcome
    assert outcome is not None
    assert (outcome.status, outcome.message) == (Status.INTERRUPTED, "KeyError: 3")


def test_pieces_are_appended_to_the_spool(tmp_path: Path) -> None:
    fleet = Scripted("a")
    fleet.answers[messages.GO] = lambda *_: [
        (messages.PIECE, {"data": b"one"}),
        (messages.PIECE, {"data": b"two"}),
        (messages.DONE, {**COUNTS, "problem": ""}),
    ]
    outcome = conduct(fleet, tmp_path).outcome
    assert outcome is not None
    assert (tmp_path / outcome.workers[0].spool).read_bytes() == b"onetwo"


def test_words_of_an_earlier_run_are_not_heard(tmp_path: Path) -> None:
    fleet = Scripted("a")
    fleet.answers[messages.GO] = lambda *_: []

    def late(conductor: Coordinator) -> None:
        conductor.receive(Said(messages.DONE, "a", {"run": 6, **COUNTS, "problem": ""}))  # type: ignore[arg-type]

    outcome = conduct(fleet, tmp_path, act=late).outcome
    assert outcome is not None
    assert outcome.status is Status.FAILED


def test_a_fault_of_its_own_ends_the_run_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("loadtest.driver.roster.Roster.progress", break_down)
    outcome = conduct(Scripted("a"), tmp_path).outcome
    assert outcome is not None
    assert outcome.status is Status.FAILED
    assert "ZeroDivisionError" in outcome.message


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    fleet = Scripted("a")
    conduct(fleet, None)
    assert fleet.heard[0][2]["spool"] is None
    assert not list(tmp_path.iterdir())
