"""Swaps that fail, overlap, or come at a bad time: nothing is left behind, lost, or kept waiting."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from models.variant import load_catalogue
from service.backend.source import LocalSource
from service.engine.contract import Failed
from service.observability.metrics import Metrics
from tests.service.backend_world import World, card, settle
from tests.service.serving import Series
from tests.service.test_backend_canary import INTERVAL_S, next_check, of, watching
from tests.service.test_backend_swap import GRACE_S, Swapped, started, write

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from models.model import Model
    from models.variant import Variant
    from service.domain import Lane
    from service.engine.contract import Run
    from service.engine.device import Loaded

pytestmark = pytest.mark.anyio


def held(world: Swapped) -> set[str]:
    """Keys of what the device's store holds."""
    assert world.device._loader is not None
    return set(world.device._loader._store._held)


def used(world: Swapped) -> set[str]:
    """Keys of what its models use."""
    return {key for model in world.device._models.values() for key in model.held_bytes}


async def test_new_weights_that_cannot_answer_their_canary_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        before = await world.logits(world.card)
        run = world.engine.run

        def failing(lane: object, sequences: object, **more: bool) -> Future[Run | Failed]:
            if getattr(lane, "variant", None) != "v#1":
                return run(lane, sequences, **more)  # type: ignore[arg-type]  # as they came
            future: Future[Run | Failed] = type(run(world_lane(world), [IDS]))()
            future.set_result(Failed(error=RuntimeError("no"), started_at=0.0, finished_at=0.0))
            return future

        monkeypatch.setattr(world.engine, "run", failing)
        write(tmp_path, seed=2)
        with capture_logs() as logs:
            await world.swapping.reload()
        monkeypatch.undo()
        assert "variant_load_failed" in [log["event"] for log in logs]
        assert world.device._models.keys() == {"v"}
        assert world.engine._loaded.keys() == {"v"}
        assert world.backend._roster._loaded.keys() == {"v"}
        assert held(world) == used(world)
        assert await world.logits(world.card) == before


IDS = np.array([0, 11, 2], dtype=np.int32)


def world_lane(world: Swapped) -> Lane:
    return world.work(world.card).lane


async def test_weights_that_are_refused_do_not_stay_in_memory(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        assert world.device._loader is not None
        # From now on nothing is near enough to float32.
        world.device._loader._bounds = type(world.device._loader._bounds)(max_error=-1.0, min_agreement=0.0)
        write(tmp_path, seed=2)
        await world.swapping.reload()
        assert world.backend.statistics().num_failed_loads == {"v": 1}
        assert held(world) == used(world)


async def test_old_weights_that_go_while_others_load_take_nothing_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two swaps, the second of which loads when the grace of the first is over."""
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        write(tmp_path, seed=2)
        await world.swapping.reload()
        loader = world.device._loader
        assert loader is not None
        built, go_on = threading.Event(), threading.Event()
        load = loader.load_unless

        def paused(variant: Variant, *, digest: str | None, generation: int) -> tuple[Model, Loaded] | None:
            found = load(variant, digest=digest, generation=generation)
            built.set()
            assert go_on.wait(240.0)
            return found

        monkeypatch.setattr(loader, "load_unless", paused)
        write(tmp_path, seed=3)
        loading = asyncio.ensure_future(world.swapping.reload())
        assert await asyncio.to_thread(built.wait, 30.0)
        taken = held(world) - used(world)
        assert taken
        await world.clock.advance(GRACE_S)
        await asyncio.gather(*world.swapping._tasks)
        assert world.device._models.keys() == {"v#1"}
        assert held(world) >= taken  # a model that is being built shares them with the next one
        go_on.set()
        await loading
        assert world.card.served_as == "v#2"
        assert held(world) == used(world)
        await world.clock.advance(GRACE_S)
        await asyncio.gather(*world.swapping._tasks)
        assert held(world) == used(world)
        assert len(await world.logits(world.card)) == 3


async def test_what_is_known_of_weights_goes_with_them(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        for seed in (2, 3, 4):
            write(tmp_path, seed=seed)
            await world.swapping.reload()
            await world.clock.advance(GRACE_S)
            await asyncio.gather(*world.swapping._tasks)
        roster = world.backend._roster
        assert roster._loaded.keys() == world.engine._loaded.keys() == {"v#3"}
        assert roster._refused == set()


async def test_a_load_under_way_keeps_nobody_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, seed=1)
    world = Swapped(tmp_path)
    await world.backend.start(calibrate_budget=False)
    loader = world.device._loader
    assert loader is not None
    begun, go_on = threading.Event(), threading.Event()

    def slow(variant: Variant, *, digest: str | None, generation: int) -> None:
        del variant, digest, generation  # it never gets to them
        begun.set()
        assert go_on.wait(240.0)

    monkeypatch.setattr(loader, "load_unless", slow)
    write(tmp_path, seed=2)
    loading = asyncio.ensure_future(world.swapping.reload())
    assert await asyncio.to_thread(begun.wait, 30.0)
    loading.cancel()
    world.swapping.close()
    world.backend.close()
    # What runs is told, so that the interpreter is not taken down around it, and is a daemon.
    assert not world.engine.join(0.0)
    assert world.engine._loader is not None
    assert world.engine._loader.daemon
    # Ending asyncio waits for its own pool of threads: the load is none of those.
    names = {thread.name for thread in threading.enumerate() if thread.is_alive()}
    assert "xlmr-load" in names
    go_on.set()
    assert await asyncio.to_thread(world.engine.join, 10.0)


async def test_a_reload_asked_for_while_the_weights_load_comes_after_them(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    world = Swapped(tmp_path)
    source = LocalSource(world.backend, world.engine, calibrate_budget=False, swapping=world.swapping)
    # The catalogue changes after it was read, and before anything is served.
    write(tmp_path, seed=2)
    with capture_logs() as logs:
        reloading = [asyncio.ensure_future(source.reload()) for _ in range(2)]
        await settle()
        assert not any(one.done() for one in reloading)
        await source.open()
        await asyncio.gather(*reloading)
    assert [log["event"] for log in logs if log["event"].startswith("reload")] == ["reload_postponed"] * 2
    assert world.card.generation == 1
    assert world.card.digest != load_catalogue(world.catalogue)[0].name
    source.close()
    assert await source.stopped(10.0)


async def test_a_reload_that_the_end_overtakes_is_not_a_failed_load(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        write(tmp_path, seed=2)
        world.engine.stop()
        with capture_logs() as logs:
            await world.swapping.reload()
        assert [log["event"] for log in logs] == ["reload_abandoned"]
        assert world.backend.statistics().num_failed_loads == {}


async def test_a_catalogue_that_nobody_foresaw_is_a_failed_load_and_not_a_lost_task(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:

        def choose() -> tuple[Variant, ...]:
            raise PermissionError(13, "Permission denied")

        world.swapping._choose = choose
        with capture_logs() as logs:
            await world.swapping.reload()
        assert [log["event"] for log in logs] == ["catalogue_failed", "catalogue_refused"]
        assert world.backend.statistics().num_failed_loads == {"_catalogue": 1}


def read(metrics: Metrics, world: World) -> Series:
    metrics.read(world.backend.statistics(), ready=True)
    return Series.of(metrics.exposition("")[0].decode())


async def test_checks_of_a_variant_that_goes_and_comes_again_go_on_counting() -> None:
    """A counter that fell back would make every later reading of the metrics fail."""
    world = await watching()
    metrics = Metrics(CollectorRegistry(), protocols=["native"], reasons=[], cuts=[])
    metrics.variants_loaded(world.backend.cards())
    for _ in range(4):
        await world.engine.finish(await next_check(world), seconds=0.0)
    series = read(metrics, world)
    assert series.sum("xlmr_canary_checks_total", variant="v", result="ok") == 2.0
    canary = world.backend._canary
    before = canary._watched["v"]
    canary.forget("v")
    read(metrics, world)
    canary.watch(card("v"), before.lane, before.sequences, before.wanted)
    assert of(world, "v").num_ok == 2
    series = read(metrics, world)
    assert series.sum("xlmr_canary_checks_total", variant="v", result="ok") == 2.0


async def test_a_variant_withdrawn_as_its_check_begins_does_not_stop_the_checks() -> None:
    world = await watching()
    canary = world.backend._canary
    assert canary._timer is not None
    canary._timer.cancel()
    canary._begin()  # what the timer calls; its task has not run yet
    canary.forget("v")
    await settle()
    await world.engine.finish(world.engine.asked[-1], seconds=0.0)
    assert [one.variant for one in world.backend.statistics().canaries] == ["w"]
    before = len(world.engine.asked)
    await world.clock.advance(INTERVAL_S)
    assert [asked.lane.variant for asked in world.engine.asked[before:]] == ["w"]
