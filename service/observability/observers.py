"""Several observers behind one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.domain import BatchReport, Observer, RequestReport


class Observers:
    """Tells each of them, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def request_ended(self, report: RequestReport) -> None:
        """Pass a request on."""
        for observer in self._observers:
            observer.request_ended(report)

    def batch_ended(self, report: BatchReport) -> None:
        """Pass a batch on."""
        for observer in self._observers:
            observer.batch_ended(report)
