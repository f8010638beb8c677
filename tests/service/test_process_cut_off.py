"""A process whose socket to the supervisor has ended: whether it ends by itself, or must be ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from service.observability.families import to_bytes
from service.processes.child import Child
from service.processes.orders import LAST, Order, order_bytes
from tests.service.backend_world import settle

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


class Process:
    """A process that goes on whatever becomes of its socket."""

    def __init__(self, *, name: str, **_: object) -> None:
        self.name = name
        self.num_kills = 0

    def start(self) -> None:
        return

    def kill(self) -> None:
        self.num_kills += 1


class Context:
    """Starts such processes, as multiprocessing would."""

    def __init__(self) -> None:
        self.made: list[Process] = []
        self.theirs: list[socket.socket] = []

    def Process(  # noqa: N802 - multiprocessing's own name
        self, *, target: Callable[..., object], name: str, kwargs: dict[str, socket.socket]
    ) -> Process:
        del target  # nothing is run
        self.theirs.append(kwargs["control"].dup())
        self.made.append(Process(name=name))
        return self.made[-1]


async def cut_off(monkeypatch: pytest.MonkeyPatch, said: bytes) -> Process:
    """Return a process that has said this and then closed its end."""
    context = Context()
    monkeypatch.setattr("service.processes.child.get_context", lambda _: context)
    child = Child("http-1", on_news=lambda *_: None, on_expose=lambda *_: None)
    await child.start(lambda: None)
    (theirs,), (process,) = context.theirs, context.made
    theirs.sendall(said)
    theirs.close()
    async with asyncio.timeout(60.0):
        await child._link.ended()
    await settle()
    return process


async def test_a_process_that_has_cut_itself_off_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It obeys nobody, and a new one can only be started when it has ended."""
    process = await cut_off(monkeypatch, order_bytes(Order.READING, to_bytes(()), number=1))
    assert process.num_kills == 1


async def test_a_process_that_has_given_its_last_reading_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = await cut_off(monkeypatch, order_bytes(Order.READING, to_bytes(()), number=LAST))
    assert process.num_kills == 0
