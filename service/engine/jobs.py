"""What waits for the engine's threads: jobs that begin in order, alone or side by side.

Rules: jobs begin in the order in which they came; one that needs the whole device begins when no
other runs, and nothing begins beside it; every job's future is resolved once, also when the
engine stops.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from service.errors import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable

_STOPPED = "The engine has stopped; the service is ending. Try again elsewhere, or later."

T = TypeVar("T")


class Job(Generic[T]):
    """Something to do on one of the engine's threads, and where its result goes."""

    def __init__(self, work: Callable[[], T], *, beside: bool) -> None:
        """``beside``: whether others may run at the same time."""
        self.future: Future[T] = Future()
        self.beside = beside
        self._work = work

    def do(self, *, stopping: bool) -> None:
        """Do it, unless nobody waits any more or the engine is stopping."""
        if not self.future.set_running_or_notify_cancel():
            return
        if stopping:
            self.future.set_exception(NotReadyError(_STOPPED))
            return
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to whoever waits
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Jobs:
    """The queue between those who ask and the engine's threads; every method may be called in any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Job[Any]] = deque()
        self._num_running = 0
        self._runs_alone = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the engine is stopping."""
        return self._closed

    def put(self, job: Job[Any]) -> None:
        """Add a job; after the end it is refused at once."""
        with self._changed:
            if not self._closed:
                self._waiting.append(job)
                self._changed.notify()
                return
        job.do(stopping=True)

    def close(self) -> None:
        """Let nothing more begin; jobs that wait are refused, those that run end by themselves."""
        with self._changed:
            refused, self._waiting = self._waiting, deque()
            self._closed = True
            self._changed.notify_all()
        for job in refused:
            job.do(stopping=True)

    def run_next(self) -> bool:
        """Wait for the next job and do it; False once there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._may_begin())
            if self._closed:
                return False
            job = self._waiting.popleft()
            self._num_running += 1
            self._runs_alone = not job.beside
            self._changed.notify()  # the one behind it may begin too
        try:
            job.do(stopping=False)
        finally:
            with self._changed:
                self._num_running -= 1
                self._runs_alone = False
                self._changed.notify()
        return True

    def _may_begin(self) -> bool:
        if not self._waiting or self._runs_alone:
            return False
        return self._waiting[0].beside or not self._num_running
