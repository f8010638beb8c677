"""What can stop a measurement, as one tree.

::

    DriverError
    ├── UsageError      the trace, the arm or the target do not fit each other; nothing was measured
    ├── TargetError     the service cannot be reached or does not answer as it should before the run
    │   └── NotReadyError   it was waited for in vain
    └── EngineError     Locust itself did not start or did not finish; what was measured is kept

Each carries a sentence that says what happened and what to do; exit codes are given in
``cli`` and nowhere else.
"""

from __future__ import annotations


class DriverError(Exception):
    """Root of the tree; ``str(error)`` is fit for a user's eyes."""


class UsageError(DriverError):
    """What was asked for cannot be measured; change the command, the arm or the trace."""


class TargetError(DriverError):
    """The service is not there, not ready, or no service of this kind."""


class NotReadyError(TargetError):
    """The service was waited for in vain; ``what`` says so without advice, for whoever started it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}. Start the service, or give its address with --target.")
        self.what = what


class EngineError(DriverError):
    """Locust did not start, or died; the run is invalid."""
