"""Studies for real: the command as a process, against a server that it starts or finds, on real sockets.

The server is the null server, whose service times are given: what arms cost is known. Runs on a shared
machine are often not valid (the host steals, the generator waits), which the codes 0 and 5 tell apart;
everything else is asserted either way.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from typer.testing import CliRunner

from loadtest.analysis.capacity_search import Plan
from loadtest.cli import app
from loadtest.report.study_record import StudyRecord
from tests.loadtest.driver_world import CARD, NLI, null_server, write_arm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer.testing import Result

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.alone]

NULL_SERVER = Path(__file__).parents[1] / "null_server.py"
SCHEMA = Path(sys.modules[StudyRecord.__module__].__file__ or "").with_name("study.schema.json")
VARIANTS = [{**CARD, "name": f"{name}.xnli"} for name in ("old", "new", "slow")]
OPTIONS = {
    "variants": VARIANTS,
    "outputs": {name: {"label": "neutral", "scores": dict.fromkeys(NLI, 1 / 3)} for name in ("old.xnli",)},
    "service_s": 0.004,
    "service_ratios": {"new.xnli": 2.0, "slow.xnli": 5.0},
}
# Of the server that a study starts: so long that what a busy machine adds to a run hardly counts beside it.
LONG = {**OPTIONS, "service_s": 0.02}
STUDY = """
name = "tiny"
question = "Is the new arm as fast as the old one?"
seed = 3
reference = "old"
[server]
command = ["{{python}}", "{server}", '{options}', "{{port}}"]
start_timeout_s = 30
[arms.old]
file = "old.toml"
[arms.new]
file = "new.toml"
[trace]
tasks = "xnli"
languages = "en,sw"
limit = 4
[design]
pairs = 2
restarts = 1
load_ratios = [0.3]
primary_load_ratio = 0.3
replicate_s = 0.6
offline_pairs = 2
[capacity]
method = "offline"
objective = "p95<100ms"
[controls]
aa_pairs = 0
"""
RUNS = 2 + 1 + 4 + 4  # unloaded, all at once, pairs, offline pairs
LOADTEST = (sys.executable, "-m", "loadtest")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Commands that run meanwhile; ``ended`` waits for one and returns its code and what it printed."""

    folder: Path
    processes: dict[str, subprocess.Popen[str]]
    outputs: dict[str, tuple[str, str]] = field(default_factory=dict)

    def ended(self, name: str) -> tuple[int, str, str]:
        process = self.processes[name]
        if name not in self.outputs:
            self.outputs[name] = process.communicate(timeout=120)
        assert "Traceback" not in self.outputs[name][1]
        return (process.returncode, *self.outputs[name])


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    """A study of two arms of one server, the second of which takes twice as long."""
    write_arm(tmp_path / "old.toml", xnli="old.xnli")
    write_arm(tmp_path / "new.toml", xnli="new.xnli")  # arm files share one name; the study's keys tell them
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(server=NULL_SERVER, options=json.dumps(LONG)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """A server that runs already."""
    with null_server(**OPTIONS) as world:
        yield world.url


def xlmr_load(*words: object) -> Result:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.stderr, done.stderr
    return done


def record_of(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / "study.json").read_text(encoding="utf-8"))
    jsonschema_rs.validate(json.loads(SCHEMA.read_text(encoding="utf-8")), record)
    return record


def run_times(out: Path) -> dict[str, int]:
    """When each complete run was completed."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("runs/*/summary.json")}


@pytest.fixture(scope="module")
def compared(service: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compared]:
    """`ab` and `aa` against the running server, begun here; others run meanwhile, since runs mostly sleep."""
    folder = tmp_path_factory.mktemp("compared")
    old = write_arm(folder / "a.toml", xnli="old.xnli")
    new = write_arm(folder / "b.toml", xnli="new.xnli")
    every = f"--target {service} --tasks xnli --languages en --limit 4 --duration 0.5 --pairs 2"
    begun = {
        "ab": f"--a {old} --b {new} --loads 0.4 --capacity-method offline --aa-pairs 0 --offline-pairs 2",
        "aa": f"--arm {old} --load 0.4 --offline-pairs 0",
    }
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(
                subprocess.Popen(
                    [*LOADTEST, name, "--out", str(folder / name), *words.split(), *every.split()],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for name, words in begun.items()
        }
        yield Compared(folder=folder, processes=processes)
        for process in processes.values():
            process.kill()


@pytest.mark.usefixtures("compared")
def test_an_interrupted_study_goes_on_and_ends_with_its_report(declared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["study", str(declared), "--out", str(out), "--server-cpus", "0", "--load-cpus", "0"]
    begun = subprocess.Popen(
        [*LOADTEST, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while begun.poll() is None and not (out / "runs" / "unloaded-new" / "summary.json").is_file():
            with contextlib.suppress(subprocess.TimeoutExpired):
                begun.wait(0.05)
        begun.send_signal(signal.SIGINT)
        _, said = begun.communicate(timeout=60)
    finally:
        begun.kill()
    assert begun.returncode == 130, said
    assert "the same command goes on" in " ".join(said.split())
    assert "Traceback" not in said
    before = run_times(out)
    assert {"unloaded-old", "unloaded-new"} <= set(before)
    assert len(before) < RUNS

    done = xlmr_load(*words)
    after = run_times(out)
    assert len(after) == RUNS
    assert {name: after[name] for name in before} == before, "a run that was complete was made again"
    record = record_of(out)
    assert done.exit_code == (0 if record["valid"] else 5), done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == f"report: {out / 'report.html'}"
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert record["verdict"]["word"].upper() in done.stdout
    assert [arm["name"] for arm in record["arms"]] == ["old", "new"]
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["by_arm"]) == {"old", "new"}
    _holds_cores_and_ratio(out, record)

    again = xlmr_load(*words)
    assert again.exit_code == done.exit_code
    assert run_times(out) == after
    elsewhere = xlmr_load(*words[:4])
    assert elsewhere.exit_code == 2
    assert "begun with server_cpus 0, not unset" in " ".join(elsewhere.stderr.split())


def _holds_cores_and_ratio(out: Path, record: dict[str, Any]) -> None:
    """Twice the service time is about half the offline throughput.

    Of two runs each the better one, since a machine that is busy only ever slows.
    """
    assert (record["design"]["server_cpus"], record["design"]["load_cpus"]) == ("0", "0")
    run = json.loads((out / "runs" / "all-at-once" / "run.json").read_text(encoding="utf-8"))
    assert run["environment"]["affinity"] == [0]
    rates: dict[str, list[float]] = {"old": [], "new": []}
    for made in record["runs"]:
        if made["phase"] == "offline":
            found = json.loads((out / made["path"] / "summary.json").read_text(encoding="utf-8"))
            rates[made["arm"]].append(found["overall"]["inputs_per_s"])
    assert [len(found) for found in rates.values()] == [2, 2]
    assert 1.3 < max(rates["old"]) / max(rates["new"]) < 3, rates


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ('"{{python}}", "{server}"', '"{{python}}", "-c", "raise SystemExit(3)"'),
            "the server ended during",
        ),
        (('file = "new.toml"', 'file = "gone.toml"'), "gone.toml"),
        (('languages = "en,sw"', 'languages = "xx"'), "xx"),
        (('objective = "p95<100ms"', 'objective = "fast"'), "fast"),
    ],
)
def test_a_study_that_cannot_run_says_why(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    write_arm(tmp_path / "old.toml", xnli="old.xnli")
    write_arm(tmp_path / "new.toml", xnli="new.xnli")
    text = STUDY.replace(*change).format(server=NULL_SERVER, options=json.dumps(OPTIONS))
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    done = xlmr_load("study", tmp_path / "study.toml", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_server_that_dies_midway_is_told_and_the_study_can_go_on(declared: Path, tmp_path: Path) -> None:
    text = declared.read_text(encoding="utf-8")
    dying = {**LONG, "exit_after": 12}
    declared.write_text(text.replace(json.dumps(LONG), json.dumps(dying)), encoding="utf-8")
    out = tmp_path / "out"
    done = xlmr_load("study", declared, "--out", out)
    assert done.exit_code == 2, done.stderr
    said = " ".join(done.stderr.split())
    assert "the server ended during unloaded-new (status 9)" in said
    assert "logs/first.log" in said.replace(" ", "")
    assert set(run_times(out)) == {"unloaded-old"}, "a run with a dead server counts as made"


def test_a_capacity_is_found_or_its_absence_explained(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One serial worker of 4 ms: never above 250 a second. The whole plan's steps have tests of their own."""
    coarse = partial(Plan, precision_ratio=1.5, sweep_ratios=(0.85, 0.95, 1.05, 1.15))
    monkeypatch.setattr("loadtest.study.capacity_search.Plan", coarse)
    arm = write_arm(tmp_path / "a.toml", xnli="old.xnli")
    words = ("--target", service, "--tasks", "xnli", "--languages", "en", "--limit", "4", "--duration", "0.5")
    done = xlmr_load(
        "capacity", "--arm", arm, "--out", tmp_path / "out", *words, "--replicates", "1", "--slo", "p90<25ms"
    )
    record = record_of(tmp_path / "out")
    assert done.stdout.splitlines()[-1] == f"report: {tmp_path / 'out' / 'report.html'}"
    missed = "no rate met" in record["verdict"]["sentence"].lower()
    assert done.exit_code == (0 if record["valid"] else 3 if missed else 5), done.stderr
    if record["valid"]:
        (found,) = record["capacities"]
        assert found["rate_per_s"] is None or 20 < found["rate_per_s"] < 250
    else:
        (reason,) = record["reasons"]
        assert any(words in reason for words in ("not valid", "rate met", "lay between", "not hold")), reason


def test_arms_of_a_running_server_are_compared(compared: Compared) -> None:
    code, said, complaint = compared.ended("ab")
    record = record_of(compared.folder / "ab")
    assert code == (0 if record["valid"] else 5), complaint
    assert said.splitlines()[-1] == f"report: {compared.folder / 'ab' / 'report.html'}"
    assert [arm["name"] for arm in record["arms"]] == ["arm-a", "arm-a-again"]
    assert {run["phase"] for run in record["runs"]} == {"unloaded", "pair", "offline"}


def test_an_arm_is_compared_with_itself(compared: Compared) -> None:
    code, said, complaint = compared.ended("aa")
    record = record_of(compared.folder / "aa")
    assert code in (0, 5), complaint
    assert said.splitlines()[-1] == f"report: {compared.folder / 'aa' / 'report.html'}"
    by_arm = json.loads((compared.folder / "aa" / "summary.json").read_text(encoding="utf-8"))["by_arm"]
    assert set(by_arm) == {"arm-a", "arm-a-again"}
    assert {run["phase"] for run in record["runs"]} == {"unloaded", "pair"}
    assert not any(one["measure"].startswith("offline") for one in record["comparisons"])


def test_an_arm_that_the_server_does_not_have_is_named_before_any_run(service: str, tmp_path: Path) -> None:
    arms = [write_arm(tmp_path / f"{name}.toml", xnli=f"{name}.xnli") for name in ("old", "gone")]
    words = ("--target", service, "--tasks", "xnli", "--languages", "en", "--limit", "4")
    done = xlmr_load("ab", "--a", arms[0], "--b", arms[1], "--out", tmp_path / "no", *words)
    assert done.exit_code == 2
    assert "gone.xnli" in done.stderr
    assert not (tmp_path / "no" / "runs").exists()


def test_runs_are_compared_with_a_baseline(service: str, compared: Compared, tmp_path: Path) -> None:
    words = ("--data", "bundled", "--tasks", "xnli", "--languages", "en", "--limit", "2")
    trace = tmp_path / "trace"
    assert (
        xlmr_load("trace", *words, "--arrivals", "poisson:40", "--duration", "1", "--out", trace).exit_code
        == 0
    )
    # Five times the service time: slower by far, whatever else runs here.
    arms = {name: write_arm(tmp_path / f"{name}.toml", xnli=f"{name}.xnli") for name in ("old", "slow")}
    codes = {
        name: xlmr_load(
            "run", "--trace", trace, "--target", service, "--arm", arm, "--out", tmp_path / name
        ).exit_code
        for name, arm in arms.items()
    }
    assert set(codes.values()) <= {0, 5}
    done = xlmr_load("compare", tmp_path / "old", tmp_path / "slow", "--fail-above", "1.2")
    assert "compared: arm.xnli: 'old.xnli' against 'slow.xnli'" in " ".join(done.stderr.split())
    if set(codes.values()) == {0}:
        assert done.exit_code == 4, done.stdout + done.stderr
        assert "none: one pair" in done.stdout
    else:
        assert done.exit_code == 5
        assert "valid" in done.stderr
    compared.ended("ab")
    done = xlmr_load("compare", tmp_path / "old", compared.folder / "ab" / "runs" / "all-at-once")
    assert done.exit_code == 2
    assert "trace.law: 'poisson:40' against 'offline'" in " ".join(done.stderr.split())
