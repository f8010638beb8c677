"""Made-up runs and studies for the report's tests, and one of each with its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loadtest.datasets.tasks import Task
from loadtest.report.html import write_report
from tests.loadtest.report.made_up_run import build_run
from tests.loadtest.report.made_up_study import build_study

MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """Write a trace and a run of it below a folder; returns the run's folder."""
    return build_run


@pytest.fixture(scope="session")
def reported_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 1,500 requests with errors and objectives, and its report; not to be changed."""
    run_dir = build_run(
        tmp_path_factory.mktemp("reported"), num=1500, info={"objectives": ["p95<100ms, error_rate<5%"]}
    )
    write_report(run_dir)
    return run_dir


@pytest.fixture(scope="session")
def reported_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four runs and its report; not to be changed."""
    tasks = (Task.XNLI, Task.PANX, Task.XQUAD)
    folder = build_study(tmp_path_factory.mktemp("study"), num=400, tasks=tasks)
    write_report(folder)
    return folder
