"""Readings of the host and of the process, against a /proc/stat written by hand."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from loadtest.driver.buckets import three_digits
from loadtest.driver.gauges import Heartbeat, Reading, Strain, between, read, worst

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.alone


def proc_folder(path: Path, steal: int, idle: int, waited_ns: int = 0) -> Path:
    cores = "".join(
        f"cpu{core} 100 0 50 {idle} 0 0 0 {steal} 7 7\n" for core in sorted(os.sched_getaffinity(0))
    )
    # Cores that this process may not use lose far more, and the line over all cores counts them.
    others = f"cpu9999 0 0 0 0 0 0 0 {1000 * steal} 0 0\nintr 1\n"
    (path / "stat").write_text(f"cpu  9 9 9 9 9 9 9 {2000 * steal} 9 9\n{cores}{others}", encoding="ascii")
    (path / "self").mkdir(exist_ok=True)
    (path / "self" / "schedstat").write_text(f"5 {waited_ns} 3\n", encoding="ascii")
    return path


def test_steal_is_the_share_of_the_cores_in_use(tmp_path: Path) -> None:
    first = read(proc_folder(tmp_path, steal=10, idle=1000))
    last = read(proc_folder(tmp_path, steal=15, idle=1095))
    assert between(first, last).steal_ratio == pytest.approx(5 / 100)


def test_a_host_that_tells_no_steal(tmp_path: Path) -> None:
    first = read(tmp_path / "none")
    assert (first.steal_ticks, first.waited_ns) == (None, None)
    strain = between(first, read(tmp_path / "none"))
    assert (strain.steal_ratio, strain.wait_ratio) == (None, None)


def test_ratios_are_of_the_time_between() -> None:
    silent: dict[str, Any] = {"steal_ticks": None, "all_ticks": None}
    first = Reading(monotonic_ns=0, wall_ns=5_000, cpu_ns=0, waited_ns=7, **silent)
    last = Reading(
        monotonic_ns=2_000_000_000, wall_ns=2_002_005_000, cpu_ns=500_000_000, waited_ns=200_000_007, **silent
    )
    strain = between(first, last)
    assert strain.elapsed_s == 2.0
    assert strain.cpu_ratio == 0.25
    assert strain.wait_ratio == 0.1
    assert strain.clock_drift_ratio == pytest.approx(0.001)


def test_waiting_does_not_dilute_what_sending_cost() -> None:
    busy = Strain(elapsed_s=5.0, cpu_ratio=0.9, wait_ratio=0.2, steal_ratio=0.03, clock_drift_ratio=-0.002)
    whole = Strain(elapsed_s=65.0, cpu_ratio=0.1, wait_ratio=0.01, steal_ratio=0.002, clock_drift_ratio=1e-5)
    assert worst(busy, whole) == Strain(
        elapsed_s=65.0, cpu_ratio=0.9, wait_ratio=0.2, steal_ratio=0.03, clock_drift_ratio=-0.002
    )
    calm = Strain(elapsed_s=5.0, cpu_ratio=0.1, wait_ratio=None, steal_ratio=None, clock_drift_ratio=0.0)
    assert worst(calm, whole) == whole


def test_the_heartbeat_sees_a_blocked_hub() -> None:
    heartbeat = Heartbeat()
    heartbeat.start()
    gevent.sleep(0.05)
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        pass  # what a long json.loads would do to the hub
    gevent.sleep(0.05)
    heartbeat.mark()
    gevent.sleep(0.1)
    delays_us = heartbeat.stop()
    assert max(delays_us[: heartbeat.num_busy]) > 150_000
    assert 0 < heartbeat.num_busy < len(delays_us)
    assert max(delays_us) > 150_000
    assert heartbeat.stop() == delays_us


@pytest.mark.parametrize(
    ("ms", "kept"),
    [(0.1234, 0.12), (1.2345, 1.23), (12.345, 12.3), (123.45, 123), (1234.5, 1230), (98765, 98800)],
)
def test_live_statistics_keep_three_digits(ms: float, kept: float) -> None:
    assert three_digits(ms) == kept
