"""Tools that the deployment's files are held against."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool; `apt-get install prometheus` brings it")
    return found
