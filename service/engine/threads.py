"""How many threads and replicas torch gets on a CPU: chosen by measuring, since nothing else tells.

Rules: more threads than cores, or cores that others use too, make a batch slower, and a container's
share of the CPU is not the number of cores that it sees. So a typical batch climbs from one
thread upwards for as long as that helps, and of counts that are about as fast the smallest is
taken: what is left over cuts texts and answers requests. Threads that share a batch wait for each other
many times a layer; replicas, which share the weights and nothing else, do not. So where there is a backlog,
as many batches side by side as give the most tokens a second.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The typical batch: short enough to be measured many times, long enough to be shared between threads.
TYPICAL_LENGTHS: Final = (32,) * 8
_NUM_REPEATS: Final = 3
# Counts within this share of the fastest are as fast: repeats differ by as much.
_AS_FAST: Final = 1.10
# A count so much slower than the fastest will not be beaten by a larger one.
_TOO_SLOW: Final = 1.25
# Numbers of replicas within this share of the fastest are as fast.
_AS_MUCH: Final = 0.95
_QUOTA_FILE: Final = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadChoice:
    """How many, and the median seconds of the typical batch by number of threads."""

    num_threads: int
    seconds: Mapping[int, float]


def choose_threads(measure: Callable[[int], float], most: int) -> ThreadChoice:
    """Climb from one thread to ``most``, doubling. ``measure``: seconds of a batch at so many threads."""
    seconds: dict[int, float] = {}
    for count in _ladder(most):
        measure(count)  # the first one starts the threads
        seconds[count] = median(measure(count) for _ in range(_NUM_REPEATS))
        if seconds[count] > _TOO_SLOW * min(seconds.values()):
            break
    fast_enough = _AS_FAST * min(seconds.values())
    chosen = min(count for count, taken in seconds.items() if taken <= fast_enough)
    return ThreadChoice(num_threads=chosen, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaChoice:
    """How many replicas, and the batches a second of all together by number of replicas."""

    num_replicas: int
    batches_per_s: Mapping[int, float]


def choose_replicas(measure: Callable[[int], float], num_cores: int) -> ReplicaChoice:
    """Compare one replica with more of them, up to one a core; of those as fast take the most.

    One of all threads loses most when other processes take a core, which the start may not have seen; and a
    request that comes alone gets all threads in any case.

    ``measure``: batches a second of so many replicas together, each with its part of the cores.
    """
    speeds = {count: measure(count) for count in _ladder(num_cores) if num_cores % count == 0}
    enough = _AS_MUCH * max(speeds.values())
    chosen = max(count for count, speed in speeds.items() if speed >= enough)
    return ReplicaChoice(num_replicas=chosen, batches_per_s=speeds)


def _ladder(most: int) -> tuple[int, ...]:
    return (*(2**power for power in range(most.bit_length()) if 2**power < most), most)


def usable_cores(*, quota_file: Path = _QUOTA_FILE) -> int:
    """Return how many cores this process may use: its affinity, and a container's quota rounded up."""
    # macOS and Windows have no affinity to ask for.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota(quota_file) or cores))


def _quota(file: Path) -> int | None:
    """Return the cores of a control group (version 2); None where there is no limit."""
    try:
        allowed, period = file.read_text(encoding="ascii").split()
        return None if allowed == "max" else math.ceil(int(allowed) / int(period))
    except (OSError, ValueError):
        return None
