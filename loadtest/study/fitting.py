"""Whether a server can answer for every arm of a study, asked before anything is measured.

An arm that comes late in the plan (a control, after hours of pairs) must not be found missing then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from loadtest.driver.matching import match_arm
from loadtest.driver.service_client import ServiceClient
from loadtest.driver.wire import parse_target
from loadtest.trace.arm import load_arm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from loadtest.trace.schedule import Trace


class Fits(Protocol):
    """Looks at a server that was started."""

    def __call__(self, url: str, waiting: Callable[[str, float], None]) -> None:
        """Wait until it is ready, and return if every arm fits; ``waiting`` is told of the wait."""
        ...


def fits_of(arms: Iterable[Path], base: Trace, ready_timeout_s: float) -> Fits:
    """Return a look at a server that raises UsageError or TargetError where an arm does not fit it."""
    every = tuple(map(load_arm, arms))

    def look(url: str, waiting: Callable[[str, float], None]) -> None:
        with ServiceClient(parse_target(url)) as client:
            client.wait_until_ready(ready_timeout_s, waiting)
            cards = tuple(client.variants())
        for arm in every:
            match_arm(base, arm, cards)

    return look
