"""Targets that fail while a run is made: every arrival keeps a row that says so, and the run is not valid."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import polars as pl
import pytest

from loadtest.driver.run import RunOptions, Silence, run
from loadtest.report.run_checks import check_run
from loadtest.report.run_files import read_run
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import (
    CARD,
    NULL_SERVER,
    every,
    null_server,
    write_arm,
    write_trace,
)

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.driver.finish import RunResult
    from loadtest.driver.progress import Progress
    from tests.loadtest.driver_world import World

pytestmark = pytest.mark.timeout(240)


def go(
    world: World, folder: Path, count: int, show: Silence | None = None, **options: Any
) -> tuple[RunResult, pl.DataFrame, dict[str, bool | None]]:
    """Send 50 requests a second; return the result, the samples, and which checks passed."""
    given = RunOptions(
        trace=write_trace(folder / "trace", every(0.02, count)),
        target=world.url,
        arm=write_arm(folder / "arm.toml", xnli="v.xnli"),
        out=folder / "out",
        **options,
    )
    result = run(given, show)
    checks = check_run(read_run(given.out))
    return result, read_samples(given.out), {one.name: one.passed for one in checks}


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        ("garbage", "bad answer: not json", 200),
        ("other_shape", "bad answer: not one output", 200),
        ("no_http", "not http", None),
        ("close", "connection closed", None),
        ("cut", "connection closed", None),
    ],
)
def test_what_is_no_answer_makes_a_run_invalid(
    tmp_path: Path, fault: str, error: str, status: int | None
) -> None:
    """Three of thirty: far more than the hundredth that a run may lose."""
    with null_server(fault=fault, fault_every=10) as world:
        _, samples, passed = go(world, tmp_path, 30)
    assert samples.height == 30
    failed = samples.filter(pl.col("error").is_not_null())
    assert failed.select("error", "status", "censored", "answer").unique().rows() == [
        (error, status, False, None)
    ]
    assert failed.height == 3
    assert passed["answers"] is False
    assert passed["target"] is True
    assert passed["samples"] is True


def test_refusals_for_load_are_the_services_own_word(tmp_path: Path) -> None:
    with null_server(fault="busy", fault_every=3) as world:
        _, samples, passed = go(world, tmp_path, 30)
    assert samples.filter(pl.col("error") == "http 429").height == 10
    assert passed["answers"] is True


def test_a_target_that_dies_makes_a_run_invalid(tmp_path: Path) -> None:
    with null_server(exit_after=20) as world:
        result, samples, passed = go(world, tmp_path, 60)
    assert samples.height == 60
    assert samples.filter(pl.col("error").is_null()).height == 20
    rest = samples.filter(pl.col("error").is_not_null())
    assert set(rest["error"]) <= {"connection refused", "connection reset", "connection closed"}
    assert not rest["censored"].any()
    assert passed["target"] is False
    assert passed["answers"] is False
    assert "cannot be read: nobody accepts connections there" in result.message


class Restart(Silence):
    """Ends the target after some answers, and starts another on its port with other weights."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.next: subprocess.Popen[bytes] | None = None

    def measuring(self, progress: Progress) -> None:
        if progress.num_done < 20 or self.next is not None:
            return
        self._world.process.kill()
        self._world.process.wait()
        options = json.dumps({"variants": [{**CARD, "digest": "d2"}]})
        port = str(urlsplit(self._world.url).port)
        self.next = subprocess.Popen(
            [sys.executable, str(NULL_SERVER), options, port], stdout=subprocess.PIPE
        )
        assert self.next.stdout is not None
        assert self.next.stdout.readline().strip() == port.encode()


def test_a_target_that_comes_back_with_other_weights_makes_a_run_invalid(tmp_path: Path) -> None:
    with null_server() as world:
        restart = Restart(world)
        try:
            _, samples, passed = go(world, tmp_path, 300, show=restart)
        finally:
            assert restart.next is not None
            restart.next.kill()
            restart.next.communicate()
    assert samples.height == 300
    assert samples["error"].null_count() > 40
    assert samples.row(-1, named=True)["error"] is None, "the new target answers"
    assert passed["weights"] is False
    assert passed["target"] is True


def test_a_full_disk_is_told_and_loses_only_what_it_did_not_take(tmp_path: Path) -> None:
    """The shell's limit on the size of a file stands for the disk: a megabyte, and more answers than that."""
    trace = write_trace(tmp_path / "trace", every(0.02, 120))
    arm = write_arm(tmp_path / "arm.toml", xnli="v.xnli")
    wide = {"label": "neutral", "scores": {"x" * 15_000: 1.0}}
    with null_server(outputs={"v.xnli": wide}) as world:
        command = [sys.executable, "-m", "loadtest", "run", "--trace", str(trace), "--target", world.url]
        command += ["--arm", str(arm), "--out", str(tmp_path / "out")]
        done = subprocess.run(
            ["bash", "-c", 'ulimit -f 1024; exec "$@"', "bash", *command],  # noqa: S607 - the system's shell
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 5, done.stderr
    assert "Samples could not be written (File too large)." in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    samples = read_samples(tmp_path / "out")
    assert samples.height == 120
    kept = samples.filter(pl.col("error").is_null())
    assert 30 < kept.height < 120
    assert kept["answer"].null_count() == 0


def test_headers_of_text_embeddings_inference_split_a_request_too(tmp_path: Path) -> None:
    """Whole milliseconds, and no decoding: what they leave open is the network's or the server's rest."""
    with null_server(service_s=0.02, tei=True) as world:
        _, samples, passed = go(world, tmp_path, 20)
    assert samples["infer_ms"].unique().to_list() == [20.0]
    assert samples["decode_ms"].null_count() == 20
    assert samples["tokens"].unique().to_list() == [7]
    stages_ms = samples["tokenize_ms"] + samples["queue_ms"] + samples["infer_ms"]
    assert (stages_ms - samples["total_ms"]).abs().max() <= 1  # type: ignore[operator]  # a number here
    service_ms = (samples["done_us"] - samples["sent_us"]) / 1e3
    assert (service_ms - samples["total_ms"]).min() > -0.51  # type: ignore[operator]  # rounded to whole ones
    assert passed["answers"] is True
