"""What a study shows where nothing can be redrawn: whole lines, and no unfinished one at the end."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
import typer
from rich.console import Console

from loadtest.cli import study as command
from loadtest.cli.study_screen import StudyScreen
from loadtest.datasets.tasks import Task
from loadtest.driver.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

READING = Progress(
    elapsed_s=2.0,
    duration_s=8.0,
    num_scheduled=80,
    num_due=20,
    num_sent=20,
    num_done=19,
    num_failed=0,
    lateness_p99_s=0.001,
    num_lost=0,
)


def shown(*, is_terminal: bool) -> str:
    console = Console(file=(file := io.StringIO()), force_terminal=is_terminal, width=60, color_system=None)
    with StudyScreen(console) as screen:
        for language in ("en", "sw"):
            screen.building(Task.XNLI, language)
        screen.begin("unloaded-old", 1, None)
        for left_s in (29.0, 28.6, 21.0, 19.2):
            screen.waiting("nobody accepts connections there", left_s)
        screen.measuring(READING)
        screen.collecting(10, 80)
        screen.begin("000-pair-old", 2, 9)
        screen.reporting("Drawing", 1, 6)
        screen.reporting("Drawing", 2, 6)
    return file.getvalue()


def test_a_log_gets_a_line_a_run_and_ends_with_one() -> None:
    assert shown(is_terminal=False).splitlines(keepends=True) == [
        "reading the data\n",
        "run 1: unloaded-old\n",
        "waiting for the server, at most 29 s: nobody accepts connections there\n",
        "waiting for the server, at most 19 s: nobody accepts connections there\n",
        "run 2 of 9: 000-pair-old\n",
        "writing the report\n",
    ]


def test_a_terminal_gets_bars_and_no_lines_beside_them() -> None:
    drawn = shown(is_terminal=True)
    assert "000-pair-old" in drawn
    assert "run 2 of 9" not in drawn
    assert drawn.removesuffix("\x1b[?25h").endswith("\n")


def test_a_full_disk_is_told_and_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(typer.Exit) as ended:
        command.conduct(None, tmp_path / "out", full)  # type: ignore[arg-type]  # the fake asks for no study
    assert ended.value.exit_code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "a file of the study cannot be read or written (No space left on device)" in said
    assert f"goes on with what is missing in {tmp_path / 'out'}" in said
