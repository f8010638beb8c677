"""The coordinator of a run: brings the workers to one start, watches them, says how it went.

It lives in Locust's master, or in the only process of a local run. It waits for the users,
says HELLO, learns the clocks, says GO, and listens until every worker is done or lost: one
that dies is noticed by its missing heartbeats, the others finish, and its arrivals become
censored rows.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gevent.event import Event
from gevent.queue import Empty, Queue

from loadtest.driver import messages
from loadtest.driver.clocks import Exchange, estimate
from loadtest.driver.errors import DriverError, EngineError
from loadtest.driver.identity import identity
from loadtest.driver.outcome import FILE_NAME, Fate, Outcome, Status, write_outcome
from loadtest.driver.plan import Mode
from loadtest.driver.roster import SILENCE_S, Participant, Roster
from loadtest.driver.shard import places

if TYPE_CHECKING:
    from collections.abc import Callable

    from locust.rpc.protocol import Message

    from loadtest.driver.assignment import Assignment
    from loadtest.driver.fleet import Fleet
    from loadtest.driver.progress import Progress

TICK_S = 0.5
_CONNECT_TIMEOUT_S = 30.0
_PREPARE_TIMEOUT_S = 300.0  # a worker on another host may read a large trace from a slow disk
_STOP_TIMEOUT_S = 3.0  # workers that are told to stop say DONE at once
_START_DELAY_NS = 500_000_000  # GO reaches every worker well before the start
_NUM_PINGS = 16
_GRACE_S = 30.0  # past a run's last possible end, before a worker that still beats is given up
_NS_PER_US = 1_000
_NS_PER_S = 1_000_000_000


class _StoppedError(Exception):
    """The run was stopped from outside."""


class Coordinator:
    """Conducts one assignment; ``show`` is called with each reading of its progress."""

    def __init__(
        self, fleet: Fleet, assignment: Assignment, run: int, show: Callable[[Progress], None]
    ) -> None:
        self._fleet = fleet
        self._assignment = assignment
        self._run = run
        self._show = show
        self._inbox: Queue = Queue()
        self._roster = Roster((), time.monotonic())
        self._start_ns = 0
        self._start_wall_ns = 0
        self._stopping = False
        self.ended = Event()
        self.outcome: Outcome | None = None

    def receive(self, msg: Message) -> None:
        """Take a worker's message of whatever kind."""
        if msg.data.get("run") == self._run:
            self._inbox.put((time.monotonic_ns(), msg))

    def stop(self) -> None:
        """Say that the run is being stopped from outside; its workers will say DONE, or will not."""
        self._stopping = True

    def conduct(self) -> None:
        """Run the assignment to its end, and say how it went in ``outcome``."""
        try:
            self._gather()
            self._synchronise()
            self._go()
            self._watch()
        except _StoppedError:
            self.give_up()
        except DriverError as error:
            self._end(Status.FAILED, str(error))
        except Exception as error:  # a run that waits for ever is worse than any error
            self._end(Status.FAILED, f"The coordinator failed: {type(error).__name__}: {error}")
            raise
        else:
            self._end(*self._verdict())

    def give_up(self) -> None:
        """End as interrupted, unless the run has ended; what was heard so far is kept."""
        if self.outcome is None:
            with contextlib.suppress(DriverError):  # a refusal no longer matters
                while self._take(0) is not None:
                    pass
            self._end(Status.INTERRUPTED, "The run was stopped before its end.")

    def _verdict(self) -> tuple[Status, str]:
        if self._roster.count(Fate.INTERRUPTED):
            problems = sorted(
                {str(one.report.get("problem", "")) for one in self._roster} - {"", "interrupted"}
            )
            return Status.INTERRUPTED, "; ".join(problems) or "The run was stopped before its end."
        lost = [str(one.shard) for one in self._roster if one.fate is Fate.LOST]
        return Status.COMPLETE, f"Lost worker {', '.join(lost)} while it ran." if lost else ""

    def _gather(self) -> None:
        """Say HELLO to every worker that has its user, and wait until each is ready."""
        clients = self._with_user()
        bound = self._assignment.plan.max_inflight
        self._roster = Roster(clients[:bound], time.monotonic())
        for one in self._roster:
            self._fleet.send(messages.HELLO, one.client, self._hello(one))
        deadline = time.monotonic() + _PREPARE_TIMEOUT_S
        while not self._roster.ready:
            self._hear_next(TICK_S)
            gone = self._roster.absent(self._fleet.present())
            if gone:
                raise EngineError(f"Worker {', '.join(one.client for one in gone)} ended before the start.")
            if time.monotonic() > deadline:
                raise EngineError(f"Some worker was not ready within {_PREPARE_TIMEOUT_S:.0f} s.")

    def _with_user(self) -> list[str]:
        """Return the workers that dispatch, once all of them do."""
        expected = self._assignment.num_workers
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S
        while len(clients := self._fleet.dispatching()) < expected:
            if time.monotonic() > deadline:
                raise EngineError(
                    f"Only {len(clients)} of {expected} workers began within {_CONNECT_TIMEOUT_S:.0f} s."
                )
            self._hear_next(TICK_S / 10)
        return clients

    def _hello(self, one: Participant) -> dict[str, Any]:
        out, plan = self._assignment.out, self._assignment.plan
        spool = None
        if out is not None:
            path = out / one.spool
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            spool = str(path.resolve())
        return {
            "run": self._run,
            "plan": plan.as_json(),
            "shard": one.shard,
            "num_shards": len(self._roster),
            "max_inflight": places(plan.max_inflight, len(self._roster), one.shard),
            "spool": spool,
            "boot_id": identity()["boot_id"],
            "num_warm": self._assignment.num_warm,
        }

    def _synchronise(self) -> None:
        """Learn the offset of each worker whose clock is another than ours."""
        boot_id = identity()["boot_id"]
        for one in self._roster:
            if one.identity["boot_id"] != boot_id:
                one.clock = estimate([self._ping(one, number) for number in range(_NUM_PINGS)])

    def _ping(self, one: Participant, number: int) -> Exchange:
        asked_ns = time.monotonic_ns()
        self._fleet.send(messages.PING, one.client, {"run": self._run, "number": number})
        deadline = time.monotonic() + SILENCE_S
        while time.monotonic() < deadline:
            heard = self._hear_next(SILENCE_S)
            if heard is None:
                break
            answered_ns, msg = heard
            if (msg.type, msg.node_id, msg.data.get("number")) == (messages.PONG, one.client, number):
                return Exchange(asked_ns=asked_ns, remote_ns=msg.data["remote_ns"], answered_ns=answered_ns)
        raise EngineError(f"Worker {one.client} did not say its time within {SILENCE_S:.0f} s.")

    def _go(self) -> None:
        self._start_ns = time.monotonic_ns() + _START_DELAY_NS
        self._start_wall_ns = time.time_ns() + _START_DELAY_NS
        for one in self._roster:
            self._fleet.send(
                messages.GO, one.client, {"run": self._run, "start_ns": self._start_ns + one.clock.offset_ns}
            )

    def _watch(self) -> None:
        """Listen until every worker has said DONE or is lost."""
        plan, times_us = self._assignment.plan, self._assignment.times_us
        moved_at, num_done, shown_at = time.monotonic(), -1, 0.0
        stop_at = None
        while not self._roster.ended:
            self._hear_next(TICK_S)
            now = time.monotonic()
            self._roster.note_losses(self._fleet.present(), now)
            progress = self._progress()
            if progress.num_done != num_done or self._elapsed_us() < times_us[-1]:
                moved_at, num_done = now, progress.num_done
            if now - moved_at > plan.timeout_s + _GRACE_S:
                raise EngineError("Workers make no progress although every request must have timed out.")
            if now - shown_at >= TICK_S:
                shown_at = now
                self._show(progress)
            if self._stopping:
                stop_at = stop_at or now + _STOP_TIMEOUT_S
                if now > stop_at:
                    self._roster.note_losses(self._fleet.present(), now + SILENCE_S)
                    break
        if not self._roster.ended:
            raise _StoppedError
        self._show(self._progress())

    def _hear_next(self, timeout_s: float) -> tuple[int, Message] | None:
        """Take in the next message; before the start, a stop ends the waiting."""
        if self._stopping and not self._start_ns:
            raise _StoppedError
        return self._take(timeout_s)

    def _take(self, timeout_s: float) -> tuple[int, Message] | None:
        """Take in the next message; return when it came and what it was, or None where none came."""
        try:
            heard: tuple[int, Message] = self._inbox.get(timeout=timeout_s)
        except Empty:
            return None
        one = self._roster.hear(heard[1], time.monotonic())
        if one is not None and heard[1].type == messages.PIECE and self._assignment.out is not None:
            with (self._assignment.out / one.spool).open("ab") as file:
                file.write(heard[1].data["data"])
        return heard

    def _elapsed_us(self) -> int:
        return max(0, (time.monotonic_ns() - self._start_ns) // _NS_PER_US) if self._start_ns else 0

    def _progress(self) -> Progress:
        times_us, mode = self._assignment.times_us, self._assignment.plan.mode
        reading = self._roster.progress(times_us, self._elapsed_us(), is_open=mode is Mode.OPEN)
        return replace(reading, started_at_s=self._start_wall_ns / _NS_PER_S)

    def _end(self, status: Status, message: str) -> None:
        self.outcome = Outcome(
            status=status,
            message=message,
            start_wall_ns=self._start_wall_ns,
            end_us=self._elapsed_us(),
            locust=version("locust"),
            workers=tuple(one.outcome() for one in self._roster),
        )
        if self._assignment.out is not None:
            write_outcome(self._assignment.out / FILE_NAME, self.outcome)
        self.ended.set()
