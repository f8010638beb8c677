"""Locust that never gets to its first request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from loadtest.driver.errors import EngineError
from loadtest.driver.launch import LOCUSTFILE, Launch, launch

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.driver.progress import Progress


def test_a_locust_that_begins_nothing_is_ended_and_told(tmp_path: Path) -> None:
    """No Locust can be up a millisecond after it was started."""
    shown: list[Progress] = []
    run = Launch(out=tmp_path, trace=tmp_path, processes=1, num_warm=0, start_timeout_s=0.001)
    with pytest.raises(EngineError, match=r"Locust sent nothing in 0\.001 s and was ended:\n.*empty"):
        launch(run, shown.append)
    assert shown == []
    mine = psutil.Process().children(recursive=True)
    assert not [one for one in mine if str(LOCUSTFILE) in one.cmdline()]


def test_what_ends_before_its_first_reading_is_followed_to_its_end(tmp_path: Path) -> None:
    """Locust itself says why: there is no trace here."""
    run = Launch(out=tmp_path, trace=tmp_path / "none", processes=1, num_warm=0)
    shown: list[Progress] = []
    assert launch(run, shown.append)
    assert shown == []
