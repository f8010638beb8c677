"""The garbage collector does not run while requests are sent."""

from __future__ import annotations

import gc
import subprocess
import sys

CODE = """
import gc
from loadtest.driver.worker import _no_collection
with _no_collection():
    assert not gc.isenabled()
    assert gc.get_freeze_count() > 1_000
assert gc.isenabled()
assert gc.get_freeze_count() == 0
try:
    with _no_collection():
        raise ValueError
except ValueError:
    assert gc.isenabled()
"""


def test_it_is_off_and_all_is_frozen_until_the_end_whatever_that_is() -> None:
    """In a process of its own, since the worker's module imports gevent."""
    assert gc.isenabled()
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=60)
