"""What the generator does to its own measurement: late hub, busy core, stolen time, bent clock.

A busy hub delays sends and inflates service time alike, so a heartbeat on the same hub
measures it. The other readings are differences between two instants of one process.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import gevent

_NS_PER_US = 1_000
_NS_PER_S = 1_000_000_000
_BEAT_NS = 20_000_000  # 50 beats a second see a 20 ms block and cost about 0.2 % of a core
_STEAL_FIELD = 8  # proc(5), /proc/stat: user nice system idle iowait irq softirq steal


class Heartbeat:
    """A greenlet that wants to run every 20 ms and notes how late it was."""

    def __init__(self) -> None:
        self._delays_us: list[int] = []
        self._num_busy: int | None = None
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to beat."""
        self._greenlet = gevent.spawn(self._beat)

    def mark(self) -> None:
        """Say that all has been sent: what beats from now on is no longer held up by sending."""
        self._num_busy = len(self._delays_us)

    @property
    def num_busy(self) -> int:
        """How many of the beats came while requests were sent."""
        return len(self._delays_us) if self._num_busy is None else self._num_busy

    def stop(self) -> list[int]:
        """Stop, and return the delays, in microseconds, one a beat."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None
        return self._delays_us

    def _beat(self) -> None:
        due_ns = time.monotonic_ns() + _BEAT_NS
        while True:
            gevent.sleep(max(0, due_ns - time.monotonic_ns()) / _NS_PER_S)
            now_ns = time.monotonic_ns()
            self._delays_us.append(max(0, now_ns - due_ns) // _NS_PER_US)
            due_ns = max(due_ns + _BEAT_NS, now_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Counters of this process and host at one instant; None where the host tells none.

    ``waited_ns``: how long the main thread was ready to run and given no core.
    """

    monotonic_ns: int
    wall_ns: int
    cpu_ns: int
    waited_ns: int | None
    steal_ticks: int | None
    all_ticks: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Strain:
    """What two readings say of the time between them.

    ``cpu_ratio``: of one core, used by this process. ``wait_ratio``: of the time, spent waiting for a
    core that other processes held. ``steal_ratio``: of the time of the cores that it may use, taken by
    the hypervisor. ``clock_drift_ratio``: wall time gained on monotonic time.
    """

    elapsed_s: float
    cpu_ratio: float
    wait_ratio: float | None
    steal_ratio: float | None
    clock_drift_ratio: float


def read(proc: Path = Path("/proc")) -> Reading:
    """Read the counters of now."""
    steal, ticks = _ticks(proc / "stat")
    return Reading(
        monotonic_ns=time.monotonic_ns(),
        wall_ns=time.time_ns(),
        cpu_ns=time.process_time_ns(),
        waited_ns=_waited_ns(proc / "self" / "schedstat"),
        steal_ticks=steal,
        all_ticks=ticks,
    )


def between(first: Reading, last: Reading) -> Strain:
    """Return what happened between two readings of one process."""
    elapsed_ns = max(1, last.monotonic_ns - first.monotonic_ns)
    steal_ratio = None
    if first.steal_ticks is not None and last.steal_ticks is not None:
        ticks = (last.all_ticks or 0) - (first.all_ticks or 0)
        steal_ratio = (last.steal_ticks - first.steal_ticks) / ticks if ticks > 0 else 0.0
    return Strain(
        elapsed_s=elapsed_ns / _NS_PER_S,
        cpu_ratio=(last.cpu_ns - first.cpu_ns) / elapsed_ns,
        wait_ratio=None
        if first.waited_ns is None or last.waited_ns is None
        else (last.waited_ns - first.waited_ns) / elapsed_ns,
        steal_ratio=steal_ratio,
        clock_drift_ratio=(last.wall_ns - first.wall_ns) / elapsed_ns - 1.0,
    )


def worst(busy: Strain, whole: Strain) -> Strain:
    """Return the strain of a whole run, its loads not diluted by the wait for the last answers.

    ``busy``: the strain while requests were sent. A request that hangs keeps a run waiting for its timeout,
    which is idle time; the checks are about the time in which requests were sent and timed.
    """
    return replace(
        whole,
        cpu_ratio=max(busy.cpu_ratio, whole.cpu_ratio),
        wait_ratio=_larger(busy.wait_ratio, whole.wait_ratio),
        steal_ratio=_larger(busy.steal_ratio, whole.steal_ratio),
        clock_drift_ratio=max(busy.clock_drift_ratio, whole.clock_drift_ratio, key=abs),
    )


def _larger(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _waited_ns(schedstat: Path) -> int | None:
    """Read the second field of proc(5)'s schedstat: nanoseconds on a run queue."""
    try:
        return int(schedstat.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _ticks(stat: Path) -> tuple[int | None, int | None]:
    """Return stolen and all ticks of the cores that this process may use; guest time is part of user time."""
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
    except OSError:
        return None, None
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    rows = [fields for fields in (line.split() for line in lines) if fields and fields[0] in names]
    if not rows or any(len(fields) <= _STEAL_FIELD for fields in rows):
        return None, None
    return (
        sum(int(fields[_STEAL_FIELD]) for fields in rows),
        sum(sum(map(int, fields[1 : _STEAL_FIELD + 1])) for fields in rows),
    )
