"""Jobs for several threads: order, who runs alone, and how they end."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.engine.jobs import Job, Jobs
from service.errors import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

TIMEOUT_S = 240.0  # only a deadlock waits for it


@contextmanager
def workers(jobs: Jobs, count: int) -> Iterator[list[threading.Thread]]:
    def serve() -> None:
        while jobs.run_next():
            pass

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        jobs.close()
        for thread in threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()


class Watch:
    """Who runs with whom; a job waits until it is let go, if it is to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running: set[int] = set()
        self.begun: list[int] = []
        self.company: dict[int, set[int]] = {}
        self.has_begun = threading.Event()

    def job(self, number: int, *, beside: bool, gate: threading.Event | threading.Barrier) -> Job[int]:
        def work() -> int:
            with self._lock:
                self.begun.append(number)
                self.running.add(number)
                for other in self.running:
                    self.company.setdefault(other, set()).update(self.running - {other})
            self.has_begun.set()
            gate.wait(TIMEOUT_S)
            with self._lock:
                self.running.remove(number)
            return number

        return Job(work, beside=beside)


def open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


def test_jobs_beside_one_another_run_at_the_same_time() -> None:
    jobs, watch, together = Jobs(), Watch(), threading.Barrier(2)
    made = [watch.job(number, beside=True, gate=together) for number in (1, 2)]
    for job in made:
        jobs.put(job)
    with workers(jobs, 2):
        assert [job.future.result(TIMEOUT_S) for job in made] == [1, 2]
    assert watch.company == {1: {2}, 2: {1}}


@settings(max_examples=60, deadline=None)
@given(kinds=st.lists(st.booleans(), min_size=1, max_size=30), num_threads=st.integers(1, 4))
def test_a_job_for_the_whole_device_has_no_company_and_jobs_begin_in_order(
    kinds: list[bool], num_threads: int
) -> None:
    jobs, watch = Jobs(), Watch()
    made = [watch.job(number, beside=beside, gate=open_gate()) for number, beside in enumerate(kinds)]
    for job in made:
        jobs.put(job)
    with workers(jobs, num_threads):
        assert [job.future.result(TIMEOUT_S) for job in made] == list(range(len(kinds)))
    for number, beside in enumerate(kinds):
        if not beside:
            assert not watch.company.get(number)
            # Whatever came before it began before it, and whatever came after it after it.
            assert watch.begun[number] == number


def test_a_job_for_the_whole_device_waits_and_lets_nothing_past() -> None:
    jobs, watch = Jobs(), Watch()
    gate = threading.Event()
    first = watch.job(1, beside=True, gate=gate)
    whole, last = watch.job(2, beside=False, gate=open_gate()), watch.job(3, beside=True, gate=open_gate())
    for job in (first, whole, last):
        jobs.put(job)
    with workers(jobs, 3):
        with pytest.raises(TimeoutError):
            last.future.result(0.05)
        gate.set()
        assert last.future.result(TIMEOUT_S) == 3
    assert watch.begun == [1, 2, 3]


def test_the_end_refuses_what_waits_and_lets_what_runs_end() -> None:
    jobs, watch, gate = Jobs(), Watch(), threading.Event()
    running, waiting = watch.job(1, beside=True, gate=gate), watch.job(2, beside=False, gate=gate)
    began: Future[int] = running.future
    with workers(jobs, 2):
        jobs.put(running)
        jobs.put(waiting)
        assert watch.has_begun.wait(TIMEOUT_S)
        jobs.close()
        with pytest.raises(NotReadyError):
            waiting.future.result(TIMEOUT_S)
        late = watch.job(3, beside=True, gate=gate)
        jobs.put(late)
        with pytest.raises(NotReadyError):
            late.future.result(TIMEOUT_S)
        gate.set()
        assert began.result(TIMEOUT_S) == 1
    assert watch.begun == [1]


def test_a_job_that_fails_keeps_its_failure_and_frees_its_place() -> None:
    jobs = Jobs()

    def fail() -> int:
        raise MemoryError

    bad, good = Job(fail, beside=False), Job(lambda: 7, beside=False)
    jobs.put(bad)
    jobs.put(good)
    with workers(jobs, 2):
        assert good.future.result(TIMEOUT_S) == 7
    assert isinstance(bad.future.exception(), MemoryError)


def test_a_job_whose_caller_has_gone_is_not_done() -> None:
    jobs, watch = Jobs(), Watch()
    gone, next_one = (watch.job(number, beside=False, gate=open_gate()) for number in (1, 2))
    gone.future.cancel()
    jobs.put(gone)
    jobs.put(next_one)
    with workers(jobs, 1):
        assert next_one.future.result(TIMEOUT_S) == 2
    assert watch.begun == [2]
