"""What answers HTTP: the parts of the service, joined, and the life that they share.

Rules: the weights load after the app has started, so that liveness answers meanwhile; a backend that comes
again, or serves other variants than before, is opened again; everything stops with the app.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog

from models.tokenizer import TokenizerError
from service.api.predictor import Predictor
from service.api.question import Served
from service.backend.source import JOIN_S
from service.errors import NotReadyError, StartupError, loading_failed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from collections.abc import Sequence as Many

    from models.tokenizer import Tokenizer, Tokenizers
    from service.api.metrics import Exposition
    from service.backend.source import Source
    from service.domain import Observer, VariantCard
    from service.observability.metrics import Metrics
    from service.observability.tracing import Tracing
    from service.settings import Settings

# Tokenizing scales to a handful of threads; more of them only compete with torch on a CPU.
_MAX_TOKENIZE_THREADS = 8
# Large answers and /metrics; both are short, and hold the interpreter most of the time.
_NUM_DECODE_THREADS = 2


class Service:
    """What answers HTTP: the parts, joined, and the life that they share."""

    def __init__(  # noqa: PLR0913 - the root is handed all that may be another's
        self,
        settings: Settings,
        *,
        source: Source,
        metrics: Metrics,
        observer: Observer,
        tokenizers: Tokenizers,
        tracing: Tracing | None,
        open_metrics: Callable[[Many[VariantCard]], object],
        on_ready: Callable[[], object],
        on_failure: Callable[[], object],
        exposition: Exposition | None = None,
        events: tuple[str, str] = ("loading", "ready"),
    ) -> None:
        """Build and start nothing.

        ``tokenizers``: where those that were read are looked up, and kept while they are served.
        ``open_metrics``: opens the variants' series. ``on_ready``: called each time that the backend takes
        work; ``on_failure``: when it never will. ``exposition``: what answers /metrics, where it is not this
        process alone. ``events``: what the log calls waiting for the backend, and having it.
        """
        self.tracing = tracing
        self.metrics = metrics
        self.observer = observer
        self.backend = source.backend
        self.failure: StartupError | None = None
        self.has_stopped = False
        self.exposition = self._own_exposition if exposition is None else exposition
        self._source = source
        self._reloads: set[asyncio.Task[None]] = set()
        self._tokenizers = tokenizers
        self._served: dict[str, Served] = {}
        self._events = events
        self._open_metrics = open_metrics
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._encoders = ThreadPoolExecutor(
            settings.tokenize_threads or _num_tokenize_threads(settings), thread_name_prefix="xlmr-encode"
        )
        self._decoders = ThreadPoolExecutor(_NUM_DECODE_THREADS, thread_name_prefix="xlmr-decode")
        self.predictor = Predictor(
            backend=self.backend,
            encoders=self._encoders,
            decoders=self._decoders,
            clock=time.monotonic,
            max_requests=settings.max_requests,
        )

    def read_metrics(self) -> None:
        """Bring this process's metrics up to date; call it on the event loop."""
        self.metrics.read(self.backend.statistics(), ready=self.predictor.is_ready)

    async def _own_exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics; read on the loop, written off it, since that takes milliseconds."""
        self.read_metrics()
        return await asyncio.get_running_loop().run_in_executor(
            self._decoders, partial(self.metrics.exposition, accept)
        )

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Load while the app runs; stop everything after it."""
        loading = asyncio.create_task(self._load())
        try:
            yield
        finally:
            for task in (loading, *self._reloads):
                task.cancel()
            self._source.close()
            await asyncio.gather(loading, return_exceptions=True)
            self.has_stopped = await self._source.stopped(JOIN_S)
            for executor in (self._encoders, self._decoders):
                executor.shutdown(wait=False, cancel_futures=True)
            if self.tracing is not None:
                await asyncio.to_thread(self.tracing.close)

    async def drain(self, timeout_s: float) -> bool:
        """Take no more requests and wait for those under way; False if one was late."""
        return await self.predictor.drain(timeout_s)

    def reload(self) -> None:
        """Serve what the catalogue says now, as soon as it is loaded; call it on the event loop."""
        task = asyncio.get_running_loop().create_task(self._source.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    def give_up(self) -> None:
        """Answer the requests under way with 503 instead of waiting for them."""
        self._source.close()

    async def _load(self) -> None:
        """Open whenever there is a backend that takes work: once, unless it is another process."""
        with suppress(NotReadyError):  # stopped meanwhile
            while await self._open():
                await self._source.changed()

    async def _open(self) -> bool:
        log = structlog.get_logger()
        began_at = time.monotonic()
        waiting, ready = self._events
        log.info(waiting)
        try:
            await self._source.open()
            cards = self.backend.cards()
            await asyncio.get_running_loop().run_in_executor(self._encoders, partial(self._read, cards))
            self._open_metrics(cards)
            self.predictor.open(self._served.values())
            self._source.adopted()
            self._on_ready()  # first: who reads the line looks for the ready file
        except NotReadyError:
            return False  # stopped meanwhile
        except StartupError as error:
            self._fail(error)
            return False
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # nobody awaits this task before the end: it would be unready for ever
            log.exception("start_failed")
            self._fail(loading_failed(error))
            return False
        log.info(ready, variants=len(self._served), seconds=round(time.monotonic() - began_at, 3))
        return True

    def _read(self, cards: Many[VariantCard]) -> None:
        """Read each tokenizer that is not known yet; in a thread, one call at a time."""
        served: dict[str, Served] = {}
        for card in cards:
            try:
                served[card.name] = Served(card=card, tokenizer=read_tokenizer(card, self._tokenizers))
            except TokenizerError as error:
                if not self._served:
                    raise
                # A swap that goes wrong takes nobody down, neither this variant's old weights nor the others.
                structlog.get_logger().error("tokenizer_not_read", variant=card.name, reason=str(error))
                if card.name in self._served:
                    served[card.name] = self._served[card.name]
        self._served = served
        self._tokenizers.keep({one.card.tokenizer_digest for one in served.values()})

    def _fail(self, error: StartupError) -> None:
        self.failure = error
        self._on_failure()


def read_tokenizer(card: VariantCard, known: Tokenizers) -> Tokenizer:
    """Return the tokenizer that a variant's weights were loaded with, whatever its file holds by now.

    Raises:
        TokenizerError: its file cannot be read, or holds another one.
    """
    tokenizer = known.find(card.tokenizer_digest)
    if tokenizer is None:
        digest, tokenizer = known.read(card.tokenizer)
        if card.tokenizer_digest not in ("", digest):
            raise TokenizerError(
                f"{card.tokenizer} has changed since the weights of {card.name} were loaded; "
                "put new tokenizers beside the old ones, and read the catalogue again."
            )
    tokenizer.encode(["word"])  # starts the library's threads
    return tokenizer


def _num_tokenize_threads(settings: Settings) -> int:
    return max(1, min(_MAX_TOKENIZE_THREADS, os.cpu_count() or 1) // settings.http_workers)
