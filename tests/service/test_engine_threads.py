"""How many threads: against devices whose speed is a formula."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from service.engine.threads import choose_replicas, choose_threads, usable_cores

if TYPE_CHECKING:
    from pathlib import Path


class Machine:
    """Takes ``(serial + parallel / n) * (crowd if n is past the free cores)`` seconds."""

    def __init__(self, *, serial: float, free_cores: int, crowd: float = 4.0) -> None:
        self.asked: list[int] = []
        self._serial = serial
        self._free_cores = free_cores
        self._crowd = crowd

    def seconds(self, num_threads: int) -> float:
        self.asked.append(num_threads)
        taken = self._serial + (1 - self._serial) / num_threads
        return taken * (self._crowd if num_threads > self._free_cores else 1.0)


@pytest.mark.parametrize(
    ("serial", "free_cores", "most", "chosen"),
    [
        (0.0, 64, 16, 16),  # perfect sharing: all that there are
        (0.0, 1, 2, 1),  # the second core is somebody else's
        (0.0, 4, 64, 4),  # a container that sees more cores than it has
        (0.95, 64, 16, 1),  # nothing to share: within ten per cent of the fastest
        (0.0, 64, 1, 1),
        (0.0, 64, 6, 6),  # not a power of two
    ],
)
def test_the_fewest_of_the_fastest(serial: float, free_cores: int, most: int, chosen: int) -> None:
    machine = Machine(serial=serial, free_cores=free_cores)
    assert choose_threads(machine.seconds, most).num_threads == chosen


def test_the_climb_ends_where_it_gets_slower() -> None:
    machine = Machine(serial=0.0, free_cores=2)
    choice = choose_threads(machine.seconds, 64)
    assert sorted(choice.seconds) == [1, 2, 4]
    assert max(machine.asked) == 4
    assert choice.seconds[2] == 0.5


def test_one_repeat_that_was_disturbed_does_not_decide() -> None:
    machine = Machine(serial=0.0, free_cores=2)
    disturbed = iter([1.0, 1.0, 50.0])

    def seconds(num_threads: int) -> float:
        return machine.seconds(num_threads) * (next(disturbed, 1.0) if num_threads == 2 else 1.0)

    assert choose_threads(seconds, 2).num_threads == 2


@pytest.mark.parametrize(
    ("content", "least"),
    [("150000 100000\n", 1), ("100000 100000\n", 1), ("max 100000\n", None), ("?", None)],
)
def test_a_containers_quota_is_kept(content: str, least: int | None, tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    everything = usable_cores(quota_file=tmp_path / "absent")
    assert everything >= 1
    file.write_text(content, encoding="ascii")
    allowed = usable_cores(quota_file=file)
    assert allowed == everything if least is None else least <= allowed <= max(least, min(2, everything))


@pytest.mark.parametrize(
    ("speeds", "cores", "chosen"),
    [
        ({1: 10.0, 2: 13.0}, 2, 2),
        ({1: 10.0, 2: 9.6}, 2, 2),  # as fast, and better beside other load
        ({1: 10.0, 2: 9.0}, 2, 1),
        ({1: 10.0, 2: 12.0, 4: 15.0, 8: 14.0}, 8, 4),
        ({1: 10.0, 2: 12.0, 6: 15.0}, 6, 6),  # four replicas would not share six cores
        ({1: 10.0}, 1, 1),
    ],
)
def test_as_many_replicas_as_give_the_most_batches(speeds: dict[int, float], cores: int, chosen: int) -> None:
    choice = choose_replicas(lambda count: speeds[count], cores)
    assert choice.num_replicas == chosen
    assert choice.batches_per_s == speeds


@pytest.mark.parametrize("http_workers", ["1", "2"])
def test_torch_s_threads_go_to_sleep_soon(http_workers: str, project_root: Path, tmp_path: Path) -> None:
    """Where another process wants the cores too, threads that spin make a batch many times slower."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")  # refused, once torch is loaded to read it
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text('[[variant]]\nname = "v"\nhead = "embed"\ncheckpoint = "."\n', encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XLMR_", "GOMP_"))}
    command = [sys.executable, "-m", "service", "--catalogue", str(catalogue), "--port", "0"]
    ended = subprocess.run(
        [*command, "--http-workers", http_workers],
        env=kept | {"OMP_DISPLAY_ENV": "verbose"},
        cwd=project_root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 2
    assert "model_type" in ended.stderr
    if "GOMP_STACKSIZE" not in ended.stderr:
        pytest.skip("torch was built with another OpenMP than GNU's")
    assert "GOMP_SPINCOUNT = '1000'" in ended.stderr
