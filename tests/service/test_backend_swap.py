"""Weights that are replaced under a backend that answers: nothing is dropped, mixed, or kept for ever."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from models.synthetic import write_checkpoint
from models.variant import CatalogueError, HeadKind, load_catalogue
from service.backend.clock import LoopClock
from service.backend.local import LocalBackend
from service.backend.swap import CATALOGUE, Swapping
from service.batching.decisions import Limits
from service.domain import VariantCard, Work
from service.engine.fake import FakeDevice
from service.engine.thread import EngineThread
from service.engine.torch_device import DeviceOptions, TorchDevice
from service.errors import NotReadyError, StartupError
from service.tasks.parameters import Overrides, lane_of, resolve
from tests.service.backend_world import FakeClock, Recorder, card

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from models.variant import Variant
    from service.engine.device import Loaded

pytestmark = pytest.mark.anyio
LABELS = ("a", "b", "c")
IDS = np.array([0, 11, 12, 13, 2], dtype=np.int32)
GRACE_S = 30.0


def write(folder: Path, *, seed: int, name: str = "v") -> None:
    write_checkpoint(folder / f"weights{seed}", head=HeadKind.CLASSIFY, labels=LABELS, seed=seed)
    entry = f'[[variant]]\nname = "{name}"\nhead = "classify"\ncheckpoint = "weights{seed}"\n'
    (folder / "catalogue.toml").write_text(entry, encoding="utf-8")


class Swapped:
    """A backend on true mini checkpoints, and what its swapping is told."""

    def __init__(self, folder: Path) -> None:
        self.catalogue = folder / "catalogue.toml"
        self.variants = load_catalogue(self.catalogue)
        self.device = TorchDevice(self.variants, DeviceOptions(name="cpu", num_threads=1))
        self.engine = EngineThread(lambda: self.device, clock=time.monotonic)
        self.recorder = Recorder()
        self.backend = LocalBackend(
            engine=self.engine,
            limits=Limits(max_batch_tokens=64, max_queue_tokens=10_000),
            num_slots=2,
            clock=LoopClock(),
            observer=self.recorder,
            canary_interval_s=3600.0,
        )
        self.clock = FakeClock()
        self.swapping = Swapping(self.backend, self.variants, self.choose, clock=self.clock, grace_s=GRACE_S)
        self._ids = count()

    def choose(self) -> tuple[Variant, ...]:
        try:
            return load_catalogue(self.catalogue)
        except CatalogueError as error:
            raise StartupError(str(error)) from error

    async def has_changed(self) -> bool:
        """Whether other variants are served than when this was asked last."""
        try:
            async with asyncio.timeout(0):
                await self.swapping.changed()
        except TimeoutError:
            return False
        return True

    def work(self, of: VariantCard) -> Work:
        return Work(
            work_id=next(self._ids),
            lane=lane_of(of, resolve(of, Overrides())),
            sequences=(IDS,),
            arrived_at=time.monotonic(),
        )

    async def logits(self, of: VariantCard) -> list[float]:
        outcome = await self.backend.submit(self.work(of))
        return [float(value) for value in outcome.logits[0]]

    @property
    def card(self) -> VariantCard:
        (one,) = self.backend.cards()
        return one


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Swapped]:
    world = Swapped(folder)
    await world.backend.start(calibrate_budget=False)
    try:
        yield world
    finally:
        world.swapping.close()
        world.backend.close()
        assert await asyncio.to_thread(world.engine.join, 10.0)


async def test_new_weights_answer_new_works_and_old_ones_those_that_came_before(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        old = world.card
        before = await world.logits(old)
        write(tmp_path, seed=2)
        await world.swapping.reload()
        new = world.card
        assert (old.served_as, new.served_as, new.name) == ("v", "v#1", "v")
        assert new.digest != old.digest
        assert new.parity is not None
        together = await asyncio.gather(*(world.logits(one) for one in (old, new, old, new)))
        assert together[0] == together[2] == pytest.approx(before, abs=1e-5)
        assert together[1] == together[3]
        assert together[1] != pytest.approx(before, abs=1e-3)
        assert await world.has_changed()
        assert not await world.has_changed()
        # Whoever counts batches counts them by the variant's own name.
        assert {report.variant for report in world.recorder.batches} == {"v"}
        assert world.backend.statistics().num_loads == {"v": 2}
        assert world.backend.statistics().num_failed_loads == {}


async def test_what_did_not_change_is_not_loaded_again(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        await world.swapping.reload()
        assert not await world.has_changed()
        assert world.card.generation == 0
        assert world.backend.statistics().num_loads == {"v": 1}


async def test_weights_replaced_under_the_same_name_are_found_by_their_digest(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        before = await world.logits(world.card)
        file = tmp_path / "weights1" / "model.safetensors"
        weights = load_file(file)
        weights["classifier.out_proj.bias"] += 1.0
        save_file(weights, tmp_path / "new", metadata={"format": "pt"})
        (tmp_path / "new").replace(file)
        await world.swapping.reload()
        assert await world.logits(world.card) == pytest.approx([one + 1.0 for one in before], abs=1e-4)


async def test_a_changed_entry_is_loaded_although_its_weights_are_the_same(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        with world.catalogue.open("a", encoding="utf-8") as file:
            file.write('labels = ["x", "y", "z"]\n')
        await world.swapping.reload()
        assert world.card.labels == ("x", "y", "z")


@pytest.mark.parametrize(
    ("entry", "failed"),
    [
        (f'sha256 = "{"0" * 64}"\n', "v"),
        ("max_tokens = 100000\n", "v"),
        ("surprise = 1\n", CATALOGUE),
        ("not toml\n", CATALOGUE),
    ],
)
async def test_what_cannot_be_loaded_is_counted_and_served_as_before(
    tmp_path: Path, entry: str, failed: str
) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        before = await world.logits(world.card)
        with world.catalogue.open("a", encoding="utf-8") as file:
            file.write(entry)
        for times in (1, 2):
            await world.swapping.reload()
            assert world.backend.statistics().num_failed_loads == {failed: times}
        assert await world.logits(world.card) == before
        assert not await world.has_changed()
        # Once it is right again, it is as if nothing had been.
        write(tmp_path, seed=2)
        await world.swapping.reload()
        assert world.card.generation == 1


async def test_old_weights_go_when_the_last_work_that_asks_for_them_has_ended(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        old = world.card
        model = weakref.ref(world.device._models["v"].encoder)
        write(tmp_path, seed=2)
        await world.swapping.reload()
        await world.logits(old)
        late = [asyncio.ensure_future(world.logits(old)) for _ in range(50)]
        await asyncio.sleep(0)
        await world.clock.advance(GRACE_S)
        assert len(await asyncio.gather(*late)) == 50
        await asyncio.gather(*world.swapping._tasks)
        with pytest.raises(NotReadyError, match="replaced while this request came in"):
            await world.logits(old)
        gc.collect()
        assert model() is None, "the old weights are still held"
        held = {key for one in world.device._models.values() for key in one.held_bytes}
        assert world.device._loader is not None
        assert world.device._loader._store._held.keys() == held
        assert len(await world.logits(world.card)) == len(LABELS)


async def test_variants_come_and_go_with_the_catalogue(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        first = world.catalogue.read_text(encoding="utf-8")
        write(tmp_path, seed=2, name="w")
        second = world.catalogue.read_text(encoding="utf-8")
        world.catalogue.write_text(first + second, encoding="utf-8")
        await world.swapping.reload()
        assert [one.name for one in world.backend.cards()] == ["v", "w"]
        world.catalogue.write_text(second, encoding="utf-8")
        await world.swapping.reload()
        assert [one.name for one in world.backend.cards()] == ["w"]
        assert [one.variant for one in world.backend.statistics().canaries] == ["w"]
        # One that comes again never meets works that were meant for its older self.
        world.catalogue.write_text(first + second, encoding="utf-8")
        await world.swapping.reload()
        assert sorted(one.served_as for one in world.backend.cards()) == ["v#1", "w"]


async def test_what_is_shared_is_told_anew_when_variants_come_and_go(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        alone = world.catalogue.read_text(encoding="utf-8")
        (before,) = world.backend.cards()
        assert (before.owned_bytes > 2**20, before.shared_bytes) == (True, 0)
        world.catalogue.write_text(alone + alone.replace('name = "v"', 'name = "w"'), encoding="utf-8")
        await world.swapping.reload()
        told = [(one.owned_bytes, one.shared_bytes) for one in world.backend.cards()]
        assert told == [(0, before.owned_bytes)] * 2
        world.catalogue.write_text(alone, encoding="utf-8")
        await world.swapping.reload()
        (after,) = world.backend.cards()
        assert (after.owned_bytes, after.shared_bytes) == (before.owned_bytes, 0)


async def test_what_fails_on_the_device_leaves_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        before = await world.logits(world.card)

        def install(_: Loaded) -> None:
            raise RuntimeError("no memory for another recording")

        monkeypatch.setattr(world.device, "install", install)
        write(tmp_path, seed=2)
        await world.swapping.reload()
        assert world.backend.statistics().num_failed_loads == {"v": 1}
        assert world.device._models.keys() == {"v"}
        assert await world.logits(world.card) == before
        monkeypatch.undo()
        await world.swapping.reload()
        assert world.card.served_as == "v#2"


async def test_the_canary_holds_new_weights_to_their_own_answers(tmp_path: Path) -> None:
    write(tmp_path, seed=1)
    async with started(tmp_path) as world:
        write(tmp_path, seed=2)
        await world.swapping.reload()
        await world.backend._canary._ask("v", world.backend._canary._watched["v"])
        (canary,) = world.backend.statistics().canaries
        assert (canary.ok, canary.num_ok) == (True, 1)
        assert canary.difference < 1e-4


async def test_a_device_that_loads_once_says_so(tmp_path: Path) -> None:
    engine = EngineThread(lambda: FakeDevice(variants=(card("v"),)), clock=time.monotonic)
    await asyncio.wrap_future(engine.start(max_batch_tokens=16))
    write(tmp_path, seed=1)
    (variant,) = load_catalogue(tmp_path / "catalogue.toml")
    with pytest.raises(StartupError, match="restart the service"):
        engine.prepare(variant, generation=1, digest=None).result(10.0)
    engine.stop()
    assert engine.join(60.0)
