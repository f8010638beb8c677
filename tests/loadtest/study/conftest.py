"""The study that the tests of this folder declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtest.study.study_file import Study, load_study
from tests.loadtest.study.made_up import STUDY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def study_of(tmp_path: Path) -> Callable[[str], Study]:
    """Return a function that reads the usual study with some tables added."""

    def make(more: str = "") -> Study:
        path = tmp_path / "study.toml"
        path.write_text(STUDY + more, encoding="utf-8")
        return load_study(path)

    return make
