"""One process at a time works on a study's folder, and a folder of something else is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from loadtest.study.sitting import sole_sitting
from loadtest.study.study_file import StudyError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_sitting_is_refused_and_names_the_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        sole_sitting(out),
        pytest.raises(StudyError, match=rf"in use by another process \(pid {os.getpid()}\)"),
        sole_sitting(out),
    ):
        pass
    with sole_sitting(out):
        pass


def test_a_sitting_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    """The kernel lets go, and neither a server nor a generator that outlives the sitting holds on."""
    holds = (
        "import os, pathlib, subprocess, sys\n"
        "from loadtest.study.sitting import sole_sitting\n"
        "with sole_sitting(pathlib.Path(sys.argv[1])):\n"
        "    left = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n"
        "    os.write(1, b'held')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", holds, str(tmp_path / "out")], capture_output=True, timeout=60, check=False
    )
    assert (killed.returncode, killed.stdout) == (-9, b"held")
    with sole_sitting(tmp_path / "out"):
        pass


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("mine")
    with pytest.raises(StudyError, match="holds other files"), sole_sitting(out):
        pass
    assert [path.name for path in out.iterdir()] == ["letter.txt"]


def test_a_file_or_a_place_that_cannot_be_written_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="is a file"), sole_sitting(tmp_path / "file"):
        pass
    with pytest.raises(StudyError, match="cannot be written"), sole_sitting(tmp_path / "file" / "below"):
        pass
