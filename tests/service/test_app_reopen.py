"""What a service does when its backend serves something else, and not all of that can be used."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from models.tokenizer import Tokenizers, bundled_file
from service.backend.clock import LoopClock
from service.backend.remote import RemoteBackend
from service.backend.source import RemoteSource
from service.observability.metrics import Metrics
from service.server import write_ready_file
from service.service import Service
from service.settings import read_settings
from tests.service.backend_world import Recorder, card
from tests.service.test_app_life import UNUSED

if TYPE_CHECKING:
    from pathlib import Path

    from service.domain import VariantCard

pytestmark = pytest.mark.anyio


class Source(RemoteSource):
    """A backend that serves what the test says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(RemoteBackend(folder / "none.sock", clock=LoopClock()))

    async def open(self) -> None:
        """It is open."""

    def serve(self, *cards: VariantCard) -> None:
        self.backend._cards = cards


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizers = Tokenizers()
        self.source = Source(folder)
        self.num_ready = self.num_failures = 0
        self.breaks_by: type[BaseException] | None = None
        self.service = Service(
            read_settings(catalogue=str(UNUSED)),
            source=self.source,
            metrics=Metrics(CollectorRegistry(), protocols=["native"], reasons=[], cuts=[]),
            observer=Recorder(),
            tokenizers=self.tokenizers,
            tracing=None,
            open_metrics=self.open_metrics,
            on_ready=self.ready,
            on_failure=self.failed,
        )

    def ready(self) -> None:
        self.num_ready += 1

    def failed(self) -> None:
        self.num_failures += 1

    def open_metrics(self, _: object) -> None:
        if self.breaks_by is not None:
            raise self.breaks_by

    def card(self, name: str, *, content: bytes = b"", generation: int = 0) -> VariantCard:
        """A variant with a tokenizer of its own file; ``content``: white space that tells it from others."""
        file = self.folder / f"{name}.json"
        file.write_bytes(bundled_file().read_bytes() + content)
        digest, _ = Tokenizers().read(file)
        return card(name, tokenizer=str(file), tokenizer_digest=digest, generation=generation)

    def generations(self) -> dict[str, int]:
        return {one.name: one.generation for one in self.service.predictor.cards()}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_tokenizer_is_read_once_for_its_content_and_let_go_with_it(world: World) -> None:
    world.source.serve(world.card("v"), world.card("w"))
    assert await world.service._open()
    first, second = (world.service.predictor.served(name).tokenizer for name in "vw")
    assert first is second
    v, w = world.card("v", content=b" ", generation=1), world.card("w")
    world.source.serve(v, w)
    assert await world.service._open()
    assert world.service.predictor.served("w").tokenizer is first
    assert world.service.predictor.served("v").tokenizer is not first
    assert world.tokenizers._by_digest.keys() == {v.tokenizer_digest, w.tokenizer_digest}
    world.source.serve(v)
    assert await world.service._open()
    assert world.tokenizers._by_digest.keys() == {v.tokenizer_digest}


async def test_old_weights_keep_their_tokenizer_whatever_lies_in_its_place(world: World) -> None:
    """A swap of v failed, so that its old weights go on; that of w, which succeeded, reads all again."""
    v = world.card("v")
    world.source.serve(v, world.card("w"))
    assert await world.service._open()
    first = world.service.predictor.served("v").tokenizer
    world.card("v", content=b"  ")  # the new file, whose weights were refused
    world.source.serve(v, world.card("w", content=b" ", generation=1))
    assert await world.service._open()
    assert world.service.predictor.served("v").tokenizer is first
    assert world.generations() == {"v": 0, "w": 1}


async def test_a_swap_whose_tokenizer_is_gone_takes_nobody_down(world: World) -> None:
    world.source.serve(world.card("v"), world.card("w"))
    assert await world.service._open()
    gone = world.card("v", content=b" ", generation=1)
    (world.folder / "v.json").unlink()
    never = card("x", tokenizer=str(world.folder / "x.json"), tokenizer_digest="0" * 64)
    world.source.serve(gone, world.card("w", content=b" ", generation=1), never)
    with capture_logs() as logs:
        assert await world.service._open()
    assert world.service.failure is None
    assert [(log["variant"]) for log in logs if log["event"] == "tokenizer_not_read"] == ["v", "x"]
    assert world.generations() == {"v": 0, "w": 1}
    assert world.num_ready == 2


async def test_a_start_whose_tokenizer_is_gone_is_refused(world: World) -> None:
    world.source.serve(card("v", tokenizer=str(world.folder / "nowhere.json"), tokenizer_digest="0" * 64))
    with capture_logs():
        assert not await world.service._open()
    assert world.service.failure is not None


class PanicError(BaseException):
    """As a library in another language raises it: no ``Exception``."""


@pytest.mark.parametrize("error", [ZeroDivisionError, PanicError])
async def test_what_fails_after_the_weights_have_loaded_is_told_too(
    error: type[BaseException], world: World
) -> None:
    """Nobody awaits the task that opens: it would be unready, or ask for what is gone, and nobody knew."""
    world.source.serve(world.card("v"))
    assert await world.service._open()
    world.breaks_by = error
    with capture_logs() as logs:
        await world.service._load()
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["start_failed"]
    assert error.__name__ in str(world.service.failure)
    assert (world.num_ready, world.num_failures) == (1, 1)


async def test_a_ready_file_that_cannot_be_written_is_told_and_ends_nothing(tmp_path: Path) -> None:
    with capture_logs() as logs:
        write_ready_file(tmp_path / "no folder" / "ready.json", {"port": time.monotonic()})
    (log,) = logs
    assert (log["event"], log["log_level"]) == ("ready_file_not_written", "error")
    assert log["reason"] == "No such file or directory"
