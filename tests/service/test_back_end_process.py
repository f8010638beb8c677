"""The backend's process beside its device: what must not fail in silence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import capture_logs

from service.processes.back_end import _BackEndProcess
from service.processes.orders import Order
from service.settings import read_settings

if TYPE_CHECKING:
    from service.app import BackEnd
    from service.domain import VariantCard
    from service.processes.superior import Superior

pytestmark = pytest.mark.anyio


class FakeBackEnd:
    """Its source, backend, listener and metrics at once: they are told of variants ``num_good`` times."""

    def __init__(self, num_good: int, error: type[BaseException]) -> None:
        self.source = self.backend = self.listener = self.metrics = self
        self.num_told = 0
        self._num_good = num_good
        self._error = error

    async def open(self) -> None:
        """It is open."""

    async def changed(self) -> None:
        """It changes all the time."""

    def cards(self) -> tuple[VariantCard, ...]:
        return ()

    def variants_loaded(self, _: object) -> None:
        if self.num_told == self._num_good:
            raise self._error
        self.num_told += 1

    def tell_state(self) -> None:
        """Nobody listens."""


class FakeSuperior:
    def __init__(self) -> None:
        self.told: list[Order] = []

    def tell(self, order: Order, *_: str) -> None:
        self.told.append(order)


class PanicError(BaseException):
    """As a library in another language raises it: no ``Exception``."""


@pytest.mark.parametrize("error", [ZeroDivisionError, PanicError])
@pytest.mark.parametrize(
    ("num_good", "told", "event", "code"),
    [(0, [Order.FAILED], "start_failed", 2), (3, [Order.READY], "variants_not_told", 1)],
)
async def test_variants_that_cannot_be_told_end_the_process(
    num_good: int, told: list[Order], event: str, code: int, error: type[BaseException]
) -> None:
    process = _BackEndProcess(read_settings(catalogue="unused.toml"), None)
    superior = FakeSuperior()
    with capture_logs() as logs:
        loading = process._load(cast("Superior", superior), cast("BackEnd", FakeBackEnd(num_good, error)))
        await asyncio.wait_for(loading, 60.0)
    assert superior.told == told
    assert [log["event"] for log in logs if log["log_level"] == "error"] == [event]
    assert process._end.is_set()
    assert process._code == code
