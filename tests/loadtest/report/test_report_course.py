"""A run in which latency only rose is marked, one that was steady is not, and a study counts its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.analysis.steadiness import Course
from loadtest.datasets.tasks import Task
from loadtest.report.course import course_notes, course_of
from loadtest.report.run_files import read_run
from loadtest.report.summary import write_summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONE_TASK = {"tasks": (Task.XNLI,), "num": 600, "censored_ratio": 0.0}


def test_a_queue_that_only_grew_is_said_before_any_figure(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    overloaded = make_run(tmp_path, service_s=0.05, **ONE_TASK)
    summary = write_summary(overloaded)
    assert any(note.startswith("Latency rose over the run") for note in summary.notes)
    assert summary.valid, summary.reasons  # it measured the server, which was overloaded
    seen = course_of(read_run(overloaded))
    assert seen is not None
    assert seen.course is Course.RISING


def test_a_steady_run_has_no_such_note_and_several_are_counted(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    steady = make_run(tmp_path / "a", **ONE_TASK)
    assert not any("Latency" in note for note in write_summary(steady).notes)
    rising = make_run(tmp_path / "b", "overloaded", service_s=0.05, **ONE_TASK)
    (note,) = course_notes([read_run(steady), read_run(rising)])
    assert note.startswith("Latency rose over 1 of 2 runs (overloaded): the median of the last quarter")


def test_few_requests_and_other_loops_have_no_course(make_run: Callable[..., Path], tmp_path: Path) -> None:
    few = make_run(tmp_path / "a", **{**ONE_TASK, "num": 150})
    assert course_of(read_run(few)) is None
    offline = make_run(tmp_path / "b", service_s=0.05, **ONE_TASK)
    run = read_run(offline)
    assert run.header is not None
    header = offline.parent / "trace" / "schedule.jsonl"
    text = header.read_text(encoding="utf-8").replace("poisson:40", "offline", 1)
    header.write_text(text, encoding="utf-8")
    assert course_of(read_run(offline)) is None
