"""What a terminal shows of a run, wide or narrow, and what a log gets instead."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from loadtest.cli.run_screen import RunScreen
from loadtest.driver.progress import Progress

READING = Progress(
    elapsed_s=12.0,
    duration_s=60.0,
    num_scheduled=2_400,
    num_due=480,
    num_sent=479,
    num_done=470,
    num_failed=3,
    lateness_p99_s=0.0012,
    num_lost=0,
)


def shown(reading: Progress, *, width: int, is_terminal: bool = True) -> str:
    """Return the last frame that is drawn."""
    console = Console(
        file=(file := io.StringIO()), force_terminal=is_terminal, width=width, color_system=None
    )
    with RunScreen(console) as screen:
        screen.prepared(())
        screen.measuring(reading)
        file.seek(0)
        file.truncate()
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_every_reading_is_whole_at_any_width(width: int) -> None:
    """Offered, achieved, in flight, lateness, errors, and the time left."""
    frame = shown(READING, width=width)
    words = " ".join(frame.split())
    for value in ("480", "479", "9", "3", "1.2 ms", "48 s left"):
        assert value in words
    for name in ("offered", "sent", "in flight", "failed", "lateness p99 now"):
        assert name in words
    lines = [line for line in frame.replace("\r", "").split("\n") if "\x1b" not in line]
    assert max(map(len, lines)) <= width


def test_what_has_ended_has_no_time_left() -> None:
    ended = replace(READING, elapsed_s=60.0, num_due=2_400, num_sent=2_400, num_done=2_400)
    assert "left" not in shown(ended, width=80)
    last = replace(ended, num_done=2_399)
    assert "waiting for the last answers" in " ".join(shown(last, width=100).split())


def test_a_log_gets_a_sentence_every_ten_seconds() -> None:
    console = Console(file=(file := io.StringIO()), force_terminal=False, width=80)
    with RunScreen(console) as screen:
        screen.measuring(READING)
        screen.measuring(READING)
        said = file.getvalue()
    assert (
        said.count("12 s: 480 offered, 479 sent, 9 in flight, 470 ended, 3 failed, lateness p99 now 1.2 ms")
        == 1
    )
