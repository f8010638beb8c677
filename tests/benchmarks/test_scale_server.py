"""The server of the growth's benchmark where it cannot start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.scale_server import Serving
from benchmarks.server_process import ServerError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_service_that_ends_instead_of_starting_is_told_of_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"(?s)ended with [1-9].*nowhere\.toml"):
        Serving(tmp_path / "nowhere.toml", tmp_path)
