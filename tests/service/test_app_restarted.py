"""A front end whose backend dies and comes back with other weights: when it says that it is ready again."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from models.tokenizer import Tokenizers, bundled_file
from service.backend.listener import BackendListener
from service.backend.source import RemoteSource
from service.observability.metrics import Metrics
from service.service import Service
from service.settings import read_settings
from tests.service.backend_world import Recorder, World, card, settle
from tests.service.remote_world import RemoteWorld
from tests.service.test_app_life import UNUSED

if TYPE_CHECKING:
    from pathlib import Path

    from service.domain import VariantCard

pytestmark = pytest.mark.anyio
TIMEOUT_S = 240.0


class GatedTokenizers(Tokenizers):
    """Tokenizers that are read when the test says so, as long files are on a slow disk."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.asked = threading.Event()

    def find(self, digest: str) -> None:
        """Know none, so that all are read."""

    def read(self, file: Path) -> tuple[str, object]:  # type: ignore[override]  # what the card says it is
        self.asked.set()
        assert self.gate.wait(TIMEOUT_S)
        return super().read(file)


def weights(digest: str) -> VariantCard:
    return card("v", digest=digest, revision=digest, tokenizer=str(bundled_file()))


async def test_ready_means_that_what_the_new_backend_serves_is_asked_for(tmp_path: Path) -> None:
    first = RemoteWorld(tmp_path)
    first.engine._cards = [weights("old")]
    await first.started()
    await first.listen()
    tokenizers, ready = GatedTokenizers(), asyncio.Event()
    service = Service(
        read_settings(catalogue=str(UNUSED)),
        source=RemoteSource(first.remote),
        metrics=Metrics(CollectorRegistry(), protocols=["native"], reasons=[], cuts=[]),
        observer=Recorder(),
        tokenizers=tokenizers,
        tracing=None,
        open_metrics=lambda _: None,
        on_ready=ready.set,
        on_failure=lambda: None,
    )

    def says() -> tuple[bool, str]:
        return service.predictor.is_ready, service.predictor.served("v").card.revision

    with capture_logs():
        async with service.life():
            tokenizers.gate.set()
            await asyncio.wait_for(ready.wait(), TIMEOUT_S)
            assert says() == (True, "old")
            tokenizers.gate.clear()
            tokenizers.asked.clear()
            ready.clear()
            first.listener.close()
            second = await World(cards=[weights("new")]).started()
            first.path.unlink()
            first.listener = BackendListener(second.backend)
            await first.listen()
            assert await asyncio.to_thread(tokenizers.asked.wait, TIMEOUT_S)
            # The backend takes work by now; what is asked for here is still what the last one served.
            assert first.remote.cards()[0].revision == "new"
            assert says() == (False, "old")
            tokenizers.gate.set()
            await asyncio.wait_for(ready.wait(), TIMEOUT_S)
            assert says() == (True, "new")
    first.listener.close()
    await settle()
