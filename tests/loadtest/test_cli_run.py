"""`xlmr-load run`: exit codes, one line for each mistake, and what Ctrl-C leaves behind."""

from __future__ import annotations

import importlib
import json
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import psutil  # type: ignore[import-untyped]  # ships no types
import pytest
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.driver.errors import EngineError
from loadtest.driver.finish import RunResult
from loadtest.driver.outcome import Status
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import every, null_server, write_arm, write_trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.alone


@pytest.fixture
def words(tmp_path: Path) -> Callable[..., list[str]]:
    """Return the words of a command that would run, but for the changes given."""
    given = {
        "trace": str(write_trace(tmp_path / "trace", every(0.02, 40))),
        "target": "http://127.0.0.1:1",
        "arm": str(write_arm(tmp_path / "arm.toml", xnli="v.xnli")),
        "out": str(tmp_path / "out"),
        "ready-timeout": "0",
    }

    def build(**changes: str) -> list[str]:
        named = given | {name.replace("_", "-"): value for name, value in changes.items()}
        return ["run", *(word for name, value in named.items() for word in (f"--{name}", value))]

    return build


def refused(arguments: list[str]) -> str:
    """Run a command that must end with a usage error, and return what it said."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert not done.exception or isinstance(done.exception, SystemExit)
    return " ".join(done.stderr.split())


def test_a_target_that_refuses_connections(words: Callable[..., list[str]], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    said = refused(words(target=f"http://127.0.0.1:{port}"))
    assert f"http://127.0.0.1:{port} is not ready after 0 s: nobody accepts connections there" in said
    assert not (tmp_path / "out").exists()


def test_a_target_that_is_no_url(words: Callable[..., list[str]]) -> None:
    assert "is no http or https URL" in refused(words(target="ftp://x"))


def test_a_trace_that_is_not_there(words: Callable[..., list[str]], tmp_path: Path) -> None:
    assert "none" in refused(words(trace=str(tmp_path / "none")))


@pytest.mark.parametrize("name", ["items.jsonl", "gold.jsonl", "schedule.jsonl"])
def test_a_trace_cut_in_half(words: Callable[..., list[str]], tmp_path: Path, name: str) -> None:
    path = tmp_path / "trace" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "build the trace again" in refused(words())


def test_an_arm_that_is_none(words: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "arm.toml").write_text("name = 3", encoding="utf-8")
    assert "an arm needs a name" in refused(words())


def test_an_arm_with_an_unknown_variant(words: Callable[..., list[str]], tmp_path: Path) -> None:
    write_arm(tmp_path / "arm.toml", xnli="v.other")
    with null_server() as world:
        said = refused(words(target=world.url))
    assert "sends xnli to 'v.other'; the target serves v.xnli" in said


def test_a_folder_that_holds_a_run(words: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{}", encoding="utf-8")
    assert "holds a run already (run.json)" in refused(words())


def test_an_objective_that_cannot_be_read(words: Callable[..., list[str]]) -> None:
    assert "p95" in refused(words(slo="quick enough"))


@pytest.mark.parametrize(
    ("slo", "says"),
    [
        ("latency{task=xnly} p50<1s", "no request of this trace has the task 'xnly'; there is xnli."),
        ("latency{language=en} p50<1s", "has the language 'en'; there is sw."),
        ("goodput>=5/s", "name it beside it"),
    ],
)
def test_an_objective_that_could_never_be_told(
    words: Callable[..., list[str]], tmp_path: Path, slo: str, says: str
) -> None:
    assert says in refused(words(slo=slo))
    assert not (tmp_path / "out").exists()


COMMAND = importlib.import_module("loadtest.cli.run")  # the package exports the function under that name


@dataclass(frozen=True, kw_only=True)
class Verdict:
    met: bool | None
    objective: str = "p95<1ms"
    sentence: str = "It says so."


@dataclass(frozen=True, kw_only=True)
class Summed:
    valid: bool = True
    reasons: tuple[str, ...] = ()
    objectives: tuple[Verdict, ...] = ()
    by_arm: tuple[str, ...] = ("arm-a",)


@pytest.mark.parametrize(
    ("summary", "stopped", "strict", "code"),
    [
        (Summed(), False, True, 0),
        (Summed(objectives=(Verdict(met=True), Verdict(met=None))), False, False, 0),
        (Summed(objectives=(Verdict(met=True), Verdict(met=None))), False, True, 6),
        (Summed(objectives=(Verdict(met=None), Verdict(met=False))), False, True, 3),
        (Summed(valid=False, reasons=("late",), objectives=(Verdict(met=False),)), False, True, 5),
        (Summed(valid=False, reasons=("cut",)), True, True, 130),
    ],
)
def test_exit_codes_of_a_run_that_was_made(
    words: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    summary: Summed,
    stopped: bool,  # noqa: FBT001 - a case of the table
    strict: bool,  # noqa: FBT001 - a case of the table
    code: int,
) -> None:
    result = RunResult(
        run_dir=tmp_path,
        status=Status.COMPLETE,
        message="",
        num_scheduled=1,
        num_recorded=1,
        num_workers_lost=0,
        stopped_by_user=stopped,
    )
    monkeypatch.setattr(COMMAND, "replay", lambda *_: result)
    monkeypatch.setattr(COMMAND, "make_report", lambda folder: folder / "report.html")
    monkeypatch.setattr(COMMAND, "read_summary", lambda _: summary)
    done = CliRunner().invoke(app, [*words(), *(["--strict"] if strict else [])])
    assert done.exit_code == code
    assert all(reason in done.stderr for reason in summary.reasons)


def test_a_generator_that_does_not_start_is_an_invalid_run(
    words: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise EngineError("Locust ended before it sent anything.")

    monkeypatch.setattr(COMMAND, "replay", fail)
    done = CliRunner().invoke(app, words())
    assert done.exit_code == 5
    assert "before it sent anything" in done.stderr


def command_line(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "loadtest", *arguments]


def test_a_run_ends_as_its_summary_says(words: Callable[..., list[str]], tmp_path: Path) -> None:
    """On a busy machine a run may be invalid; the exit code, the summary and the words agree in any case."""
    with null_server() as world:
        done = subprocess.run(
            command_line(
                words(
                    target=world.url,
                    slo="p50<30s; p95<30s",
                    markdown=str(tmp_path / "ci.md"),
                    junit=str(tmp_path / "ci.xml"),
                )
            ),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert done.returncode == (0 if summary["valid"] else 5), done.stderr
    assert summary["objectives"][0]["met"] is True
    assert ("invalid:" in done.stderr) == (not summary["valid"])
    assert "40 of 40 arrivals recorded" in done.stderr
    assert done.stdout == ""
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert "--slo" in record["command"]
    assert "note: p95<30s will not be told: a p95 takes 200 requests, and 40 of this kind" in done.stderr
    assert "p95<30s cannot be told: 40 answers are too few, a p95 takes 200." in done.stderr
    assert "`p50<30s` | ✅ met" in (tmp_path / "ci.md").read_text(encoding="utf-8")
    assert '<testcase classname="objectives" name="p50&lt;30s"' in (tmp_path / "ci.xml").read_text("utf-8")


def _started(words: list[str], out: Path) -> subprocess.Popen[str]:
    """Start a run, and return once answers are written down."""
    child = subprocess.Popen(command_line(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size for path in out.glob("parts/*.spool")) < 5_000:
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return child


def test_ctrl_c_keeps_what_was_measured(words: Callable[..., list[str]], tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "long", every(0.02, 1_000))
    with null_server() as world:
        child = _started(words(target=world.url, trace=str(trace)), tmp_path / "out")
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    samples = read_samples(tmp_path / "out")
    assert samples.height == 1_000
    answered = samples.filter(pl.col("error").is_null())
    assert 10 < answered.height < 1_000
    rest = samples.filter(pl.col("error").is_not_null())
    assert set(rest["error"]) <= {"not sent", "interrupted"}
    assert rest["censored"].all()
    assert not json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["valid"]
    assert "stopped before its end" in said


def test_a_killed_worker_leaves_censored_rows_and_an_invalid_run(
    words: Callable[..., list[str]], tmp_path: Path
) -> None:
    trace = write_trace(tmp_path / "long", every(0.02, 250))
    with null_server() as world:
        child = _started(words(target=world.url, trace=str(trace), processes="2"), tmp_path / "out")
        (master,) = psutil.Process(child.pid).children()
        master.children()[0].send_signal(signal.SIGKILL)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 5, said
    assert "Lost worker" in said
    assert "workers died" in said
    samples = read_samples(tmp_path / "out")
    assert samples.height == 250
    lost = samples.filter(pl.col("error") == "worker lost")
    assert lost.height > 40
    assert lost["censored"].all()
    assert lost["sent_us"].null_count() == lost.height
    assert lost.select((pl.col("i") % 2).n_unique()).item() == 1, "only one worker died"
    assert samples.filter(pl.col("error").is_null()).height == 250 - lost.height


def test_a_killed_generator_leaves_what_it_had_written(
    words: Callable[..., list[str]], tmp_path: Path
) -> None:
    trace = write_trace(tmp_path / "long", every(0.02, 1_000))
    with null_server() as world:
        child = _started(words(target=world.url, trace=str(trace)), tmp_path / "out")
        (generator,) = psutil.Process(child.pid).children()
        generator.send_signal(signal.SIGKILL)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 5, said
    assert "The load generator was killed" in said
    samples = read_samples(tmp_path / "out")
    assert samples.height == 1_000
    assert samples.filter(pl.col("error").is_null()).height >= 10
    assert set(samples["error"].drop_nulls()) == {"worker lost"}


def test_the_command_line_never_imports_locust() -> None:
    """Locust changes the sockets of whoever imports it."""
    code = "import sys, loadtest.cli; sys.exit(bool({'locust', 'gevent'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
