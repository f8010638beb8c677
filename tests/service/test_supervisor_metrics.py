"""The sum of all processes' metrics while one of them dies: what it had counted is counted once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from prometheus_client import CollectorRegistry, Counter

from service.observability.families import families_of
from service.processes.child import Child
from service.processes.orders import Order
from service.processes.supervisor import Supervisor
from service.settings import read_settings
from tests.service.backend_world import settle
from tests.service.serving import Series

if TYPE_CHECKING:
    from service.observability.families import Families

pytestmark = pytest.mark.anyio
NAME = "http-1"


def reading(count: float) -> Families:
    registry = CollectorRegistry()
    Counter("xlmr_requests_total", "Requests.", registry=registry).inc(count)
    return families_of(registry)


class DyingChild:
    """A process that dies when the test says so, and keeps whoever reads its metrics waiting until later."""

    def __init__(self) -> None:
        self.name, self.pid = NAME, 1
        self.failure = None
        self.is_ready = True
        self.last_reading = reading(5.0)
        self.dies, self.is_read = asyncio.Event(), asyncio.Event()
        self.orders: list[tuple[Order, bytes]] = []

    async def ended(self) -> int:
        await self.dies.wait()
        return -9

    async def read(self) -> Families:
        await self.is_read.wait()
        return self.last_reading

    def order(self, order: Order, content: bytes = b"", *, number: int = 0) -> None:
        assert number == 1
        self.orders.append((order, content))

    @property
    def told(self) -> float:
        """What the last answer says that all processes have counted."""
        order, content = self.orders[-1]
        assert order is Order.EXPOSITION
        return Series.of(content.partition(b"\0")[2].decode()).sum("xlmr_requests_total")


async def test_a_process_that_dies_while_it_is_read_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    child = DyingChild()
    monkeypatch.setattr("service.processes.supervisor.Child", lambda *_, **__: child)

    async def start(_: Child) -> None:
        return

    supervisor = Supervisor(
        read_settings(catalogue="unused.toml", http_workers="2"),
        starts={NAME: start},
        address={},
        on_end=lambda _: None,
    )
    keeper = asyncio.create_task(supervisor._keep(NAME, start))
    await settle()
    asked = asyncio.create_task(supervisor._answer(cast(Child, child), 1, ""))
    await settle()
    child.dies.set()
    await settle()
    assert NAME not in supervisor._children
    child.is_read.set()
    await asked
    assert child.told == 5.0
    await supervisor._answer(cast(Child, child), 1, "")
    assert child.told == 5.0
    keeper.cancel()
