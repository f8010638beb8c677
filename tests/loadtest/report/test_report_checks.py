"""What a run says of its own validity, from its samples and its record: each fault one failed check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from loadtest.report.run_checks import _percentile, check_run
from loadtest.report.run_files import read_run
from loadtest.trace.samples import read_samples, write_samples
from tests.loadtest.report.made_up_run import build_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

GOOD_GAUGES: dict[str, Any] = {
    "num_workers": 2,
    "num_workers_lost": 0,
    "generator_cpu_ratio": 0.2,
    "steal_ratio": 0.0,
    "hub_delay_p99_s": 0.002,
    "clock_drift_ratio": 1e-6,
    "changed_weights": [],
    "target_answers": True,
}


def failed(run_dir: Path) -> list[str]:
    """Return the names of the checks that a run fails."""
    return [check.name for check in check_run(read_run(run_dir)) if check.passed is False]


def one_of_fifty_late(instants_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """One request of fifty is 50 ms late."""
    return instants_us + np.where(np.arange(instants_us.size) % 50 == 0, 50_000, 0)


def slow_by_two_per_cent(instants_us: NDArray[np.int64]) -> NDArray[np.int64]:
    return (instants_us * 1.02).astype(np.int64)


def released_every_tenth(instants_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """All that is due in 100 ms goes out at its end, as "spawn rate = arrival rate" recipes do."""
    return (instants_us // 100_000 + 1) * 100_000


@pytest.mark.parametrize(
    ("send", "names"),
    [
        (lambda instants_us: instants_us + 300, []),
        (one_of_fifty_late, ["lateness"]),
        (slow_by_two_per_cent, ["lateness", "offered rate"]),
        (released_every_tenth, ["lateness", "law of arrivals"]),
    ],
)
def test_what_was_sent_is_checked_and_not_what_was_meant(
    tmp_path: Path, send: Callable[[NDArray[np.int64]], NDArray[np.int64]], names: list[str]
) -> None:
    run_dir = build_run(tmp_path, error_ratio=0.0, censored_ratio=0.0, info={"gauges": GOOD_GAUGES})
    samples = read_samples(run_dir)
    sent_us = pl.Series("sent_us", send(samples["intended_us"].to_numpy()))
    write_samples(run_dir, samples.with_columns(sent_us, done_us=sent_us + 2_000))
    assert failed(run_dir) == names


@pytest.mark.parametrize(
    ("gauge", "value", "name"),
    [
        ("num_workers_lost", 1, "workers"),
        ("generator_cpu_ratio", 0.81, "generator's core"),
        ("steal_ratio", 0.011, "steal"),
        ("hub_delay_p99_s", 0.021, "heartbeat"),
        ("clock_drift_ratio", 0.0011, "clocks"),
        ("clock_drift_ratio", -0.0011, "clocks"),
        ("changed_weights", ["v"], "weights"),
        ("target_answers", False, "target"),
    ],
)
def test_each_gauge_of_the_record_is_held_against_its_bound(
    tmp_path: Path, gauge: str, value: object, name: str
) -> None:
    run_dir = build_run(tmp_path, num=40, error_ratio=0.0, info={"gauges": GOOD_GAUGES | {gauge: value}})
    assert failed(run_dir) == [name]


@pytest.mark.parametrize(
    ("num", "late", "expected"),
    [
        (200, [0.09], 0.001),  # one of 201 is late: 99 % were not
        (97, [0.09], 0.09),  # one of 98 is more than a hundredth
        (300, [0.05, 0.06, 0.07, 0.08], 0.05),  # ceil(0.99 * 304) = 301: the first of the late ones
        (0, [0.002], 0.002),
    ],
)
def test_ninety_nine_of_a_hundred_were_at_most_so_late(num: int, late: list[float], expected: float) -> None:
    assert _percentile(pl.Series([0.001] * num + late), 0.99) == expected


def test_a_run_without_requests_was_not_late() -> None:
    assert _percentile(pl.Series([], dtype=pl.Float64), 0.99) is None
