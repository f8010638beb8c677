"""The composition root: the only place where the parts of the service are built and joined.

Rules: parts get everything that they need as arguments; the weights load on the engine's
thread after the app has started, so that liveness answers meanwhile. The file is long
because everything meets here, and nowhere else.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from starlette.middleware import Middleware

from models.tokenizer import Tokenizers
from models.variant import CatalogueError, load_catalogue
from service.api.context import RequestContext
from service.api.failures import install_failures
from service.api.health import health_router
from service.api.metrics import metrics_router
from service.api.native import PROTOCOL, NativeProtocol, RequestLimits, native_router
from service.api.openapi import document
from service.api.predict_route import PredictRoute
from service.api.problems import REASONS
from service.backend.clock import LoopClock
from service.backend.heartbeat import Patience
from service.backend.listener import BackendListener
from service.backend.local import LocalBackend
from service.backend.remote import RemoteBackend
from service.backend.source import LocalSource, RemoteSource
from service.backend.swap import Swapping
from service.batching.decisions import Cut, Limits
from service.engine.thread import EngineThread
from service.errors import StartupError
from service.observability.gpu import open_gpus
from service.observability.metrics import Metrics
from service.observability.observers import Observers
from service.observability.tracing import Tracing, current_trace, open_tracing
from service.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import ModuleType

    from models.variant import Variant
    from service.api.metrics import Exposition
    from service.domain import Observer, TraceContext
    from service.engine.device import Device
    from service.settings import Settings

DESCRIPTION = "Fine-tuned XLM-R variants behind padding-free dynamic batching."
_QUIET_PATHS = ("/health/", "/metrics")
# Where the budget of a batch is left to the cost model, it is still bounded by memory.
_MAX_BATCH_TOKENS = 16384
_NS_PER_S = 1_000_000_000


def create_service(  # noqa: PLR0913 - the root is handed all that may be another's
    settings: Settings,
    *,
    make_device: Callable[[], Device] | None = None,
    registry: CollectorRegistry | None = None,
    on_ready: Callable[[], object] = lambda: None,
    on_failure: Callable[[], object] = lambda: None,
    tracing: Tracing | None = None,
) -> Service:
    """Build the service; its weights load once its app has started.

    ``make_device``: None for torch and the catalogue's checkpoints. ``registry``: None for one
    of its own, with the process's metrics in it. ``tracing``: None for what the settings say.

    Raises:
        StartupError: the catalogue cannot be served.
    """
    tracing = tracing or _own_tracing(settings)
    metrics = _metrics(settings, registry or _own_registry(reads_gpus=True))
    observer = _observer(metrics, tracing)
    tokenizers = Tokenizers()  # the loader's are the service's, read once
    return Service(
        settings,
        source=_local_source(settings, make_device, observer, tokenizers=tokenizers),
        metrics=metrics,
        observer=observer,
        tokenizers=tokenizers,
        tracing=tracing,
        open_metrics=metrics.variants_loaded,
        on_ready=on_ready,
        on_failure=on_failure,
    )


def create_front_end(
    settings: Settings,
    *,
    path: Path,
    exposition: Exposition,
    on_ready: Callable[[], object],
    on_failure: Callable[[], object],
) -> Service:
    """Build the HTTP side alone; its backend is another process, behind a Unix socket.

    ``path``: of that socket. ``exposition``: asks whoever knows the metrics of every process.
    """
    tracing = _own_tracing(settings)
    metrics = _metrics(settings, _own_registry(reads_gpus=False))
    return Service(
        settings,
        source=RemoteSource(RemoteBackend(path, clock=LoopClock(), patience=patience_of(settings))),
        metrics=metrics,
        observer=_observer(metrics, tracing),
        tokenizers=Tokenizers(),
        tracing=tracing,
        open_metrics=metrics.variants_opened,
        on_ready=on_ready,
        on_failure=on_failure,
        exposition=exposition,
        events=("waiting_for_backend", "connected"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackEnd:
    """The device's side alone, for front ends in other processes."""

    source: LocalSource
    listener: BackendListener
    metrics: Metrics
    tracing: Tracing | None


def create_back_end(
    settings: Settings, *, make_device: Callable[[], Device] | None, on_broken: Callable[[], object]
) -> BackEnd:
    """Build the device's side alone.

    ``make_device``: None for torch and the catalogue's checkpoints. ``on_broken``: called when the backend
    has come into a state from which only a new one helps.

    Raises:
        StartupError: the catalogue cannot be served.
    """
    tracing = _own_tracing(settings)
    metrics = _metrics(settings, _own_registry(reads_gpus=True))
    source = _local_source(settings, make_device, _observer(metrics, tracing), on_broken)
    return BackEnd(source=source, listener=BackendListener(source.backend), metrics=metrics, tracing=tracing)


def patience_of(settings: Settings) -> Patience | None:
    """Return how long one process of the service may give another no sign of life."""
    if not settings.hang_timeout_s:
        return None
    return Patience(period_s=settings.heartbeat_s, timeout_s=settings.hang_timeout_s)


def check_catalogue(settings: Settings) -> None:
    """Find out what can be known of the catalogue before anything is loaded.

    Raises:
        StartupError: it cannot be served.
    """
    _chosen_variants(settings)


def _local_source(
    settings: Settings,
    make_device: Callable[[], Device] | None,
    observer: Observer,
    on_broken: Callable[[], object] = lambda: None,
    tokenizers: Tokenizers | None = None,
) -> LocalSource:
    variants: tuple[Variant, ...] | None = None
    if make_device is None:
        variants = _chosen_variants(settings)
        make_device = partial(_torch_device, settings, variants, tokenizers)
    engine = EngineThread(make_device, clock=time.monotonic)
    backend = LocalBackend(
        engine=engine,
        limits=Limits(
            max_batch_tokens=settings.max_batch_tokens or _MAX_BATCH_TOKENS,
            max_queue_tokens=settings.max_queue_tokens,
            max_wait_s=settings.max_wait_s,
        ),
        num_slots=1 + settings.max_prefetched_batches,
        clock=LoopClock(),
        observer=observer,
        canary_interval_s=settings.canary_interval_s,
        stuck_batch_s=settings.stuck_batch_s,
        on_broken=on_broken,
    )
    swapping = None
    if variants is not None:
        swapping = Swapping(
            backend,
            variants,
            partial(_chosen_variants, settings),
            clock=LoopClock(),
            grace_s=settings.drain_timeout_s,
        )
    return LocalSource(backend, engine, calibrate_budget=settings.max_batch_tokens is None, swapping=swapping)


def _metrics(settings: Settings, registry: CollectorRegistry) -> Metrics:
    metrics = Metrics(registry, protocols=[PROTOCOL], reasons=REASONS, cuts=[cut.value for cut in Cut])
    metrics.describe_build(
        version=version("xlmr-serve"),
        revision=settings.build_revision,
        torch=version("torch"),
        python=python_version(),
    )
    return metrics


def _observer(metrics: Metrics, tracing: Tracing | None) -> Observer:
    return metrics if tracing is None else Observers(metrics, tracing)


def _own_tracing(settings: Settings) -> Tracing | None:
    if settings.otlp_endpoint is None:
        return None
    return open_tracing(
        settings.otlp_endpoint,
        sample_ratio=settings.trace_ratio,
        version=version("xlmr-serve"),
        # A pause between the two readings would put every span too early: the largest of some has none.
        epoch_ns_of=_epoch_ns_of(max(time.time_ns() - time.monotonic_ns() for _ in range(10))),
    )


def _epoch_ns_of(offset_ns: int) -> Callable[[float], int]:
    """Return what turns monotonic seconds into nanoseconds of the epoch; the clocks' drift is left alone."""
    return lambda monotonic_s: round(monotonic_s * _NS_PER_S) + offset_ns


def create_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """Build the ASGI app around a service, by default one of its own.

    Raises:
        StartupError: the catalogue cannot be served.
    """
    joined = create_service(settings) if service is None else service

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with joined.life():
            yield

    is_traced = joined.tracing is not None
    of_request = current_trace if is_traced else _no_trace
    native = NativeProtocol(
        predictor=joined.predictor,
        observer=joined.observer,
        current_trace=of_request,
        clock=time.monotonic,
        limits=RequestLimits(
            max_body_bytes=settings.max_body_bytes,
            max_inputs=settings.max_inputs,
            timeout_s=settings.timeout_s,
            max_timeout_s=settings.max_timeout_s,
        ),
        count_inputs=joined.metrics.open_scripts() if settings.metrics_scripts else None,
    )
    app = FastAPI(
        title="xlmr-serve",
        version=version("xlmr-serve"),
        description=DESCRIPTION,
        lifespan=lifespan,
        middleware=[
            Middleware(
                RequestContext,
                clock=time.monotonic,
                quiet=_QUIET_PATHS,
                current_trace=of_request,
                is_ending=lambda: joined.predictor.is_draining,
            ),
            Middleware(PredictRoute, protocol=native),
        ],
        # FastAPI's own span of a request; its spans of single operations cost more than they tell.
        telemetry={
            "tracer_provider": joined.tracing.provider if joined.tracing is not None else None,
            "tracing": is_traced,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
            "exclude": lambda scope: scope["path"].startswith(_QUIET_PATHS),
        },
        # A redirect would answer a path that the document does not name.
        redirect_slashes=False,
        redoc_url=None,
    )
    install_failures(app)
    app.include_router(native_router(native, joined.predictor))
    app.include_router(health_router(joined.backend, joined.predictor))
    app.include_router(metrics_router(joined.exposition))
    app.openapi = document(app)  # type: ignore[method-assign]  # FastAPI's own way to change it
    return app


def _chosen_variants(settings: Settings) -> tuple[Variant, ...]:
    """Return the variants to serve, in the catalogue's order."""
    try:
        catalogue = load_catalogue(settings.catalogue)
    except CatalogueError as error:
        raise StartupError(" ".join(str(error).split())) from error
    by_name = {variant.name: variant for variant in catalogue}
    if settings.variants is None:
        chosen = tuple(variant for variant in catalogue if variant.available)
    else:
        unknown = [name for name in settings.variants if name not in by_name]
        if unknown:
            raise StartupError(
                f"{settings.catalogue} has no variant {unknown[0]!r}; it has {', '.join(sorted(by_name))}."
            )
        chosen = tuple(variant for variant in catalogue if variant.name in settings.variants)
    absent = [variant.name for variant in chosen if not variant.available]
    if absent or not chosen:
        raise StartupError(
            f"{settings.catalogue}: there is no checkpoint yet for {', '.join(absent) or 'any variant'}; "
            "give one in the catalogue, or name other variants."
        )
    return chosen


def _torch_device(settings: Settings, variants: tuple[Variant, ...], tokenizers: Tokenizers | None) -> Device:
    # Importing torch takes seconds, and liveness must not wait for it: this runs on the engine's thread.
    from service.engine.torch_device import DeviceOptions, TorchDevice  # noqa: PLC0415 - see above

    options = DeviceOptions(
        name=settings.device,
        dtype=settings.dtype,
        num_threads=settings.torch_threads,
        num_replicas=settings.replicas,
        max_parity_error=settings.max_parity_error,
        min_parity_agreement=settings.min_parity_agreement,
    )
    return TorchDevice(variants, options, tokenizers=tokenizers)


def _own_registry(*, reads_gpus: bool) -> CollectorRegistry:
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    if reads_gpus and (gpus := open_gpus(import_nvml)) is not None:
        registry.register(gpus)
    return registry


def import_nvml() -> ModuleType:
    """Import NVIDIA's library, which comes with an extra.

    Raises:
        ImportError: it is not installed.
    """
    import pynvml  # noqa: PLC0415 - an extra

    module: ModuleType = pynvml
    return module


def _no_trace() -> TraceContext | None:
    return None
