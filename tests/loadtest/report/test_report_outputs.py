"""Markdown, JUnit, the terminal, and the command that makes them all again."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.datasets.tasks import Task
from loadtest.report import formats
from loadtest.report.junit import junit_of
from loadtest.report.markdown import markdown_of
from loadtest.report.study_files import STUDY_FILE, read_record
from loadtest.report.study_record import VerdictWord
from loadtest.report.summary import read_summary, write_summary
from loadtest.report.terminal import print_report, print_study
from loadtest.trace.samples import read_samples, write_samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

    from loadtest.report.records import Summary
    from loadtest.report.study_record import StudyRecord

FEW: dict[str, Any] = {"num": 120, "tasks": (Task.XNLI, Task.XQUAD), "items_per_cell": 1}


@pytest.fixture(scope="module")
def summary(reported_run: Path) -> Summary:
    return read_summary(reported_run)


@pytest.fixture(scope="module")
def study(reported_study: Path) -> tuple[Summary, StudyRecord]:
    return read_summary(reported_study), read_record(reported_study / "study.json")


def tables(markdown: str) -> list[list[list[str]]]:
    """Return the tables of a Markdown text as rows of cells."""
    found: list[list[list[str]]] = [[]]
    for line in markdown.splitlines():
        if line.startswith("| "):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def test_markdown_says_the_verdict_first_and_gives_the_summarys_numbers(summary: Summary) -> None:
    text = markdown_of(summary, "a run")
    assert text.startswith("## ❌ MISSED: a run\n\n**1 of 2 objectives missed: p95&lt;100ms missed")
    objectives, tasks = tables(text)
    assert [row[0] for row in objectives[2:]] == ["`p95<100ms`", "`error_rate<5%`"]
    assert len({len(row) for row in tasks}) == 1
    xnli = next(row for row in tasks if row[0] == "XNLI")
    group = summary.by_task["xnli"]
    assert group.quality is not None
    assert xnli == [
        "XNLI",
        formats.count(group.n),
        formats.percentile(group.latency_s, "mean"),
        formats.percentile(group.latency_s, "p50"),
        formats.percentile(group.latency_s, "p95"),
        formats.rate(group.throughput_per_s),
        formats.count(group.errors.num + group.num_censored),
        formats.score(group.quality.score),
    ]


def test_markdown_of_a_study_has_its_answer_and_its_ratios(study: tuple[Summary, StudyRecord]) -> None:
    summary, record = study
    text = markdown_of(summary, record.name, record)
    assert text.startswith("## ✅ EQUIVALENT: ")
    tasks, ratios = tables(text)
    assert tasks[0][:2] == ["task", "arm"]
    assert [row[0] for row in ratios[2:5]] == [
        "p50 latency at 0.6",
        "p95 latency at 0.6",
        "p99 latency at 0.6",
    ]
    assert not any(", en" in row[0] for row in ratios)  # single cells belong on the map


def test_markdown_keeps_foreign_text_from_being_markup(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, **FEW, info={"gauges": {"changed_weights": ["a|b<img src=x>*c*"]}})
    text = markdown_of(write_summary(run_dir), "x | <b>y</b>")
    assert "<img" not in text
    assert "<b>" not in text
    assert r"a\|b" in text


def test_junit_counts_what_it_holds(summary: Summary) -> None:
    root = ET.fromstring(junit_of(summary, "a run"))  # noqa: S314 - made here
    validity, objectives = root.findall("testsuite")
    assert validity.attrib["tests"] == str(len(summary.checks))
    assert validity.attrib["errors"] == "0"
    assert (objectives.attrib["tests"], objectives.attrib["failures"]) == ("2", "1")
    (failure,) = objectives.iter("failure")
    assert failure.attrib["message"] == summary.objectives[0].sentence
    for suite in (validity, objectives):
        for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert len(list(suite.iter(tag))) == int(suite.attrib[name])


def test_junit_marks_an_invalid_run_as_an_error_and_the_unknown_as_skipped(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    info = {"gauges": {"steal_ratio": 0.4, "num_workers": 1}, "objectives": ["p99<1s"]}
    root = ET.fromstring(junit_of(write_summary(make_run(tmp_path, **FEW, info=info)), "x\x00\ud800"))  # noqa: S314
    validity, objectives = root.findall("testsuite")
    assert [case.attrib["name"] for case in validity if case.find("error") is not None] == ["steal"]
    assert {case.attrib["name"] for case in validity if case.find("skipped") is not None} == {
        "generator's core",
        "heartbeat",
        "clocks",
        "weights",
        "target",
    }
    assert objectives.attrib["skipped"] == "1"


def test_junit_of_a_study_fails_for_what_is_slower_and_errs_for_a_control(reported_study: Path) -> None:
    summary, study = read_summary(reported_study), read_record(reported_study / STUDY_FILE)

    def suites(study: StudyRecord) -> dict[str, ET.Element]:
        root = ET.fromstring(junit_of(summary, "a study", study))  # noqa: S314 - made here
        return {suite.attrib["name"].removeprefix("a study: "): suite for suite in root}

    sound = suites(study)
    assert list(sound) == ["controls", "verdicts", "validity", "objectives"]
    assert sound["controls"].attrib["errors"] == "0"
    # Two primaries and one task's score, none of them slower or worse.
    assert (sound["verdicts"].attrib["tests"], sound["verdicts"].attrib["failures"]) == ("3", "0")

    first, *others = study.comparisons
    slower = first.model_copy(update={"word": VerdictWord.SLOWER})
    assert study.positive_control is not None
    broken = suites(
        study.model_copy(
            update={
                "valid": False,
                "reasons": ("the reference differs from itself",),
                "comparisons": (slower, *others),
                "aa": (slower,),
                "positive_control": study.positive_control.model_copy(update={"found": False}),
            }
        )
    )
    assert broken["controls"].attrib["errors"] == "3"
    (failure,) = broken["verdicts"].iter("failure")
    assert failure.attrib["message"] == "slower"


def test_an_invalid_run_of_a_study_is_skipped_since_its_pair_is_left_out(reported_study: Path) -> None:
    summary, study = read_summary(reported_study), read_record(reported_study / STUDY_FILE)
    check = summary.checks[0].model_copy(update={"passed": False, "sentence": "late"})
    late = summary.model_copy(update={"checks": (check,)})
    root = ET.fromstring(junit_of(late, "a study", study))  # noqa: S314 - made here
    (skipped,) = root.findall("testsuite")[2].iter("skipped")
    assert skipped.attrib["message"] == "its pair was left out: late"
    alone = ET.fromstring(junit_of(late, "a run"))  # noqa: S314 - made here
    assert alone.findall("testsuite")[0].attrib["errors"] == "1"


def printed(width: int, show: Callable[[Console], None]) -> str:
    out = io.StringIO()
    show(Console(file=out, width=width, force_terminal=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_every_task_and_stays_within_its_width(summary: Summary, width: int) -> None:
    text = printed(width, lambda console: print_report(console, summary))
    assert max(map(len, text.splitlines())) <= width
    assert "MISSED" in text
    for task in ("XNLI", "TyDiQA-GoldP", "all tasks"):
        assert task in text
    row = next(line for line in text.splitlines() if line.strip().startswith("XNLI"))
    group = summary.by_task["xnli"]
    assert group.quality is not None
    assert row.split()[1] == formats.count(group.n)
    assert row.split()[-1] == formats.score(group.quality.score)


@pytest.mark.parametrize(("width", "named"), [(70, False), (130, True)])
def test_arms_are_named_where_there_is_room_and_lettered_where_not(
    reported_study: Path, study: tuple[Summary, StudyRecord], *, width: int, named: bool
) -> None:
    text = printed(width, lambda console: print_study(study[1], reported_study, console))
    assert max(map(len, text.splitlines())) <= width
    lines = [line for line in text.splitlines() if line.strip().startswith("XNLI")]
    assert ("english-intermediate" in lines[0]) is named
    assert ("A: english-intermediate" in text) is not named
    assert "synthetic" in text


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_command_makes_everything_again_from_the_files(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run_dir = make_run(tmp_path, **FEW)
    done = call(run_dir, "--markdown", tmp_path / "ci.md", "--junit", tmp_path / "ci.xml")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"report: {run_dir / 'report.html'}"
    assert (tmp_path / "ci.md").read_text().startswith("## ")
    assert ET.parse(tmp_path / "ci.xml").getroot().tag == "testsuites"  # noqa: S314 - made here
    first = (run_dir / "report.html").read_bytes()
    (run_dir / "report.html").unlink()
    assert call(run_dir).exit_code == 0
    assert (run_dir / "report.html").read_bytes() == first


def test_the_command_reports_a_study(reported_study: Path) -> None:
    done = call(reported_study)
    assert done.exit_code == 0, done.output
    assert "EQUIVALENT" in done.stdout


def test_other_objectives_can_be_held_against_the_same_samples(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run_dir = make_run(tmp_path, **FEW, info={"objectives": ["p50<10s"]})
    assert call(run_dir, "--check").exit_code == 0
    assert call(run_dir, "--slo", "p50<1ms").exit_code == 0
    assert call(run_dir, "--slo", "p50<1ms", "--check").exit_code == 3
    assert json.loads((run_dir / "summary.json").read_text())["objectives"][0]["met"] is False


def test_an_invalid_run_ends_with_five_when_asked(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, **FEW, info={"gauges": {"steal_ratio": 0.4}})
    assert call(run_dir).exit_code == 0
    assert call(run_dir, "--check").exit_code == 5


def test_the_mismatch_is_counted_against_a_reference(make_run: Callable[..., Path], tmp_path: Path) -> None:
    unloaded, loaded = make_run(tmp_path, "unloaded", **FEW), make_run(tmp_path, "loaded", **FEW)
    assert call(loaded, "--reference", unloaded).exit_code == 0
    assert read_summary(loaded).overall.mismatch is not None
    assert "unloaded server" in (loaded / "report.html").read_text()


def test_quality_under_load_is_held_against_the_same_items_unloaded(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    plan = FEW | {"accuracy": 0.5}
    unloaded, loaded = make_run(tmp_path, "unloaded", **plan), make_run(tmp_path, "loaded", **plan)
    whole = read_samples(loaded)
    xnli = whole.filter(pl.col("task") == "xnli")["item"].unique().sort()
    few = whole.filter(~pl.col("item").is_in(xnli[: len(xnli) // 2].to_list()))
    write_samples(loaded, few)
    assert (
        call(loaded, "--reference", unloaded, "--slo", "quality{task=xnli} accuracy>=1*unloaded").exit_code
        == 0
    )
    (held,) = read_summary(loaded).objectives
    assert call(unloaded).exit_code == 0
    every = read_summary(unloaded).by_task["xnli"].quality
    assert every is not None
    assert held.measured != every.score  # the two sets of items differ in score, or this would show nothing
    assert (held.met, held.measured) == (True, held.allowed)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"arm": "another"}, "its arm is another, not english-intermediate; replay the same arm"),
        ({"items_per_cell": 2}, "its trace has other items"),
        ({"info": {"variants": [{"name": "english-intermediate.xnli", "revision": "new"}]}}, "other weights"),
    ],
)
def test_a_run_that_cannot_tell_of_the_unloaded_server_is_no_reference(
    make_run: Callable[..., Path], tmp_path: Path, other: dict[str, Any], why: str
) -> None:
    loaded = make_run(tmp_path, "loaded", **FEW)
    done = call(loaded, "--reference", make_run(tmp_path / "apart", "unloaded", **{**FEW, **other}))
    assert done.exit_code == 2
    assert why in " ".join(done.stderr.split())
    assert not (loaded / "summary.json").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere"], "samples.parquet"),
        (["run", "--slo", "p95<fast"], "is not an objective"),
        (["run", "--markdown", "no/such/folder/x.md"], "cannot be written"),
        (["run", "--reference", "nowhere"], "samples.parquet"),
    ],
)
def test_bad_input_is_one_clear_message_and_no_traceback(
    make_run: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    word: str,
) -> None:
    make_run(tmp_path, **FEW)
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.exit_code == 2
    assert word in done.stderr
    assert "Traceback" not in done.output
