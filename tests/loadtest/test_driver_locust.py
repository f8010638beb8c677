"""The locustfile under Locust's own command: headless with CSV, master and workers, web UI."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from loadtest.driver.launch import LOCUSTFILE
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import every, null_server, places_between_shards, write_arm, write_trace
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(240)

INVALID = "│ INVALID  "
FOREIGN_WORKER = Path(__file__).with_name("foreign_worker.py")


def locust_command(*options: str) -> list[str]:
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--loglevel", "INFO", *options]


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that a test starts; whatever is left of them is ended."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


def start(children: list[subprocess.Popen[str]], command: list[str]) -> subprocess.Popen[str]:
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    children.append(child)
    return child


def test_locusts_own_csv_shows_the_corrected_latency(tmp_path: Path) -> None:
    """One stall of 1 s: three quarters of the requests wait for it; none of them would in a closed loop."""
    trace = write_trace(tmp_path / "trace", every(0.02, 100))
    arm = write_arm(tmp_path / "arm.toml", xnli="v.xnli")
    with null_server(service_s=0.001, stall_at_s=0.5, stall_s=1.0, fault="busy", fault_every=10) as world:
        command = locust_command(
            *("--headless", "--only-summary", "--csv", str(tmp_path / "own"), "--host", world.url),
            *("--trace", str(trace), "--arm", str(arm), "--out", str(tmp_path / "out")),
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    # Where the machine lets the run be valid, the code is Locust's own answer to failed requests.
    assert done.returncode == (5 if INVALID in done.stdout else 1), done.stderr
    samples = read_samples(tmp_path / "out")
    assert samples.height == 100
    good = samples.filter(samples["error"].is_null())
    latency_ms = (good["done_us"] - good["intended_us"]).to_numpy() / 1e3
    with (tmp_path / "own_stats.csv").open(encoding="utf-8", newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["Name"] == "xnli"]
    assert (row["Type"], row["Request Count"], row["Failure Count"]) == ("predict", "100", "10")
    for p in (0.75, 0.95):  # Locust takes a neighbour, of all that were answered, and rounds to two digits
        least, most = np.quantile(latency_ms, [p - 0.025, min(1.0, p + 0.025)])
        rounding = 0.05 * most
        assert least - rounding <= float(row[f"{p:.0%}"]) <= most + rounding
    assert float(row["95%"]) > 500
    assert "100 of 100 arrivals" in done.stderr


def test_workers_elsewhere_share_one_start_and_send_their_samples(
    tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    """One of two workers has another boot and a clock 1,000 s ahead, and no folder in common."""
    times_us = every(0.02, 100)
    trace = write_trace(tmp_path / "trace", times_us)
    arm = write_arm(tmp_path / "arm.toml", xnli="v.xnli")
    port = str(free_port())
    to_master = ["--worker", "--master-host", "127.0.0.1", "--master-port", port, "--trace", str(trace)]
    with null_server() as world:
        master = start(
            children,
            locust_command(
                *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port),
                *("--headless", "--expect-workers", "2", "--host", world.url, "--only-summary"),
                *("--trace", str(trace), "--arm", str(arm), "--out", str(tmp_path / "out")),
            ),
        )
        start(children, locust_command(*to_master))
        start(children, [sys.executable, str(FOREIGN_WORKER), "-f", str(LOCUSTFILE), *to_master])
        said, _ = master.communicate(timeout=100)
        asked = world.asked()
    assert master.returncode == (5 if INVALID in said else 0), said
    assert sorted(asked) == sorted(f"text {i}" for i in range(100))
    samples = read_samples(tmp_path / "out")
    assert samples["error"].null_count() == 100
    lateness_us = (samples["sent_us"] - samples["intended_us"]).to_numpy()
    for shard in (0, 1):
        assert 0 <= lateness_us[shard::2].min() < 20_000
    assert abs(places_between_shards(asked)) < 5, "workers do not share one start to within 100 ms"
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    clocks = sorted((worker["clock"] for worker in record["workers"]), key=lambda clock: clock["offset_ns"])
    assert clocks[0] == {"offset_ns": 0, "error_ns": 0, "shared": True}
    assert not clocks[1]["shared"]
    assert clocks[1]["offset_ns"] == pytest.approx(1_000 * 10**9, abs=clocks[1]["error_ns"] + 1)
    assert 0 < clocks[1]["error_ns"] < 100_000_000


def test_a_run_that_keeps_nothing_ends_with_its_verdict(tmp_path: Path) -> None:
    """The target dies: Locust's statistics alone would call twenty quick answers a good run."""
    trace = write_trace(tmp_path / "trace", every(0.02, 60))
    arm = write_arm(tmp_path / "arm.toml", xnli="v.xnli")
    (tmp_path / "tmp").mkdir()
    with null_server(exit_after=20) as world:
        command = locust_command(
            *("--headless", "--only-summary", "--host", world.url, "--trace", str(trace), "--arm", str(arm))
        )
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        )
    assert done.returncode == 5, done.stderr
    assert INVALID in done.stdout
    reasons = " ".join(done.stdout.split())
    assert "not valid: The target no longer answered after the last request" in reasons
    assert "report:" not in done.stdout
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_killed_worker_of_plain_locust_is_an_invalid_run(
    tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    trace = write_trace(tmp_path / "trace", every(0.02, 250))
    arm = write_arm(tmp_path / "arm.toml", xnli="v.xnli")
    port = str(free_port())
    with null_server() as world:
        master = start(
            children,
            locust_command(
                *("--headless", "--only-summary", "--processes", "2", "--host", world.url),
                *("--master-bind-port", port, "--master-port", port),
                *("--trace", str(trace), "--arm", str(arm), "--out", str(tmp_path / "out")),
            ),
        )
        _eventually(lambda: sum(path.stat().st_size for path in tmp_path.glob("out/parts/*")) > 5_000)
        psutil.Process(master.pid).children()[0].send_signal(signal.SIGKILL)
        said, _ = master.communicate(timeout=100)
    assert master.returncode == 5, said
    assert INVALID in said
    assert "1 of 2 workers died" in " ".join(said.split())
    assert set(read_samples(tmp_path / "out")["error"].drop_nulls()) == {"worker lost"}


def test_metrics_are_served_until_they_are_read_once_more(
    tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    trace = write_trace(tmp_path / "trace", every(0.02, 100))
    arm = write_arm(tmp_path / "arm.toml", xnli="v.xnli")
    metrics = f"http://127.0.0.1:{(port := free_port())}/metrics"
    with null_server() as world:
        child = start(
            children,
            locust_command(
                *("--headless", "--only-summary", "--host", world.url, "--metrics-port", str(port)),
                *("--trace", str(trace), "--arm", str(arm)),
            ),
        )
        exported = ""

        def has_ended() -> bool:
            nonlocal exported
            if child.poll() is None:
                exported = _read(metrics).decode()
            return child.poll() is not None

        _eventually(has_ended)
        said, _ = child.communicate(timeout=60)
    assert "Waiting for a last scrape" in said
    assert 'xlmr_load_completed_total{outcome="ok"} 100.0\n' in exported
    (ended,) = (line for line in exported.splitlines() if line.startswith("xlmr_load_run_end_"))
    assert float(ended.split()[1]) > 0


def test_a_worker_with_another_trace_refuses(tmp_path: Path, children: list[subprocess.Popen[str]]) -> None:
    mine, yours = write_trace(tmp_path / "mine", [0, 1]), write_trace(tmp_path / "yours", [0, 2])
    arm = write_arm(tmp_path / "arm.toml", xnli="v.xnli")
    port = str(free_port())
    with null_server() as world:
        master = start(
            children,
            locust_command(
                *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--headless"),
                *("--expect-workers", "1", "--host", world.url, "--trace", str(mine), "--arm", str(arm)),
            ),
        )
        start(
            children,
            locust_command(
                *("--worker", "--master-host", "127.0.0.1", "--master-port", port, "--trace", str(yours))
            ),
        )
        said, _ = master.communicate(timeout=100)
        assert world.asked() == []
    assert master.returncode == 5
    assert "is another than the coordinator's; copy it there" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--trace DIR"),
        (("--trace", "TRACE"), "--host http://HOST:PORT --arm FILE"),
        (("--trace", "NONE", "--arm", "ARM", "--host", "http://127.0.0.1:1"), "NONE"),
        (
            ("--trace", "TRACE", "--arm", "ARM", "--host", "http://127.0.0.1:1", "--request-timeout", "nan"),
            "--request-timeout is nan s; give more than 0",
        ),
        (
            ("--trace", "TRACE", "--arm", "ARM", "--host", "http://127.0.0.1:1", "--ready-timeout", "0"),
            "not ready",
        ),
    ],
)
def test_what_is_missing_is_said_in_a_line(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    named = {
        "TRACE": str(write_trace(tmp_path / "trace", [0])),
        "ARM": str(write_arm(tmp_path / "arm.toml", xnli="v.xnli")),
    }
    command = locust_command("--headless", *(named.get(option, option) for option in options))
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_web_ui_starts_runs_and_a_stop_keeps_what_was_measured(
    tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    trace = write_trace(tmp_path / "trace", every(0.05, 400))
    arm = write_arm(tmp_path / "arm.toml", xnli="v.xnli")
    ui = f"http://127.0.0.1:{(port := free_port())}"
    metrics = f"http://127.0.0.1:{(metrics_port := free_port())}/metrics"
    with null_server() as world:
        child = start(
            children,
            locust_command(
                *("--web-host", "127.0.0.1", "--web-port", str(port), "--host", world.url),
                *("--metrics-port", str(metrics_port)),
                *("--trace", str(trace), "--arm", str(arm), "--out", str(tmp_path / "out")),
            ),
        )
        _eventually(lambda: _read(f"{ui}/"))
        form = urllib.parse.urlencode({"user_count": 1, "spawn_rate": 1, "host": world.url}).encode()
        assert json.loads(_read(f"{ui}/swarm", form))["success"]
        _eventually(lambda: json.loads(_read(f"{ui}/stats/requests"))["stats"][0]["num_requests"] > 10)
        shown = json.loads(_read(f"{ui}/stats/requests"))["stats"][0]
        assert (shown["method"], shown["name"]) == ("predict", "xnli")
        assert json.loads(_read(f"{ui}/stop", b""))["success"]
        _eventually((tmp_path / "out" / "run.json").is_file)
        assert json.loads(_read(f"{ui}/swarm", form))["success"]
        _eventually(lambda: sum(path.stat().st_size for path in tmp_path.glob("out-2/parts/*")) > 0)
        assert json.loads(_read(f"{ui}/stop", b""))["success"]
        _eventually((tmp_path / "out-2" / "run.json").is_file)
        second = read_samples(tmp_path / "out-2")
        answered = second.filter(second["error"].is_null()).height
        total = f'xlmr_load_completed_total{{outcome="ok"}} {answered:.1f}\n'
        _eventually(lambda: total in _read(metrics).decode())
        exported = _read(metrics).decode()
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
    assert second.height == 400
    samples = read_samples(tmp_path / "out")
    assert samples.height == 400
    assert 10 < samples.filter(samples["error"].is_null()).height < 400
    assert samples.filter(samples["error"] == "not sent").height > 100
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert record["outcome"]["status"] == "interrupted"
    assert (
        f'xlmr_load_run_info{{arm="arm-a",run="out-2",target="{world.url}",trace="hand-made"}} 1.0'
        in exported
    )


def _read(url: str, form: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, form, timeout=60) as reply:  # noqa: S310 - the test's own process
        body: bytes = reply.read()
        return body


def _eventually(check: object, timeout_s: float = 60.0) -> None:
    """Ask until ``check`` is true; what it asks is another process."""
    assert callable(check)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if check():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "it did not come true in time"
        os.sched_yield()
        time.sleep(0.1)
