"""``python -m loadtest.driver collect DIR``: make samples of what a plain Locust run has received.

The locustfile calls it when a run ends, so that the process which sent the requests neither parses
answers nor carries the libraries for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from loadtest.driver.errors import DriverError
from loadtest.driver.finish import finish
from loadtest.trace.items import TraceError
from loadtest.trace.samples import FILE_NAME

_USAGE = 2


def main(arguments: list[str]) -> int:
    """Collect, and return an exit code."""
    match arguments:
        case ["collect", folder]:
            return _collect(Path(folder))
        case _:
            sys.stderr.write("usage: python -m loadtest.driver collect DIR\n")
            return _USAGE


def _collect(folder: Path) -> int:
    try:
        result = finish(folder, lambda _done, _total: None)
    except (DriverError, TraceError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{result.num_recorded} of {result.num_scheduled} arrivals in {folder / FILE_NAME}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
